"""Every fault of the node's surroundings: what failed, in one sentence, with nothing of a patient in it.

    NodeError
    ├── ArchiveError           talking to Orthanc failed
    │   ├── ArchiveUnavailable     no answer, or not now: worth trying again
    │   ├── ArchiveMissing         the resource is not there
    │   ├── ArchiveRefused         credentials or request not accepted
    │   └── ArchiveDamaged         a file is no longer what Orthanc recorded when it was received
    ├── SendError              a C-STORE peer did not take the objects: worth trying again
    │   ├── PeerUnreachable        no TCP connection
    │   ├── AssociationRejected    the peer, or its configuration, does not want us
    │   ├── AssociationLost        aborted, released or timed out half-way
    │   └── ObjectsRefused         the peer answered, but did not store everything
    ├── TextNotFitting         a destination's character set lacks a character of what it is to get
    ├── Superseded             a worklist is not to get an answer after a later one
    ├── PortTaken              a port that is needed is in use
    ├── OrthancFailed          a local Orthanc is not installed or did not start
    ├── ExecutorTaken          another process works under the same name in the same data folder
    └── SiteProblem            a secret file, the data folder or the database cannot be used

Refusals of studies and uploads are no faults: they have their own tree in `inference.errors`.
"""

# ruff: noqa: N818 - the names say what happened, as those of the refusals do

from __future__ import annotations

import os
import traceback


class NodeError(Exception):
    """A fault outside the analysis; its text is fit for log and ledger."""


class ArchiveError(NodeError):
    """Talking to Orthanc failed."""


class ArchiveUnavailable(ArchiveError):
    """Orthanc did not answer, or says that it cannot now."""


class ArchiveMissing(ArchiveError):
    """Orthanc does not have the resource."""


class ArchiveRefused(ArchiveError):
    """Orthanc does not accept the credentials or the request."""


class ArchiveDamaged(ArchiveError):
    """A file in Orthanc's storage is not what Orthanc recorded when it was received."""


class SendError(NodeError):
    """A C-STORE peer did not take the objects."""


class PeerUnreachable(SendError):
    """No TCP connection to the peer."""


class AssociationRejected(SendError):
    """The peer rejected the association."""


class AssociationLost(SendError):
    """The association ended before all objects were answered."""


class ObjectsRefused(SendError):
    """The peer answered, but did not store every object."""


class TextNotFitting(NodeError):
    """A character of an object does not exist in the character set that a destination is set to.

    Nothing changes by trying again: the settings must.
    """

    code = "text_not_fitting"

    def __init__(self, sentence: str) -> None:
        super().__init__(f"{self.code}: {sentence}")


class Superseded(NodeError):
    """A later answer about the study was made, which a worklist would lose to an earlier one that follows."""

    code = "superseded"

    def __init__(self) -> None:
        super().__init__(f"{self.code}: a later answer about the study takes its place")


class PortTaken(NodeError):
    """A port that is needed is in use by another program, or cannot be opened."""


class OrthancFailed(NodeError):
    """A local Orthanc is not installed, or did not start."""


class ExecutorTaken(NodeError):
    """Another process works under the same executor name, or takes studies in, in the same data folder."""


class SiteProblem(NodeError):
    """Something that the settings name cannot be used: a secret file, the data folder, the database."""


def describe_fault(error: BaseException) -> str:
    """A fault for log and ledger: our own sentences in full, of any other exception its type and place only.

    The text of a foreign exception may quote the value of a tag or a path, so it is not kept; the system's
    own words for the number of an error ("No space left on device") are.
    """
    if isinstance(error, NodeError):
        return str(error)
    number = error.errno if isinstance(error, OSError) else None
    words = f" ({os.strerror(number)})" if number is not None else ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{words}{place}"
