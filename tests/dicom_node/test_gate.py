from __future__ import annotations

import threading

from dicom_node.gate import Gate
from tests.dicom_node.conftest import eventually


def test_one_who_closes_waits_for_those_inside_and_the_others_wait_for_it() -> None:
    gate, leave, let_in = Gate(), threading.Event(), threading.Event()
    said: list[str] = []

    def inside() -> None:
        with gate.passing():
            said.append("in")
            leave.wait()
            said.append("out")

    def closing() -> None:
        with gate.closed():
            said.append("closed")
            let_in.wait()
            said.append("open")

    first = threading.Thread(target=inside)
    first.start()
    eventually(lambda: said == ["in"])
    closer = threading.Thread(target=closing)
    closer.start()
    eventually(lambda: gate._closed)
    second = threading.Thread(target=inside)
    second.start()
    leave.set()
    eventually(lambda: said == ["in", "out", "closed"])
    let_in.set()
    for thread in (first, closer, second):
        thread.join(10)
    assert said == ["in", "out", "closed", "open", "in", "out"]
