"""Lungs and their densities in what is prepared and answered: refusals, warnings, measurements, columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.answer import success_answer
from inference.analyse import Analyser
from inference.densitometry import COLUMNS, densitometry
from inference.dicom_files import DicomFiles, read_headers
from inference.errors import Refusal, RefusalCode
from inference.lungs import find_lungs
from inference.series import choose_series
from inference.study_result import StudyResult
from models.manifest import FusionSpec
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from structured_report import ReportContext, build_objects
from structured_report.codes import quantity_code
from tests.inference.conftest import manifest, write_bundle
from tests.inference.synthetic import save
from tests.structured_report.samples import key_slices

GRID = centred_grid((4.5, 3.2, 3.2), (72, 128, 128))


@pytest.fixture(scope="module")
def analyser(bundle_folder: Path) -> Analyser:
    return Analyser(bundle_folder)


@pytest.fixture(scope="module")
def measuring_analyser(tmp_path_factory: pytest.TempPathFactory) -> Analyser:
    """One whose fusion model asks for two of the measurements."""
    spec = manifest()
    assert spec.fusion is not None
    columns = ("densitometry_laa_950_percent", *spec.fusion.columns, "densitometry_lung_volume_ml")
    fusion: FusionSpec = replace(spec.fusion, columns=columns)
    folder = tmp_path_factory.mktemp("measuring")
    return Analyser(write_bundle(folder / "bundle", replace(spec, fusion=fusion)))


def chest(folder: Path, first: int = 0, end: int | None = None) -> DicomFiles:
    """A synthetic chest, or some slices of it counted from the feet."""
    images = sorted(
        chest_study(Case(3, ()), grid=GRID).datasets(), key=lambda image: float(image.ImagePositionPatient[2])
    )
    return read_headers(save(images[first:end], folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DicomFiles:
    return chest(tmp_path_factory.mktemp("chest"))


def answer(analyser: Analyser, files: DicomFiles) -> StudyResult:
    choice = choose_series(files.headers)
    return analyser.analyse(files.series(choice), choice)


def test_a_result_has_the_measurements_of_its_volume(analyser: Analyser, whole: DicomFiles) -> None:
    choice = choose_series(whole.headers)
    study = analyser.prepare(whole.series(choice), choice)
    result = analyser.answer(study).result
    assert result.measurements == densitometry(study.volume, find_lungs(study.volume)).measurements
    assert len(result.measurements) == len(COLUMNS)
    assert StudyResult.from_json(result.to_json()) == result
    assert "densitometry" in {algorithm.name for algorithm in result.algorithms}
    assert not any("stops within the lungs" in warning for warning in result.warnings)


def test_measurements_change_no_other_score(
    analyser: Analyser, measuring_analyser: Analyser, whole: DicomFiles
) -> None:
    plain, measuring = answer(analyser, whole), answer(measuring_analyser, whole)
    assert plain.member_scores == measuring.member_scores
    assert plain.findings == measuring.findings
    columns = {item.column: item.value for item in plain.contributions}
    assert not any(name.startswith("densitometry_") for name in columns)
    with_densities = {item.column: item.value for item in measuring.contributions}
    assert columns == {name: with_densities[name] for name in columns}
    values = {item.name: item.value for item in measuring.measurements}
    assert with_densities["densitometry_laa_950_percent"] == values["LAA-950"]
    assert with_densities["densitometry_lung_volume_ml"] == values["Lung volume"]


def test_measurements_reach_the_answer_and_the_report(
    measuring_analyser: Analyser, whole: DicomFiles
) -> None:
    """Columns of the fusion, details of the answer, and the report's numbers with UCUM units and methods."""
    choice = choose_series(whole.headers)
    study = measuring_analyser.prepare(whole.series(choice), choice)
    result = measuring_analyser.answer(study, key="3f" * 32).result
    details = success_answer(result, 1.0, details=True)["details"]
    assert [item["name"] for item in details["measurements"]] == [item.name for item in result.measurements]
    columns = details["fusion"]["columns"]
    assert columns["densitometry_lung_volume_ml"] == details["measurements"][0]["value"]
    assert columns["densitometry_laa_950_percent"] == details["measurements"][4]["value"]

    headers = {str(header.SOPInstanceUID): header for header in map(dcmread, whole.series(choice))}
    sources = [headers[uid] for uid in result.image_sop_instance_uids]
    context = ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99", timezone="Europe/Moscow")
    report = build_objects(result, sources, key_slices(result), context)[0]
    written = dcmread(BytesIO(report.to_bytes()))
    names = ("Lung volumes", "Lung density", "Low and high attenuation")
    measuring = [item for item in _items(written) if any(_called(item, name) for name in names)]
    assert len(measuring) == len(names)
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: item
        for group in measuring
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }
    assert len(numbers) == len(COLUMNS)
    said = [item.TextValue for item in _items(written) if item.ValueType == "TEXT"]
    for measured in result.measurements:
        number = numbers[quantity_code(measured.name).code.value]
        value = number.MeasuredValueSequence[0]
        unit = value.MeasurementUnitsCodeSequence[0]
        assert float(value.NumericValue) == measured.value
        assert (unit.CodeValue, unit.CodingSchemeDesignator) == (measured.unit, "UCUM")
        # A method that several quantities share is told once, after the names of all of them.
        (told,) = [text for text in said if text.endswith(f": {measured.method}")]
        assert measured.name in told.removesuffix(f": {measured.method}").split("; ")


