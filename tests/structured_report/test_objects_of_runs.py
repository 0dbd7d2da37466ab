"""Objects of two runs, all kinds of them: a screening CT of NLST, and a synthetic chest.

Nothing is made up: headers, series choice, volume, lungs, every member of the demonstration bundle, fusion,
the saliency's file, and the objects that the node makes of them. Validators and readers of others take each
object; what the demonstration says about a patient means nothing and is not looked at.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_node.report_material import report_material
from inference.analyse import Analyser
from inference.dicom_files import files_below, read_headers
from inference.series import choose_series
from inference.study_result import StudyResult
from phantom.cases import HELD_OUT_SEEDS, Case
from phantom.grid import centred_grid
from phantom.render import acquisition_grid
from phantom.studies import chest_study
from structured_report import ObjectKind, ReportContext, ReportObject, build_objects
from tests.conftest import PROJECT
from tests.structured_report import pixelmed
from tests.structured_report.content import (
    COMMENT,
    REGION,
    TRACKING_UID,
    WORDS,
    children,
    group_of,
    groups,
    written,
)
from tests.structured_report.templates import departures

KINDS: tuple[ObjectKind, ...] = ("sr", "sc", "kos", "seg", "pm", "pdf")
CASE = Case(HELD_OUT_SEEDS[5], ("Pleural effusion", "Pneumothorax"))
RUNS = ("nlst", "synthetic")


@dataclass(frozen=True)
class Run:
    """An answer, the headers of the images behind it, and all objects about them."""

    result: StudyResult
    headers: list[Dataset]
    objects: list[ReportObject]

    def of_kind(self, kind: ObjectKind) -> list[ReportObject]:
        return [item for item in self.objects if item.kind == kind]

    @property
    def report(self) -> ReportObject:
        (item,) = self.of_kind("sr")
        return item


def run(analyser: Analyser, files: Path, kept: Path, key: str) -> Run:
    """What a worker does with the files of one study."""
    found = read_headers(files_below(files))
    choice = choose_series(found.headers)
    paths = found.series(choice)
    saliency = kept / "saliency.npz"
    result = analyser.analyse(paths, choice, key=key, keep_saliency=saliency.write_bytes)
    by_uid = {
        str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): path for path in paths
    }
    material = report_material(result, by_uid, saliency, with_attention=True)
    objects = build_objects(
        result,
        material.headers,
        material.slices,
        ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99", timezone="Europe/Moscow"),
        attention=material.attention,
        overview=material.overview,
        kinds=KINDS,
    )
    return Run(result, list(material.headers), objects)


def save_chest(folder: Path) -> None:
    """Every other slice of the case, and every fourth pixel."""
    full = acquisition_grid(CASE)
    pixel_mm = 4 * full.spacing_mm[1]
    grid = centred_grid((5.0, pixel_mm, pixel_mm), (full.shape[0] // 2, 128, 128))
    for image in chest_study(CASE, grid=grid).datasets():
        image.save_as(folder / f"{image.InstanceNumber}.dcm", enforce_file_format=True)


@pytest.fixture(scope="module")
def runs(ct_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    analyser = Analyser(PROJECT / "best_models" / "demo", threads=1)
    synthetic = tmp_path_factory.mktemp("synthetic")
    save_chest(synthetic)
    studies = {"nlst": ct_data / "ct" / "nlst-toshiba", "synthetic": synthetic}
    return {
        name: run(analyser, files, tmp_path_factory.mktemp(name), f"{number:064x}")
        for number, (name, files) in enumerate(studies.items(), start=1)
    }


@pytest.fixture(params=RUNS)
def one(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


def instances_named(dataset: Dataset) -> Iterator[str]:
    """Every instance that an object refers to, at any depth."""
    return (str(item.value) for item in dataset.iterall() if item.keyword == "ReferencedSOPInstanceUID")


def test_every_kind_was_made(one: Run) -> None:
    made = Counter(item.kind for item in one.objects)
    located = [finding.name for finding in one.result.findings if finding.region is not None]
    assert len(located) >= 2
    assert made == {
        "sr": 1,
        "sc": len(one.result.key_slices) + 1,
        "kos": 1,
        "seg": 1,
        "pm": len(located),
        "pdf": 1,
    }


def test_validator_finds_no_error_in_any_object(one: Run, iod_errors: Callable[[bytes], list[str]]) -> None:
    errors = [(item.kind, iod_errors(item.to_bytes())) for item in one.objects]
    assert len(errors) >= 8
    assert [(kind, found) for kind, found in errors if found] == []


def test_every_object_is_of_the_study_and_names_nothing_but_its_images(one: Run) -> None:
    first, images = one.headers[0], {str(header.SOPInstanceUID) for header in one.headers}
    for item in one.objects:
        made = written(item)
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
            assert str(made.get(keyword) or "") == str(first.get(keyword) or ""), (item.kind, keyword)
        assert made.SeriesDescription.startswith("AI ")
        assert "DEMONSTRATION" in made.SeriesDescription
        assert set(instances_named(made)) <= images, item.kind


def test_each_kind_is_a_series_of_its_own(one: Run) -> None:
    series = {kind: {item.series_uid for item in one.of_kind(kind)} for kind in KINDS}
    assert all(len(uids) == 1 for uids in series.values())
    uids = set().union(*series.values())
    assert len(uids) == len(KINDS)
    assert one.result.series_uid not in uids


def test_a_segment_is_tracked_as_its_finding_is(one: Run) -> None:
    (segmented,) = one.of_kind("seg")
    segments = written(segmented).SegmentSequence
    for segment in segments:
        (identifier,) = children(group_of(written(one.report), segment.TrackingID), TRACKING_UID)
        assert segment.TrackingUID == identifier.UID
    assert len(segments) == sum(finding.region is not None for finding in one.result.findings)


def test_the_report_keeps_to_its_templates(one: Run) -> None:
    assert departures(written(one.report)) == []


def test_others_read_the_documents(one: Run, tmp_path: Path) -> None:
    (selection,) = one.of_kind("kos")
    printed = {}
    for item in (one.report, selection):
        path = tmp_path / f"{item.kind}.dcm"
        path.write_bytes(item.to_bytes())
        # dsrdump stops at the first violation of the IOD.
        done = subprocess.run(["dsrdump", "+Pl", "+U8", path], capture_output=True, check=True, timeout=60)
        printed[item.kind] = done.stdout.decode()
    for finding in one.result.findings:
        assert finding.name in printed["sr"]
    assert "Key Object Selection Document" in printed["kos"]
    read = hd.sr.srread(BytesIO(one.report.to_bytes())).content
    located = [finding.name for finding in one.result.findings if finding.region is not None]
    planar = read.get_planar_roi_measurement_groups()
    assert sorted(group.tracking_identifier for group in planar) == sorted(located)
    others = read.get_image_measurement_groups()
    assert len(planar) + len(others) == len(groups(written(one.report)))


def test_others_read_the_images(one: Run) -> None:
    (segmented,) = one.of_kind("seg")
    segmentation = hd.seg.segread(BytesIO(segmented.to_bytes()))
    located = {finding.name for finding in one.result.findings if finding.region is not None}
    assert {segmentation.get_segment_description(n).segment_label for n in segmentation.segment_numbers} == {
        f"AI attention: {name}" for name in located
    }
    for item in one.of_kind("pm"):
        values = written(item).pixel_array
        assert np.isfinite(values).all()
        assert values.max() > 0
    for item in one.of_kind("sc"):
        pixels = written(item).pixel_array
        assert pixels.ndim == 3
        assert pixels.std() > 0
    (pdf,) = one.of_kind("pdf")
    assert written(pdf).EncapsulatedDocument.startswith(b"%PDF-")


def test_pixelmed_finds_nothing_in_the_templates_but_what_is_explained(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{name}.dcm" for name in RUNS]
    for path, name in zip(paths, RUNS, strict=True):
        path.write_bytes(runs[name].report.to_bytes())
    expected = {*pixelmed.SEVERAL_REGIONS, *pixelmed.ANSWER}
    own_procedure = {"nlst": set(), "synthetic": set(pixelmed.OWN_PROCEDURE)}
    for name, said in zip(RUNS, pixelmed.said_of(paths), strict=True):
        assert pixelmed.unexplained(said) == []
        assert pixelmed.explained_by(said) == expected | own_procedure[name]


def test_what_the_synthetic_chest_has_is_found_and_located(runs: dict[str, Run]) -> None:
    report = written(runs["synthetic"].report)
    for name in CASE.findings:
        assert children(group_of(report, name), REGION)
    sentences = [item.TextValue for item in children(children(report, WORDS)[0], COMMENT)]
    assert any(sentence.startswith("No side is told of any finding") for sentence in sentences)
