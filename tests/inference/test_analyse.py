from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from inference.analyse import Analyser
from inference.bundle_facts import DEMONSTRATION
from inference.details import details
from inference.dicom_files import DicomFiles, files_below, read_headers
from inference.errors import Refusal, RefusalCode
from inference.saliency_file import read_saliency
from inference.series import choose_series
from inference.study_result import StudyResult
from models.manifest import SaliencySpec
from models.slice_classifier import SliceClassifier
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import acquisition_grid
from phantom.scene import LUNG, STANDARD
from phantom.studies import chest_study, head_study
from tests.inference.conftest import manifest, write_bundle
from tests.inference.held_networks import held_networks
from tests.inference.synthetic import ct_series, save


@pytest.fixture(scope="module")
def analyser(bundle_folder: Path) -> Analyser:
    return Analyser(bundle_folder)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> DicomFiles:
    """A synthetic chest with a pneumothorax, two kernels and a scout, as files."""
    folder = tmp_path_factory.mktemp("chest")
    case = Case(HELD_OUT_SEEDS[3], ("Pneumothorax",))
    full = acquisition_grid(case)
    pixel = 4 * full.spacing_mm[1]
    grid = centred_grid((5.0, pixel, pixel), (int(full.shape[0] * full.spacing_mm[0] / 5), 128, 128))
    study = chest_study(case, kernels=(STANDARD, LUNG), grid=grid, numbering="shuffled", localizer=True)
    for index, image in enumerate(study.datasets()):
        image.save_as(folder / f"{(index * 37) % 1000:04d}.dcm", enforce_file_format=True)
    return read_headers(files_below(folder))


@pytest.fixture(scope="module")
def result(analyser: Analyser, chest: DicomFiles) -> StudyResult:
    choice = choose_series(chest.headers)
    return analyser.analyse(chest.series(choice), choice, key="abc")


def test_the_answer_is_whole_and_survives_json(result: StudyResult, chest: DicomFiles) -> None:
    assert StudyResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert result.key == "abc"
    assert 0 < result.probability < 1
    assert result.decision == int(result.probability >= result.operating_point)
    assert {item.reason for item in result.series} == {"chosen", "localizer", "kernel"}
    chosen = next(item for item in result.series if item.chosen)
    assert chosen.series_uid == result.series_uid
    assert "lung kernel" in chosen.sentence
    assert list(result.seconds)[:3] == ["read", "lungs", "prepare"]
    assert {"ctclip", "supervised", "diffusion", "fusion"} <= set(result.seconds)
    by_uid = {header.sop_instance_uid: header for header in chest.headers}
    heights = [by_uid[uid].planes[0].position_mm[2] for uid in result.image_sop_instance_uids]
    assert heights == sorted(heights)
    assert len(set(heights)) == len(heights)


def test_the_demonstration_says_so(result: StudyResult) -> None:
    assert result.bundle.demonstration
    assert result.warnings[0] == DEMONSTRATION


def test_findings_are_the_mean_of_their_columns(result: StudyResult) -> None:
    nodule, emphysema = result.findings
    scores = result.member_scores
    assert nodule.probability == pytest.approx(
        (scores["supervised"]["Lung nodule"] + scores["ctclip"]["Lung nodule"]) / 2
    )
    assert emphysema.member_scores == {"supervised": scores["supervised"]["Emphysema"]}
    for finding in result.findings:
        assert finding.present == (finding.probability >= finding.operating_point)
        assert (finding.laterality is not None) <= finding.present


def test_slices_name_their_source_image(result: StudyResult) -> None:
    references = [*result.key_slices, *(item.best_slice for item in result.findings if item.best_slice)]
    assert result.key_slices
    assert len({item.index for item in result.key_slices}) == len(result.key_slices) <= 5
    for reference in references:
        assert result.image_sop_instance_uids[reference.index] == reference.sop_instance_uid
        assert 0 <= reference.row <= 127
        assert 0 <= reference.column <= 127


def test_the_detailed_form_has_every_score_and_column(result: StudyResult) -> None:
    form = json.loads(json.dumps(details(result)))
    assert form["member_scores"] == result.member_scores
    assert list(form["fusion"]["columns"]) == list(manifest().fusion.columns)  # type: ignore[union-attr]
    assert (
        form["fusion"]["columns"]["supervised_Lung nodule"]
        == result.member_scores["supervised"]["Lung nodule"]
    )
    assert {item["reason"] for item in form["series"]} == {"chosen", "localizer", "kernel"}
    assert form["seconds"] == result.seconds


def test_the_answer_does_not_depend_on_names_or_order_of_files(
    analyser: Analyser, chest: DicomFiles, result: StudyResult, tmp_path: Path
) -> None:
    choice = choose_series(chest.headers[::-1])
    copies = []
    for index, path in enumerate(chest.series(choice)[::-1]):
        copies.append(tmp_path / f"normal_{index}")
        copies[-1].write_bytes(path.read_bytes())
    again = analyser.analyse(copies, choice, key="abc")
    assert replace(again, analysed_at="", seconds={}) == replace(result, analysed_at="", seconds={})