def _items(item: Dataset) -> Iterator[Dataset]:
    """Everything in a report."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from _items(child)


def _called(item: Dataset, name: str) -> bool:
    """Whether this is a group of measurements with such a tracking identifier (112039, DCM)."""
    return any(
        child.ValueType == "TEXT"
        and child.ConceptNameCodeSequence[0].CodeValue == "112039"
        and child.TextValue == name
        for child in item.get("ContentSequence", [])
    )


def test_a_little_missing_is_a_warning(analyser: Analyser, tmp_path: Path) -> None:
    result = answer(analyser, chest(tmp_path, end=61))
    (warning,) = [warning for warning in result.warnings if "stops within the lungs" in warning]
    assert "mm at the head end" in warning
    assert result.measurements


def test_a_large_part_missing_is_refused(analyser: Analyser, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        answer(analyser, chest(tmp_path, end=38))
    assert caught.value.code is RefusalCode.LUNGS_TRUNCATED
    assert "mm at the head end" in caught.value.sentence


def nifti(folder: Path, voxels: np.ndarray) -> Path:
    """[slice, row, column] as a file, along the patient's axes."""
    path = folder / "volume.nii.gz"
    affine = np.diag([-3.2, -3.2, 4.5, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)
    return path


def test_a_nifti_of_half_a_chest_is_analysed_with_a_warning(
    analyser: Analyser, whole: DicomFiles, tmp_path: Path
) -> None:
    choice = choose_series(whole.headers)
    voxels = analyser.prepare(whole.series(choice), choice).volume.voxels_hu
    result = analyser.analyse_nifti(nifti(tmp_path, voxels[:38]), name="half")
    assert any("mm at the head end are missing" in warning for warning in result.warnings)
    assert len(result.measurements) == len(COLUMNS)


def test_a_nifti_without_lungs_has_no_measurements(
    analyser: Analyser, measuring_analyser: Analyser, tmp_path: Path
) -> None:
    path = nifti(tmp_path, np.full((40, 64, 64), 20, np.int16))
    assert analyser.analyse_nifti(path, name="water").measurements == ()
    with pytest.raises(Refusal) as caught:
        measuring_analyser.analyse_nifti(path, name="water")
    assert caught.value.code is RefusalCode.NO_LUNGS
    assert "needs their density" in caught.value.sentence
