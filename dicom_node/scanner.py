"""A modality's part: files of this machine to a peer by C-STORE, with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.cstore import Peer, SentObject, send_objects
from dicom_node.progress import count_progress
from inference.dicom_files import files_below

_PREAMBLE_BYTES, _PREFIX = 128, b"DICM"  # PS3.10 section 7.1


class PeerFormError(ValueError):
    """Text that does not name a peer as AET@HOST:PORT."""


@dataclass(frozen=True)
class SendOutcome:
    """What became of the files: `sent` as the peer answered, `left_out` that are no DICOM files."""

    sent: tuple[SentObject, ...]
    left_out: int

    @property
    def complete(self) -> bool:
        """There were files, and the peer stored them all."""
        return bool(self.sent) and all(item.stored for item in self.sent)

    def words(self) -> str:
        """The outcome for a person."""
        stored = sum(item.stored for item in self.sent)
        lines = [f"{stored} of {len(self.sent)} objects stored"]
        if self.left_out:
            lines.append(f"{self.left_out} files left out: not DICOM")
        reasons = {item.error for item in self.sent if item.error is not None}
        return "\n".join([*lines, *sorted(reasons)])


def parse_peer(text: str) -> Peer:
    """The peer that `AET@HOST:PORT` names.

    Raises
    ------
    PeerFormError
        If the text is of another form.
    """
    aet, _, address = text.rpartition("@")
    host, _, port = address.rpartition(":")
    if not (0 < len(aet) <= 16 and host and port.isdecimal() and 0 < int(port) < 65536):
        raise PeerFormError(f"{text!r} is not of the form AET@HOST:PORT")
    return Peer(host=host.strip("[]"), port=int(port), aet=aet)


def send_files(paths: Sequence[Path], peer: Peer, *, calling_aet: str) -> SendOutcome:
    """Send the files named and those in the folders named.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    dicom_node.errors.SendError
        If the peer cannot be reached, does not want us, or breaks off.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    found = [file for path in paths for file in files_below(path)]
    files = [file for file in found if is_dicom_file(file)]
    if not files:
        return SendOutcome((), len(found))
    with count_progress(f"to {peer.aet}") as progress:
        sent = send_objects(peer, files, calling_aet=calling_aet, progress=progress)
    return SendOutcome(tuple(sent), len(found) - len(files))


def is_dicom_file(file: Path) -> bool:
    """Whether a file has the preamble and prefix of PS3.10; only such a file says in which syntax it is."""
    with file.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + 4)[_PREAMBLE_BYTES:] == _PREFIX
