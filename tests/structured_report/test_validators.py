"""What others' validators say of reports: about real series, many synthetic ones, and the templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from inference.study_result import Finding, ProbabilityBand, SliceReference, StudyResult
from phantom.cases import DEMO_SEEDS, draw_case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from structured_report import ReportContext, refusal_objects
from structured_report.codes import finding_codes
from tests.structured_report import pixelmed
from tests.structured_report.content import built
from tests.structured_report.samples import ct_headers, region, study_result
from tests.structured_report.test_refused_study import REFUSED

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
}
SYNTHETIC = 50
ILLEGAL_UID = "9.99.999.9999"


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


def test_pixelmed_finds_nothing_in_the_templates_but_what_is_explained(
    context: ReportContext, tmp_path: Path
) -> None:
    """Of an answer with one region and of a refused study; test_objects_of_runs has answers with several."""
    headers = ct_headers(4)
    (notice,) = refusal_objects(REFUSED, ct_headers(6), context, kinds=("sr",))
    paths = [tmp_path / "answer.dcm", tmp_path / "notice.dcm"]
    for path, item in zip(paths, (built(study_result(headers), headers, context), notice), strict=True):
        path.write_bytes(item.to_bytes())
    of_answer, of_notice = pixelmed.said_of(paths)
    assert pixelmed.unexplained(of_answer) == pixelmed.unexplained(of_notice) == []
    # What nothing says any more is to be taken off the list.
    assert pixelmed.explained_by(of_answer) == {*pixelmed.ONE_REGION, *pixelmed.ANSWER}
    assert pixelmed.explained_by(of_notice) == set(pixelmed.REFUSAL)
