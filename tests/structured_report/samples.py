"""Results and source headers for the reports' tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from inference.study_result import (
    Algorithm,
    BundleIdentity,
    Contribution,
    Finding,
    Measurement,
    Runtime,
    SaliencyRegion,
    SeriesDecision,
    SliceReference,
    StudyResult,
)
from structured_report import KeySliceImages

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES_UID = "1.2.826.0.1.3680043.8.498.2"
SLICES = 24
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def ct_headers(count: int = SLICES, *, columns: int = 512, rows: int = 512) -> list[Dataset]:
    """Headers of an axial series, feet to head, as a scanner writes them."""
    headers = []
    for index in range(count):
        header = Dataset()
        header.SpecificCharacterSet = "ISO_IR 100"
        header.SOPClassUID = CT_IMAGE_STORAGE
        header.SOPInstanceUID = f"{SERIES_UID}.{index + 1}"
        header.StudyInstanceUID, header.SeriesInstanceUID = STUDY_UID, SERIES_UID
        header.PatientName, header.PatientID = "Müller^Jürgen", "ID-17"
        header.PatientBirthDate, header.PatientSex = "19600229", "M"
        header.StudyDate, header.StudyTime, header.StudyID = "20260301", "101500", "S1"
        header.AccessionNumber, header.ReferringPhysicianName = "A-4711", "Große^Anna"
        header.Manufacturer, header.ManufacturerModelName = "Scanner works", "Model 1"
        header.Modality = "CT"
        header.Rows, header.Columns = rows, columns
        header.PixelSpacing, header.SliceThickness = [0.7, 0.7], 5.0
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [-179.2, -179.2, -300.0 + 5.0 * index]
        header.FrameOfReferenceUID = f"{STUDY_UID}.9"
        header.InstanceNumber = count - index
        headers.append(header)
    return headers


def region(at: SliceReference) -> SaliencyRegion:
    """A hexagon around the point of a slice."""
    corners = ((30.0, 0.0), (15.0, 26.5), (-15.0, 26.5), (-30.0, 0.0), (-15.0, -26.5), (15.0, -26.5))
    polygon = [(at.column + 0.5 + x, at.row + 0.5 + y) for x, y in corners]
    return SaliencyRegion(at, (*polygon, polygon[0]), 0.0832, 0.025)


def study_result(headers: list[Dataset], *, frame_number: int | None = None) -> StudyResult:
    """A result about `headers`: a located and an unlocated finding present, two absent, quantities."""

    def at(index: int, row: float, column: float) -> SliceReference:
        uid = headers[min(index, len(headers) - 1)].SOPInstanceUID
        return SliceReference(index, uid, frame_number, row, column)

    nodule, effusion = at(min(10, len(headers) - 1), 200.0, 150.0), at(min(4, len(headers) - 1), 330.0, 380.0)
    findings = (
        Finding("Cardiomegaly", 0.125, 0.5, False, 2, {"supervised": 0.125}),
        Finding(
            "Lung nodule",
            0.8734,
            0.5,
            True,
            3,
            {"ctclip": 0.8, "supervised": 0.8734},
            laterality="right",
            best_slice=nodule,
            region=region(nodule),
        ),
        Finding("Emphysema", 0.31, 0.4, False, 1, {"supervised": 0.31}, None, nodule),
        Finding("Pleural effusion", 0.91, 0.6, True, 2, {"supervised": 0.91}, "left", effusion),
    )
    return StudyResult(
        key="3f" * 32,
        study_uid=str(headers[0].StudyInstanceUID),
        series_uid=str(headers[0].SeriesInstanceUID),
        probability=0.9625,
        operating_point=0.5,
        decision=1,
        most_dangerous="Lung nodule",
        findings=findings,
        measurements=(
            Measurement("Lung volume", 4210.5, "mL", "Volume of the lung, vessels included."),
            Measurement(
                "Mean lung density", -843.2, "[hnsf'U]", "Mean of all voxels of both lungs (Source)."
            ),
        ),
        contributions=(
            Contribution("supervised_Lung nodule", 0.8734, 2.5),
            Contribution("ctclip_Emphysema", 0.2, -0.7),
        ),
        member_scores={"supervised": {"Lung nodule": 0.8734}},
        key_slices=(nodule, effusion),
        image_sop_instance_uids=tuple(dict.fromkeys(str(header.SOPInstanceUID) for header in headers)),
        series=(SeriesDecision(str(headers[0].SeriesInstanceUID), len(headers), True, "chosen", "Chosen."),),
        warnings=("One missing slice was interpolated.",),
        bundle=BundleIdentity("demo", "1.0.0", "ab" * 32, True, "Apache-2.0", "Shows the way of a study."),
        algorithms=(
            Algorithm("node", "0.1.0", {"precision": "float32"}),
            Algorithm("ctclip", "1.0.0", {}),
            Algorithm("supervised", "1.0.0", {}),
            Algorithm("densitometry", "0.1.0", {}),
            Algorithm("fusion", "1.0.0", {"trees": "40"}),
        ),
        runtime=Runtime("0.1.0", "2.13.0", "cpu", "float32"),
        analysed_at="2026-03-01T09:30:15.250000+00:00",
        seconds={"read": 1.0},
    )


def result_of_many(headers: list[Dataset], names: Sequence[str]) -> StudyResult:
    """A result of a big bundle: a finding for each name, every fifth present, the first an umbrella."""
    base = study_result(headers)
    findings = tuple(
        Finding(
            name,
            probability=0.95 - 0.01 * index if index % 5 == 0 else 0.005 * index,
            operating_point=0.45,
            present=index % 5 == 0 and 0.95 - 0.01 * index >= 0.45,
            severity=99 if index == 0 else index % 7,
            member_scores={"ctclip": 0.5},
            best_slice=base.key_slices[index % 2],
            umbrella=index == 0,
        )
        for index, name in enumerate(names)
    )
    return replace(base, findings=findings, most_dangerous=names[5])


def located(result: StudyResult, half: float = 30.0) -> StudyResult:
    """The result with a square region around the point of every present finding's best slice."""

    def region(at: SliceReference) -> SaliencyRegion:
        left, top = at.column + 0.5 - half, at.row + 0.5 - half
        right, bottom = left + 2 * half, top + 2 * half
        square = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        return SaliencyRegion(at, square, peak=0.5, threshold=0.1)

    findings = tuple(
        replace(finding, region=region(finding.best_slice))
        if finding.present and finding.best_slice is not None
        else finding
        for finding in result.findings
    )
    return replace(result, findings=findings)


def read_headers(folder: Path, limit: int | None = None) -> list[Dataset]:
    """Headers of the files of a folder in ascending position."""
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".dcm")
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    datasets.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    return datasets[:limit]


def key_slices(result: StudyResult, *, rows: int = 512, columns: int = 512) -> KeySliceImages:
    """Air with a bright voxel at each key slice's point."""
    images: dict[int, NDArray[np.int16]] = {}
    for reference in result.key_slices:
        image = np.full((rows, columns), -1000, dtype=np.int16)
        image[int(reference.row), int(reference.column)] = 1000
        images[reference.index] = image
    return KeySliceImages(images, (0.7, 0.7))
