"""Send an HL7 v2 message over MLLP and read its acknowledgement (Minimal Lower Layer Protocol, release 1)."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from dicom_node.errors import AssociationLost, ObjectsRefused, PeerUnreachable

_START, _END = b"\x0b", b"\x1c"  # the end is followed by a carriage return
_LONGEST_ANSWER = 1 << 16
_CONNECT_TIMEOUT_S = 10.0
_ACCEPTED = frozenset({"AA", "CA"})  # HL7 table 0008
_KNOWN = _ACCEPTED | {"AE", "AR", "CE", "CR"}


@dataclass(frozen=True)
class Receiver:
    """An HL7 receiver; `timeout_s` bounds the wait for its acknowledgement."""

    host: str
    port: int
    timeout_s: float = 30


def send_message(receiver: Receiver, content: bytes, control_id: str) -> None:
    """Send one message and wait until it is acknowledged.

    Raises
    ------
    PeerUnreachable
        If there is no connection.
    AssociationLost
        If the connection ends, or no acknowledgement of this message comes in time.
    ObjectsRefused
        If the receiver does not accept the message. What it says may name the patient and is left out.
    """
    place = f"{receiver.host}:{receiver.port}"
    with _connected(receiver) as connection:
        try:
            connection.settimeout(receiver.timeout_s)
            connection.sendall(_START + content + _END + b"\r")
            answer = _answer(connection, time.monotonic() + receiver.timeout_s)
        except OSError as error:
            raise AssociationLost(f"the HL7 receiver at {place} did not acknowledge the message") from error
    code, acknowledged = _acknowledgement(answer)
    # Who could not read the message at all may not know its identifier.
    ours = acknowledged == control_id or (not acknowledged and code in _KNOWN - _ACCEPTED)
    if code not in _KNOWN or not ours:
        raise AssociationLost(f"the HL7 receiver at {place} did not acknowledge this message")
    if code not in _ACCEPTED:
        raise ObjectsRefused(f"the HL7 receiver at {place} refused the message ({code})")


def reach(receiver: Receiver) -> None:
    """Open a connection and close it again: HL7 has no question that changes nothing.

    Raises
    ------
    PeerUnreachable
        If there is no connection.
    """
    _connected(receiver).close()


def _connected(receiver: Receiver) -> socket.socket:
    try:
        return socket.create_connection((receiver.host, receiver.port), _CONNECT_TIMEOUT_S)
    except OSError as error:
        place = f"{receiver.host}:{receiver.port}"
        raise PeerUnreachable(f"the HL7 receiver at {place} cannot be reached") from error


def _answer(connection: socket.socket, deadline: float) -> bytes:
    """The bytes of the first message that comes, without its frame.

    What follows its end is not waited for: some receivers leave out the carriage return or write more.
    """
    received = b""
    while _END not in received:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(4096)
        if not part or len(received) > _LONGEST_ANSWER:
            raise ConnectionError("no acknowledgement")
        received += part
    return received.partition(_END)[0].rpartition(_START)[2]


def _acknowledgement(answer: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2; empty where there is no such segment."""
    for segment in answer.decode("utf-8", "replace").replace("\n", "\r").split("\r"):
        fields = segment.split(segment[3:4] or "|")
        if fields[0] == "MSA":
            _, code, acknowledged, *_ = (*fields, "", "")
            return code.strip(), acknowledged.strip()
    return "", ""
