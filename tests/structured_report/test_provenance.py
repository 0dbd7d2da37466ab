"""Every algorithm is a device of its own, and all places that name it agree (IHE AI Results)."""

from __future__ import annotations

from dataclasses import replace

import pydicom
import pytest
from pydicom.dataset import Dataset

from inference.study_result import Runtime, StudyResult
from structured_report import ReportContext, ReportObject, build_objects
from tests.structured_report.samples import key_slices


@pytest.fixture
def objects(headers: list[Dataset], result: StudyResult, context: ReportContext) -> list[ReportObject]:
    return build_objects(result, headers, key_slices(result), context)


def processing(dataset: Dataset) -> list[Dataset]:
    return [
        item
        for item in dataset.ContributingEquipmentSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    ]


def text(dataset: Dataset, code: str) -> str:
    item = next(item for item in dataset.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == code)
    return str(item.get("TextValue") or item.UID)


def test_one_item_for_each_algorithm_with_a_device_uid_of_its_own(objects: list[ReportObject]) -> None:
    for item in objects:
        equipment = processing(item.dataset)
        assert [one.ManufacturerModelName for one in equipment] == [
            "dicom-node",
            "ctclip",
            "supervised",
            "densitometry",
            "fusion",
        ]
        assert [one.SoftwareVersions for one in equipment] == ["0.1.0", "1.0.0", "1.0.0", "0.1.0", "1.0.0"]
        uids = [one.DeviceUID for one in equipment]
        assert len(set(uids)) == 5
        assert all(pydicom.uid.UID(uid).is_valid for uid in uids)
        assert all(one.Manufacturer for one in equipment)


def test_device_observer_and_algorithm_identification_equal_the_equipment(
    objects: list[ReportObject],
) -> None:
    report = objects[0].dataset
    ensemble = processing(report)[0]
    assert text(report, "121012") == ensemble.DeviceUID == report.DeviceUID
    assert text(report, "121014") == ensemble.Manufacturer == report.Manufacturer
    assert text(report, "121015") == ensemble.ManufacturerModelName == report.ManufacturerModelName
    measurements = next(
        item
        for item in report.ContentSequence
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    equipment = {item.ManufacturerModelName: item for item in processing(report)}
    *evaluated, volumes, densities = measurements.ContentSequence
    assert {text(group, "111001") for group in evaluated} == {ensemble.ManufacturerModelName}
    assert {text(group, "111001") for group in (volumes, densities)} == {"densitometry"}
    for group in measurements.ContentSequence:
        device = equipment[text(group, "111001")]
        assert text(group, "111003") == device.SoftwareVersions
        assert text(group, "122405") == device.Manufacturer


def test_the_scanner_is_the_acquisition_equipment_and_no_library_is_named(
    objects: list[ReportObject],
) -> None:
    for item in objects:
        first, *others = item.dataset.ContributingEquipmentSequence
        assert first.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert (first.Manufacturer, first.ManufacturerModelName) == ("Scanner works", "Model 1")
        assert len(others) == 5
        assert not any("highdicom" in str(one.Manufacturer).lower() for one in others)


def test_device_uids_belong_to_the_installation_and_outlive_a_version(
    headers: list[Dataset], result: StudyResult, context: ReportContext, objects: list[ReportObject]
) -> None:
    def uids(changed: StudyResult, where: ReportContext) -> list[str]:
        report = build_objects(changed, headers, key_slices(changed), where)[0].dataset
        return [item.DeviceUID for item in processing(report)]

    newer = replace(
        result, key="bb", algorithms=tuple(replace(item, version="9") for item in result.algorithms)
    )
    assert uids(newer, context) == [item.DeviceUID for item in processing(objects[0].dataset)]
    assert not set(uids(result, replace(context, installation_uid="1.2.3"))) & set(uids(result, context))


def test_what_computed_is_in_the_report_and_in_words_in_every_object(
    headers: list[Dataset], result: StudyResult, context: ReportContext
) -> None:
    runtime = Runtime("0.1.0", "2.13.0", "cuda:0", "float16", "A card with a name", "13.0", "580.65.06")
    computed = replace(
        result,
        runtime=runtime,
        bundle=replace(result.bundle, calibration="platt 0123456789ab"),
        algorithms=(),
    )
    objects = build_objects(computed, headers, key_slices(computed), context)
    report = objects[0].dataset
    measurements = next(
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    study = measurements.ContentSequence[0]
    parameters = {
        item.TextValue
        for item in study.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "111002"
    }
    assert parameters == {
        "operating_point=0.5",
        "bundle=demo 1.0.0",
        f"bundle_digest={'ab' * 32}",
        "calibration=platt 0123456789ab",
        "device=cuda:0",
        "device_name=A card with a name",
        "precision=float16",
        "torch_version=2.13.0",
        "cuda_version=13.0",
        "driver_version=580.65.06",
    }
    told = (
        f"Computed by dicom-node 0.1.0 with bundle demo 1.0.0 (digest {'ab' * 32},"
        " calibration platt 0123456789ab) on A card with a name (cuda:0) in float16;"
        " torch 2.13.0, CUDA 13.0, driver 580.65.06."
    )
    assert [item.kind for item in objects] == ["sr", "sc", "sc", "sc"]  # two slices and a summary
    for item in objects:
        assert processing(item.dataset)[0].ContributionDescription == told
    words = next(
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "C0034375"
    )
    assert told in [item.get("TextValue") for item in words.ContentSequence]


def test_a_processor_has_neither_cuda_nor_driver(objects: list[ReportObject]) -> None:
    (told,) = {processing(item.dataset)[0].ContributionDescription for item in objects}
    assert told.endswith("on cpu in float32; torch 2.13.0.")


def test_a_result_that_names_no_ensemble_still_has_one(
    headers: list[Dataset], result: StudyResult, context: ReportContext
) -> None:
    alone = replace(result, algorithms=result.algorithms[1:2])
    report = build_objects(alone, headers, key_slices(alone), context)[0].dataset
    assert [item.ManufacturerModelName for item in processing(report)] == ["dicom-node", "ctclip"]
