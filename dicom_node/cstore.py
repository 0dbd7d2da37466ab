"""Send DICOM files by C-STORE (PS3.4 Annex B), byte for byte: each in the transfer syntax that it has.

Files are not decoded and not encoded anew: what goes over the wire is the data set as it lies in the file.
Each pair of SOP class and transfer syntax gets a presentation context of its own, so that the peer's answer
about one of them says nothing about another.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.status import code_to_category

from dicom_node.errors import AssociationLost, AssociationRejected, PeerUnreachable

# A file given by path is then sent as it is, in pieces, instead of being decoded and encoded anew.
_config.STORE_SEND_CHUNKED_DATASET = True

_CONTEXTS_AN_ASSOCIATION = 128  # PS3.8 9.3.2.2: odd identifiers 1 to 255
_CONNECT_TIMEOUT_S = 10.0
# "Duplicate SOP Instance": what was sent before an association broke off, and the peer keeps its first copy.
_HAS_IT = 0x0111


@dataclass(frozen=True)
class Peer:
    """A storage SCP; `timeout_s` bounds every wait for an answer."""

    host: str
    port: int
    aet: str
    timeout_s: float = 30


@dataclass(frozen=True)
class SentObject:
    """What became of one object: the peer's status (None: it was never asked) and, if not stored, why."""

    sop_instance_uid: str
    sop_class_uid: str
    status: int | None
    error: str | None

    @property
    def stored(self) -> bool:
        """The peer says that it has the object."""
        if self.status is None:
            return False
        # A warning (PS3.7 annex C): stored, with coercion or a remark.
        return self.status == _HAS_IT or code_to_category(self.status) in {"Success", "Warning"}


@dataclass(frozen=True)
class _File:
    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str

    @property
    def context(self) -> tuple[str, str]:
        return self.sop_class_uid, self.transfer_syntax


def send_objects(
    peer: Peer,
    paths: Iterable[Path],
    *,
    calling_aet: str,
    progress: Callable[[int, int], None] | None = None,
) -> list[SentObject]:
    """Send DICOM files in the order given, on one association.

    Parameters
    ----------
    paths
        DICOM files (PS3.10).
    progress
        Called with (objects answered, objects in all) after each of them.

    Returns
    -------
    One entry for each path. An object that the peer does not accept does not keep the others from being sent.

    Raises
    ------
    PeerUnreachable, AssociationRejected, AssociationLost
        If not all of them could be offered.
    """
    files = [_describe(path) for path in paths]
    sendable = [file for file in files if isinstance(file, _File)]
    answers: dict[int, SentObject] = {}
    for batch in _batches(sendable):
        with _association(peer, batch, calling_aet) as association:
            for file in batch:
                answers[id(file)] = _send(association, file, peer, len(answers), len(sendable))
                if progress is not None:
                    progress(len(answers), len(files))
    return [answers[id(file)] if isinstance(file, _File) else file for file in files]


def verify(peer: Peer, *, calling_aet: str) -> None:
    """C-ECHO (PS3.4 Annex A).

    Raises
    ------
    PeerUnreachable, AssociationRejected, AssociationLost
        If the peer does not answer it.
    """
    with _open(peer, [("1.2.840.10008.1.1", "1.2.840.10008.1.2")], calling_aet) as association:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != 0:
            raise AssociationLost(f"{peer.aet} did not answer the C-ECHO")


def _describe(path: Path) -> _File | SentObject:
    try:
        meta = read_file_meta_info(path)
        return _File(
            path=path,
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            transfer_syntax=str(meta.TransferSyntaxUID),
        )
    except (InvalidDicomError, AttributeError, EOFError, OSError):
        return SentObject("", "", None, "not a DICOM file with file meta information")


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    """The files in their order, cut where an association would need too many presentation contexts."""
    batch: list[_File] = []
    contexts: set[tuple[str, str]] = set()
    for file in files:
        if file.context not in contexts and len(contexts) == _CONTEXTS_AN_ASSOCIATION:
            yield batch
            batch, contexts = [], set()
        batch.append(file)
        contexts.add(file.context)
    if batch:
        yield batch


@contextmanager
def _association(peer: Peer, batch: Sequence[_File], calling_aet: str) -> Iterator[Association]:
    with _open(peer, list(dict.fromkeys(file.context for file in batch)), calling_aet) as association:
        yield association


@contextmanager
def _open(peer: Peer, contexts: Sequence[tuple[str, str]], calling_aet: str) -> Iterator[Association]:
    entity = AE(ae_title=calling_aet)
    entity.connection_timeout = min(_CONNECT_TIMEOUT_S, peer.timeout_s)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout_s
    opened: list[bool] = []

    def connected(event: Event) -> None:
        opened.append(True)
        # Without it each object waits for a delayed acknowledgement: 19 s instead of 5 s for 300 slices.
        connection = event.assoc.dul.socket
        if connection is not None and connection.socket is not None:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    association = entity.associate(
        peer.host,
        peer.port,
        contexts=[build_context(sop_class, syntax) for sop_class, syntax in contexts],
        ae_title=peer.aet,
        evt_handlers=[(evt.EVT_CONN_OPEN, connected)],
    )
    if not association.is_established:
        raise _not_established(association, peer, reached=bool(opened))
    _keep_answers_from_reactor(association)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _keep_answers_from_reactor(association: Association) -> None:
    """Let only the caller of `send_c_store` take messages off the queue.

    pynetdicom 3.0.4 pauses its reactor thread while a request is answered, but may take it for paused just
    when it wakes after the request before; the reactor then drops the answer as unexpected, and the request
    times out (once in some hundred objects on a busy machine). A requestor that serves nothing has no use for
    the reactor's look into the queue.
    """
    take = association.dimse.get_msg

    def blocking_only(block: bool = False) -> Any:
        return take(block=True) if block else (None, None)

    association.dimse.get_msg = blocking_only  # type: ignore[method-assign]


def _not_established(
    association: Association, peer: Peer, *, reached: bool
) -> PeerUnreachable | AssociationRejected:
    where = f"{peer.aet} at {peer.host}:{peer.port}"
    if not reached:
        return PeerUnreachable(f"{where} cannot be reached")
    answer = association.acceptor.primitive
    if association.is_rejected:
        reason = f": {answer.reason_str}" if answer is not None and answer.result is not None else ""
        return AssociationRejected(f"{where} rejected the association{reason}")
    if answer is None:
        return AssociationRejected(f"{where} did not answer the association request, or broke off")
    return AssociationRejected(f"{where} accepts none of the SOP classes and transfer syntaxes to be sent")


def _send(association: Association, file: _File, peer: Peer, done: int, total: int) -> SentObject:
    lost = f"{peer.aet} at {peer.host}:{peer.port} broke off after {done} of {total} objects"
    if not association.is_established:
        raise AssociationLost(lost)
    try:
        status = association.send_c_store(file.path, msg_id=done % 65535 + 1)
    except ValueError:
        return SentObject(
            file.sop_instance_uid,
            file.sop_class_uid,
            None,
            f"the peer accepts no {UID(file.sop_class_uid).name} in {UID(file.transfer_syntax).name}",
        )
    except RuntimeError as error:
        raise AssociationLost(lost) from error
    if "Status" not in status:
        raise AssociationLost(lost)
    code = int(status.Status)
    answered = SentObject(file.sop_instance_uid, file.sop_class_uid, code, None)
    if answered.stored:
        return answered
    return SentObject(
        file.sop_instance_uid, file.sop_class_uid, code, f"the peer refused it (status 0x{code:04X})"
    )
