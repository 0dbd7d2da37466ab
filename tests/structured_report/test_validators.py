"""What others' validators say of reports: about real series, many synthetic ones, and the templates."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from inference.analyse import Analyser
from inference.dicom_files import files_below, read_headers
from inference.series import choose_series
from inference.study_result import Finding, ProbabilityBand, SliceReference, StudyResult
from phantom.cases import DEMO_SEEDS, HELD_OUT_SEEDS, Case, draw_case
from phantom.grid import centred_grid
from phantom.render import acquisition_grid
from phantom.studies import chest_study
from structured_report import KeySliceImages, ReportContext, build_objects
from structured_report.codes import finding_codes
from tests.conftest import PROJECT
from tests.structured_report.content import COMMENT, REGION, WORDS, built, children, group_of, written
from tests.structured_report.samples import ct_headers, region, study_result

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
}
DEMO = PROJECT / "best_models" / "demo"
SYNTHETIC = 50
ILLEGAL_UID = "9.99.999.9999"

PIXELMED = (
    "java",
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathTotalOpLimit=0",
    "-Djdk.xml.xpathExprGrpLimit=0",
    *("-cp", "/usr/share/java/pixelmed.jar", "com.pixelmed.validate.DicomSRValidator"),
)
PLANAR = r"Error: Template 1410 PlanarROIMeasurements/.*/\[Row {}\] {} .*: Missing conditional content item"
ALLOWED = {
    PLANAR.format(5, "SCOORD"): (
        "every measurement group is also tried as TID 1410, by whose condition a group without a segmentation"
        " needs a region; an unlocated finding is a TID 1501 group and has none"
    ),
    PLANAR.format(7, "IMAGE"): (
        "the other half of the same condition: a group without a region needs a segmentation frame"
    ),
    r'Warning: .*/TEXT \(122405,DCM,"Algorithm Manufacturer"\): Content Item not in template': (
        "TID 4019 row 2b is younger than this validator (2022)"
    ),
    r'Warning: .*/CODE \(705057003,SCT,"Presence"\): Content Item not in template': (
        "TID 1501 row 11 leaves the concept to whoever invokes it ($QualType), and TID 1500 does not bind it"
    ),
    r"Warning: .*/CODE \(most-dangerous,99DICOMNODE,.*\): Content Item not in template": (
        "TID 1501 row 11, as above"
    ),
    r'Warning: .*/TEXT \(121106,DCM,"Comment"\): Content Item not in template': (
        "TID 1501 row 12, as above, and TID 1500 row 14"
    ),
}


@pytest.fixture
def context() -> ReportContext:
    return ReportContext(installation_uid="1.2.826.0.1.3680043.8.498.99", timezone="Europe/Moscow")


def series_below(folder: Path) -> dict[str, list[Dataset]]:
    """Headers of every CT series below a folder, by series and what its images have in common."""
    found: dict[str, list[Dataset]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError, AttributeError, NotImplementedError, RecursionError):
            continue
        if header.get("SOPClassUID") in CT_CLASSES and header.get("SeriesInstanceUID"):
            key = f"{path.parent.relative_to(folder)} {header.SeriesInstanceUID} {header.SOPClassUID}"
            instances = found.setdefault(key, [])
            if all(header.SOPInstanceUID != other.SOPInstanceUID for other in instances):
                instances.append(header)
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_error_about_any_series_of_the_test_data(
    ct_data: Path, context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    errors: dict[str, list[str]] = {}
    series = series_below(ct_data)
    assert {"nlst-toshiba", "kernel-a", "kernel-b", "gantry-tilt-ge", "enhanced-ct", "malformed"} <= {
        Path(key.split(" ")[0]).name for key in series
    }
    for key, headers in series.items():
        frames = 1 if "NumberOfFrames" in headers[0] else None
        item = built(study_result(headers, frame_number=frames), headers, context)
        errors[key] = iod_errors(item.to_bytes())
        assert str(item.dataset.PatientName or "") == str(headers[0].get("PatientName") or "")
    assert len(errors) >= 20
    wrong = {key: found for key, found in errors.items() if found}
    # One file carries UIDs under a root that does not exist: a report must stay in its study all the same.
    (uids,) = (wrong.pop(key) for key in list(wrong) if ILLEGAL_UID in key)
    assert all(f"Illegal root for UID = <{ILLEGAL_UID}>" in error for error in uids)
    assert wrong == {}


def drawn_result(headers: list[Dataset], seed: int) -> StudyResult:
    """A result with findings, regions, sides, verdict and a decision drawn at random."""
    rng = np.random.default_rng(seed)
    findings = []
    for name in rng.choice(list(finding_codes()), size=int(rng.integers(1, 9)), replace=False):
        at = int(rng.integers(len(headers)))
        best = SliceReference(at, headers[at].SOPInstanceUID, None, *rng.uniform(4, 12, size=2).tolist())
        present, located = bool(rng.random() < 0.4), bool(rng.random() < 0.6)
        findings.append(
            Finding(
                str(name),
                probability=float(rng.uniform(0.5, 1) if present else rng.uniform(0, 0.5)),
                operating_point=0.5,
                present=present,
                severity=int(rng.integers(10)),
                member_scores={"ctclip": float(rng.random())},
                laterality=(None, "left", "right", "bilateral")[int(rng.integers(4))],  # type: ignore[arg-type]
                best_slice=best if rng.random() < 0.9 else None,
                region=region(best) if present and located else None,
            )
        )
    present_names = [item.name for item in findings if item.present]
    base = replace(study_result(headers), findings=tuple(findings), probability=float(rng.random()))
    if seed % 5 == 0:
        return replace(base, verdict="indeterminate", indeterminate=ProbabilityBand(0.2, 0.6), decision=0)
    return replace(
        base,
        decision=1 if present_names else 0,
        most_dangerous=present_names[0] if present_names else None,
        measurements=base.measurements if seed % 3 else (),
        contributions=base.contributions if seed % 4 else (),
        bundle=replace(base.bundle, demonstration=bool(seed % 2)),
    )


def test_no_error_about_fifty_synthetic_series(
    context: ReportContext, iod_errors: Callable[[bytes], list[str]]
) -> None:
    errors = {}
    for number, seed in enumerate(DEMO_SEEDS[:SYNTHETIC]):
        grid = centred_grid((24.0, 24.0, 24.0), (14, 16, 16))
        headers = list(chest_study(draw_case(seed), grid=grid, salt=str(seed)).datasets())
        language = "ru" if number % 2 else "en"
        item = built(
            drawn_result(headers, number),
            headers,
            replace(context, language=language),  # type: ignore[arg-type]
        )
        errors[seed] = iod_errors(item.to_bytes())
    assert len(errors) == SYNTHETIC
    assert {seed: found for seed, found in errors.items() if found} == {}


def test_no_error_about_what_the_demonstration_says_of_a_synthetic_chest(
    context: ReportContext, iod_errors: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    """A real answer: the effusion and the collapse are found, located, and written into every object."""
    truth = ("Pleural effusion", "Pneumothorax")
    case = Case(HELD_OUT_SEEDS[5], truth)
    full = acquisition_grid(case)
    pixel_mm = 4 * full.spacing_mm[1]
    grid = centred_grid((5.0, pixel_mm, pixel_mm), (full.shape[0] // 2, 128, 128))
    for image in chest_study(case, grid=grid).datasets():
        image.save_as(tmp_path / f"{image.InstanceNumber}.dcm", enforce_file_format=True)
    files = read_headers(files_below(tmp_path))
    choice = choose_series(files.headers)
    analyser = Analyser(DEMO, threads=1)
    study = analyser.prepare(files.series(choice), choice)
    result = analyser.answer(study, key="ab" * 32).result
    assert {finding.name for finding in result.findings if finding.region is not None} >= set(truth)

    spacing_mm = (study.volume.spacing_mm[1], study.volume.spacing_mm[2])
    slices = {item.index: study.volume.slice_hu(item.index) for item in result.key_slices}
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files.series(choice)]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    objects = build_objects(result, headers, KeySliceImages(slices, spacing_mm), context)
    assert len(objects) >= 2
    for item in objects:
        assert iod_errors(item.to_bytes()) == []
    report = written(objects[0])
    for name in truth:
        assert children(group_of(report, name), REGION)
    sentences = [item.TextValue for item in children(children(report, WORDS)[0], COMMENT)]
    assert any(sentence.startswith("No side is told of any finding") for sentence in sentences)


def test_pixelmed_finds_nothing_in_the_templates_but_what_is_explained(
    context: ReportContext, tmp_path: Path
) -> None:
    headers = ct_headers(4)
    path = tmp_path / "report.dcm"
    path.write_bytes(built(study_result(headers), headers, context).to_bytes())
    done = subprocess.run([*PIXELMED, path], capture_output=True, text=True, check=False, timeout=300)
    output = done.stdout + done.stderr
    for expected in (
        "Found Comprehensive3DSR IOD",
        "Found Root Template TID_1500",
        "IOD validation complete",
    ):
        assert expected in output
    said = [line for line in output.splitlines() if line.startswith(("Error", "Warning"))]
    explained = {line: [pattern for pattern in ALLOWED if re.fullmatch(pattern, line)] for line in said}
    assert [line for line, patterns in explained.items() if not patterns] == []
    # What nothing says any more is to be taken off the list.
    assert {pattern for patterns in explained.values() for pattern in patterns} == set(ALLOWED)
