"""HL7 messages over MLLP, to another library's server, and to receivers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import hl7
import httpx
import pytest
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from dicom_node.destination_settings import Hl7DestinationSettings
from dicom_node.errors import AssociationLost, ObjectsRefused, PeerUnreachable
from dicom_node.mllp import Receiver, send_message
from dicom_node.node import Node
from dicom_node.settings import ReportSettings
from inference.errors import RefusalCode, VolumeRefusal
from tests.dicom_node.conftest import Pacs, Site, eventually, next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.studies import send, write_chest

MESSAGE = b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|CONTROL-1|P|2.5.1\rOBX|1|ST|a||\xd0\xaf\r"


@dataclass
class Worklist:
    """An HL7 receiver; `code` is what it answers after `takes_s`.

    `most_waiting` counts the messages that waited for an answer at one moment.
    """

    code: str = "AA"
    takes_s: float = 0
    port: int = field(default_factory=next_free_port)
    received: list[hl7.Message] = field(default_factory=list)
    waiting: int = 0
    most_waiting: int = 0

    def destination(self, **changes: object) -> Hl7DestinationSettings:
        values = {"retry_first_s": 0.3, "retry_longest_s": 0.5, "timeout_s": 5, **changes}
        return Hl7DestinationSettings(kind="hl7", name="ris", host="127.0.0.1", port=self.port, **values)  # type: ignore[arg-type]

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
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        await asyncio.sleep(self.takes_s)
        self.waiting -= 1
        writer.writemessage(message.create_ack(self.code))
        await writer.drain()
        writer.close()


def _answering(answer: bytes, *, linger: bool = False) -> Callable[[socket.socket], None]:
    """Answers; lingering, in pieces, and then keeps the connection until the sender leaves."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if not linger:
                connection.sendall(answer)
                return
            with suppress(OSError):
                for piece in (answer[:7], answer[7:20], answer[20:]):
                    connection.sendall(piece)
                    time.sleep(0.02)
                connection.recv(1)

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


@pytest.mark.parametrize(
    "answer",
    [
        b"\x0bMSH|^~\\&|A\rMSA|AA|CONTROL-1\r\x1c\r\n",
        b"\x0bMSH|^~\\&|A\rMSA|AA|CONTROL-1\r\x1c",
        # Of enhanced mode: accepted at once, and a second message with the application's answer.
        b"\x0bMSH|^~\\&|A\rMSA|CA|CONTROL-1\r\x1c\r\x0bMSH|^~\\&|A\rMSA|AA|CONTROL-1\r\x1c\r",
        b"\r\n\x0bMSH#^~\\&#A\nMSA#AA#CONTROL-1\n\x1c\r",
    ],
)
def test_an_acknowledgement_counts_whatever_stands_about_its_frame(answer: bytes) -> None:
    with _listening(_answering(answer, linger=True)) as port:
        send_message(Receiver("127.0.0.1", port, timeout_s=2), MESSAGE, "CONTROL-1")


def test_a_receiver_that_cannot_read_the_message_refused_it() -> None:
    answer = b"\x0bMSH|^~\\&|A\rMSA|AR|\r\x1c\r"
    with _listening(_answering(answer)) as port, pytest.raises(ObjectsRefused, match=r"\(AR\)$"):
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
    node = site.start(worklist.destination())
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


def test_an_earlier_answer_never_follows_a_later_one(site: Site, tmp_path: Path) -> None:
    worklist = Worklist()
    node = site.start(worklist.destination())
    send(write_chest(tmp_path, "twice"), site.archive)
    eventually(lambda: _states(node) == ["failing"])
    node.rerun(node.ledger.recent()[0].key)
    eventually(lambda: _states(node) == ["failing", "failing"] or _states(node) == ["failing", "stopped"])
    with worklist.running():
        eventually(lambda: _states(node) == ["delivered", "stopped"])
    later, earlier = node.ledger.recent()
    (message,) = worklist.received
    assert str(message.segment("MSH")[10]) == _control_id(node, later.key)
    assert earlier.deliveries[0].error == "superseded: a later answer about the study takes its place"
    assert node.operations.can_send(later, "ris")
    assert not node.operations.can_send(earlier, "ris")
    with served(node, next_free_port()) as url:
        page = httpx.get(f"{url}/work/{earlier.key}").text
    assert "Not delivered, and not to be: a later answer took its place" in page


def test_a_message_that_waits_is_sent_as_the_settings_say_then(site: Site, tmp_path: Path) -> None:
    worklist = Worklist(code="AE")
    node = site.start(worklist.destination(receiving_facility="WRONG"))
    with worklist.running():
        send(write_chest(tmp_path, "facility"), site.archive)
        eventually(lambda: _states(node) == ["failing"])
        site.stop()
        worklist.code = "AA"
        worklist.received.clear()
        node = site.start(worklist.destination(receiving_facility="RIGHT"))
        eventually(lambda: _states(node) == ["delivered"])
    assert [str(message.segment("MSH")[6]) for message in worklist.received] == ["RIGHT"]


def test_one_message_follows_another(site: Site, tmp_path: Path) -> None:
    """Two at once may arrive in any order, and the receiver keeps the last one."""
    worklist = Worklist(code="AE", takes_s=0.5)
    node = site.start(worklist.destination())
    with worklist.running():
        for name in ("one", "two", "three"):
            send(write_chest(tmp_path, name), site.archive)
        eventually(lambda: _states(node) == ["failing"] * 3)
        worklist.code = "AA"
        eventually(lambda: _states(node) == ["delivered"] * 3)
    assert worklist.most_waiting == 1


def test_a_refused_study_has_nothing_for_a_worklist(site: Site, pacs: Pacs, tmp_path: Path) -> None:
    site.analyser.faults = [VolumeRefusal(RefusalCode.MISSING_SLICES, "About 4 slice(s) are missing.")]
    worklist = Worklist()
    node = site.start(worklist.destination(), pacs.destination(), report=ReportSettings(refusals=("sr",)))
    send(write_chest(tmp_path, "gap"), site.archive)
    eventually(lambda: pacs.received)  # deliveries are entered before the first of them begins
    (record,) = node.ledger.recent()
    assert record.state == "refused"
    assert not node.operations.can_send(record, "ris")
    assert [delivery.destination for delivery in record.deliveries] == ["pacs"]


def _states(node: Node) -> list[str]:
    return [delivery.state for record in node.ledger.recent() for delivery in record.deliveries]


def _control_id(node: Node, key: str) -> str:
    (file,) = node.folder.results(key).glob("oru-*.hl7")
    return file.read_text().split("|")[9]


def _tested(url: str) -> str:
    """What the page says after its button was pressed."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    return httpx.post(f"{url}/system/echo", data={"destination": "ris"}, headers=headers).text
