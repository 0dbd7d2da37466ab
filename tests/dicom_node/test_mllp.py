"""HL7 messages over MLLP, to another library's server, and to receivers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hl7
import httpx
import pytest
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from dicom_node.errors import AssociationLost, ObjectsRefused, PeerUnreachable
from dicom_node.mllp import Receiver, send_message
from dicom_node.settings import Hl7DestinationSettings
from tests.dicom_node.conftest import Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import send, write_chest

MESSAGE = b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|CONTROL-1|P|2.5.1\rOBX|1|ST|a||\xd0\xaf\r"


@dataclass
class Worklist:
    """An HL7 receiver; `code` is what it answers."""

    code: str = "AA"
    port: int = field(default_factory=next_free_port)
    received: list[hl7.Message] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Worklist]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(
            start_hl7_server(self._take, "127.0.0.1", self.port, encoding="utf-8")
        )
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _take(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            message = await reader.readmessage()
        except asyncio.IncompleteReadError:
            return
        self.received.append(message)
        writer.writemessage(message.create_ack(self.code))
        await writer.drain()
        writer.close()


def _answering(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    return serve


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_message_arrives_as_it_was_sent() -> None:
    with Worklist().running() as worklist:
        send_message(Receiver("127.0.0.1", worklist.port), MESSAGE, "CONTROL-1")
    assert str(worklist.received[0]).encode() == MESSAGE


def test_refusal_is_told_without_what_the_receiver_said() -> None:
    with Worklist(code="AE").running() as worklist, pytest.raises(ObjectsRefused, match=r"\(AE\)$"):
        send_message(Receiver("127.0.0.1", worklist.port), MESSAGE, "CONTROL-1")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no frame",
        b"\x0b\x1c\r",
        b"\x0bMSH|^~\\&|A\rMSA|AA|ANOTHER\r\x1c\r",
        b"\x0bMSH|^~\\&|A\rMSA|XX|CONTROL-1\r\x1c\r",
        b"\x0bMSH|^~\\&|A\rMSA\r\x1c\r",
        b"\x0b" + b"A" * 100_000,
    ],
)
def test_anything_but_an_acknowledgement_of_this_message_is_none(answer: bytes) -> None:
    with _listening(_answering(answer)) as port, pytest.raises(AssociationLost):
        send_message(Receiver("127.0.0.1", port, timeout_s=2), MESSAGE, "CONTROL-1")


def test_silent_receiver_is_given_up() -> None:
    done = threading.Event()
    with _listening(lambda listener: (listener.accept(), done.wait(5))[0] and None) as port:
        with pytest.raises(AssociationLost):
            send_message(Receiver("127.0.0.1", port, timeout_s=0.3), MESSAGE, "CONTROL-1")
        done.set()


def test_nobody_there() -> None:
    with pytest.raises(PeerUnreachable):
        send_message(Receiver("127.0.0.1", next_free_port()), MESSAGE, "CONTROL-1")


def test_a_worklist_that_was_away_is_told_when_it_comes_back(site: Site, tmp_path: Path) -> None:
    worklist = Worklist()
    destination = Hl7DestinationSettings(
        kind="hl7", name="ris", host="127.0.0.1", port=worklist.port, retry_first_s=0.3, retry_longest_s=0.5
    )
    node = site.start(destination)
    send(write_chest(tmp_path, "one"), site.archive)

    def state() -> str:
        records = node.ledger.recent()
        return records[0].deliveries[0].state if records and records[0].deliveries else ""

    eventually(lambda: state() == "failing")
    error = node.ledger.recent()[0].deliveries[0].error
    assert error == f"the HL7 receiver at 127.0.0.1:{worklist.port} cannot be reached"
    with worklist.running():
        eventually(lambda: state() == "delivered")
        with served(node, next_free_port()) as url:
            assert "Test ris (connection)" in httpx.get(f"{url}/system").text
            assert "Answered in" in _tested(url)
    with served(node, next_free_port()) as url:
        assert "cannot be reached" in _tested(url)
    (message,) = worklist.received
    assert str(message.segment("OBX")[5]) == node.ledger.recent()[0].study_uid


def _tested(url: str) -> str:
    """What the page says after its button was pressed."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    return httpx.post(f"{url}/system/echo", data={"destination": "ris"}, headers=headers).text
