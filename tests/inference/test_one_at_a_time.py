"""Studies are prepared while the networks read another one; the networks themselves read one at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from inference.analyse import Analyser
from inference.members import Ensemble, Reading
from tests.inference.test_self_test import write_volume


def test_networks_read_one_study_while_others_are_prepared(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyser = Analyser(bundle_folder)
    volume = write_volume(tmp_path / "volume.nii")
    read = Ensemble.read
    reading, go_on = threading.Event(), threading.Event()
    inside: list[int] = []
    most: list[int] = []

    def counted(self: Ensemble, *arguments: Any, **named: Any) -> Reading:
        inside.append(1)
        most.append(len(inside))
        reading.set()
        assert go_on.wait(60)
        try:
            return read(self, *arguments, **named)
        finally:
            inside.pop()

    monkeypatch.setattr(Ensemble, "read", counted)
    prepared = [analyser.prepare_nifti(volume, name="first")]
    answers: list[str] = []

    def answer(number: int) -> None:
        answers.append(analyser.answer(prepared[number]).result.study_uid)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(3)]
    threads[0].start()
    assert reading.wait(60)
    # The networks are busy, and that keeps nobody from being prepared.
    prepared += [analyser.prepare_nifti(volume, name=name) for name in ("second", "third")]
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1, 1]
    assert sorted(answers) == ["nifti_first", "nifti_second", "nifti_third"]