def test_progress_rises_to_the_end(analyser: Analyser, chest: DicomFiles) -> None:
    choice = choose_series(chest.headers)
    seen: list[tuple[str, float]] = []
    analyser.analyse(chest.series(choice), choice, progress=lambda stage, share: seen.append((stage, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert "diffusion" in {stage for stage, _ in seen}


def test_a_head_is_refused(analyser: Analyser, tmp_path: Path) -> None:
    grid = centred_grid((5.0, 1.96, 1.96), (32, 128, 128))
    images = list(head_study(HELD_OUT_SEEDS[0], grid=grid).datasets())
    files = read_headers(save(images, tmp_path))
    choice = choose_series(files.headers)
    with pytest.raises(Refusal) as caught:
        analyser.analyse(files.series(choice), choice)
    assert caught.value.code is RefusalCode.NO_LUNGS


def test_a_nifti_is_analysed_under_its_own_name_even_without_lungs(
    analyser: Analyser, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(-1000, 400, (40, 40, 60)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 3.0, 1.0])), tmp_path / "v.nii.gz")
    result = analyser.analyse_nifti(tmp_path / "v.nii.gz", name="v")
    assert (result.study_uid, result.series_uid) == ("nifti_v", "nifti_v_series")
    assert any("not a CT of the chest" in warning for warning in result.warnings)
    assert 0 < result.probability < 1


def test_a_series_too_short_for_the_networks_is_refused(analyser: Analyser, tmp_path: Path) -> None:
    images = ct_series(24, step_mm=1.0)
    files = read_headers(save(images, tmp_path))
    choice = choose_series(files.headers)
    with pytest.raises(Refusal) as caught:
        analyser.analyse(files.series(choice), choice)
    assert caught.value.code in {RefusalCode.NO_LUNGS, RefusalCode.TOO_FEW_SLICES}


@pytest.fixture
def other_bundle(tmp_path: Path) -> Iterator[Path]:
    return tmp_path / "other"


def test_present_findings_have_a_region_and_its_map_is_kept(other_bundle: Path, chest: DicomFiles) -> None:
    nodule, emphysema = manifest().findings
    specs = (replace(nodule, operating_point=0.01), replace(emphysema, operating_point=0.999))
    rule = replace(manifest(), findings=specs, saliency=SaliencySpec(1e-6))
    choice = choose_series(chest.headers)
    kept: list[bytes] = []
    analyser = Analyser(write_bundle(other_bundle, rule))
    result = analyser.analyse(chest.series(choice), choice, keep_saliency=kept.append)
    present, absent = result.findings
    assert (present.present, absent.present, absent.region) == (True, False, None)
    assert present.region is not None
    assert present.region.slice == present.best_slice
    assert all(0 <= x <= 128 and 0 <= y <= 128 for x, y in present.region.polygon)
    assert present.laterality is None
    assert any(warning.startswith("No side is told of any finding") for warning in result.warnings)
    assert StudyResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    (content,) = kept
    assert len(content) < 20_000
    stored = read_saliency(content)
    assert list(stored.maps) == [present.name]
    best = present.region.slice
    plane = stored.maps[present.name].plane(best.index)
    assert plane.shape == (128, 128)
    assert plane[int(best.row), int(best.column)] >= present.region.threshold
    # (slice, row, column) to the patient, as the source's own header has it.
    header = next(item for item in chest.headers if item.sop_instance_uid == best.sop_instance_uid)
    position = stored.volume_affine @ [0, 0, best.index, 1]
    np.testing.assert_allclose(position[:3], header.planes[0].position_mm, atol=1e-3)


def test_studies_are_prepared_while_the_networks_read_and_are_read_one_by_one(
    analyser: Analyser, chest: DicomFiles
) -> None:
    choice = choose_series(chest.headers)
    paths = chest.series(choice)
    studies = [analyser.prepare(paths, choice) for _ in range(2)]
    with held_networks() as networks, ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(analyser.answer, study) for study in studies]
        assert networks.reading.wait(60)
        try:
            third = analyser.prepare(paths, choice)  # returns although the networks are taken
            assert not any(answer.done() for answer in answers)
        finally:
            networks.go_on.set()
        results = [answer.result().result for answer in answers]
    assert networks.inside == [1, 1]
    results.append(analyser.answer(third).result)
    assert all(item.member_scores == results[0].member_scores for item in results)


def test_a_measured_study_serves_as_warm_up(bundle_folder: Path, chest: DicomFiles) -> None:
    analyser = Analyser(bundle_folder)
    assert analyser.memory == ()
    choice = choose_series(chest.headers)
    analyser.answer(analyser.prepare(chest.series(choice), choice), measure=True)
    measured = analyser.memory
    assert {item.member for item in measured} == {"ctclip", "supervised", "diffusion"}
    assert analyser.warm_up() is measured


def test_steps_that_memory_forced_are_said_in_the_result(
    other_bundle: Path, chest: DicomFiles, result: StudyResult
) -> None:
    analyser = Analyser(write_bundle(other_bundle, manifest()))
    original = SliceClassifier.forward

    def limited(self: SliceClassifier, x: Tensor, t: Tensor) -> Tensor:
        if len(x) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, x, t)

    choice = choose_series(chest.headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SliceClassifier, "forward", limited)
        short = analyser.analyse(chest.series(choice), choice)
    assert any("8 at a time" in warning for warning in short.warnings)
    assert short.probability == pytest.approx(result.probability, abs=1e-5)
    assert not any("at a time" in warning for warning in result.warnings)
