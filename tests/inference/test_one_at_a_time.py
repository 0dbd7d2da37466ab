"""Studies are prepared while the networks read another one; the networks themselves read one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from inference.analyse import Analyser
from tests.inference.held_networks import held_networks
from tests.inference.test_self_test import write_volume


def test_networks_read_one_study_while_others_are_prepared(bundle_folder: Path, tmp_path: Path) -> None:
    analyser = Analyser(bundle_folder)
    volume = write_volume(tmp_path / "volume.nii")
    prepared = [analyser.prepare_nifti(volume, name="first")]
    answers: list[str] = []

    def answer(number: int) -> None:
        answers.append(analyser.answer(prepared[number]).result.study_uid)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(3)]
    with held_networks() as networks:
        threads[0].start()
        assert networks.reading.wait(60)
        # The networks are busy, and that keeps nobody from being prepared.
        prepared += [analyser.prepare_nifti(volume, name=name) for name in ("second", "third")]
        for thread in threads[1:]:
            thread.start()
        networks.go_on.set()
        for thread in threads:
            thread.join(60)
    assert networks.inside == [1, 1, 1]
    assert sorted(answers) == ["nifti_first", "nifti_second", "nifti_third"]
