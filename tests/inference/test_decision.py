"""What is said of a study: probability, operating point, verdict, and the pathology that it is called by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.decision import StudyDecision, decide
from inference.fusion import FusedScore, Fusion
from inference.study_result import Contribution, Finding
from models.manifest import (
    BundleManifest,
    CalibrationSpec,
    ConstantColumn,
    FallbackSpec,
    FusionSpec,
    IndeterminateBand,
)
from tests.inference.test_fusion import published
from tests.models import small_bundle

COLUMNS = {"ctclip_Lung nodule": 0.6, "ctclip_Emphysema": 0.8, "ctclip_max_probability": 0.99}


def bundle(operating_point: float = 0.5) -> BundleManifest:
    fusion = FusionSpec("fusion.txt", operating_point, tuple(COLUMNS))
    return replace(small_bundle.manifest(), fusion=fusion)


def fused(probability: float, columns: dict[str, float] | None = None) -> FusedScore:
    values = COLUMNS if columns is None else columns
    return FusedScore(probability, tuple(Contribution(name, value, 0.0) for name, value in values.items()))


def finding(
    name: str, probability: float, *, operating_point: float = 0.5, severity: int = 1, umbrella: bool = False
) -> Finding:
    present = probability >= operating_point
    return Finding(name, probability, operating_point, present, severity, {}, umbrella=umbrella)


def decided(
    *found: Finding, manifest: BundleManifest | None = None, probability: float = 0.9
) -> StudyDecision:
    return decide(manifest or bundle(), fused(probability), found, COLUMNS)


@pytest.mark.parametrize(("probability", "decision"), [(0.49, 0), (0.5, 1), (0.51, 1)])
def test_pathology_is_a_probability_at_or_above_the_operating_point(
    probability: float, decision: int
) -> None:
    said = decided(finding("Emphysema", 0.7), probability=probability)
    assert (said.probability, said.decision) == (probability, decision)
    assert said.verdict == ("pathological" if decision else "normal")
    assert said.most_dangerous == ("Emphysema" if decision else None)
    assert said.warnings == ()


@pytest.mark.parametrize(
    ("probability", "decision", "verdict"),
    [
        (0.39, 0, "normal"),
        (0.4, 0, "indeterminate"),
        (0.49, 0, "indeterminate"),
        (0.5, 1, "indeterminate"),
        (0.6, 1, "indeterminate"),
        (0.61, 1, "pathological"),
    ],
)
def test_within_the_band_the_verdict_is_open_and_pathology_stays(
    probability: float, decision: int, verdict: str
) -> None:
    manifest = replace(bundle(), indeterminate=IndeterminateBand(0.4, 0.6))
    said = decided(finding("Emphysema", 0.7), manifest=manifest, probability=probability)
    assert (said.decision, said.verdict) == (decision, verdict)
    assert said.most_dangerous == ("Emphysema" if decision else None)
    assert said.indeterminate is not None
    assert (said.indeterminate.low, said.indeterminate.high) == (0.4, 0.6)


def test_the_calibrated_probability_decides_and_the_raw_one_is_kept() -> None:
    spec = CalibrationSpec("platt", 1.0, -1.0, "Held-out studies", 200, 0.2, 0.15, 0.1, 0.03)
    said = decided(manifest=replace(bundle(), calibration=spec), probability=0.6)
    assert said.probability == pytest.approx(1.5 / (1.5 + np.e))  # odds of 1.5 / e
    assert said.decision == 0
    assert said.calibration.raw_probability == 0.6
    assert (said.calibration.cohort, said.calibration.cohort_size) == ("Held-out studies", 200)
    assert (said.calibration.brier_before, said.calibration.brier_after) == (0.2, 0.15)
    assert "200 cases" in said.calibration.sentence


def test_without_a_fusion_the_highest_finding_is_calibrated_too() -> None:
    manifest = replace(
        bundle(),
        fusion=None,
        fallback=FallbackSpec("highest_finding", 0.5),
        calibration=CalibrationSpec("platt", 1.0, 1.0),
    )
    said = decide(manifest, None, [finding("Emphysema", 0.4), finding("Lung nodule", 0.1)], COLUMNS)
    assert said.calibration.raw_probability == 0.4
    assert said.probability == pytest.approx(2 * np.e / (2 * np.e + 3))  # odds of 2/3 * e
    assert said.decision == 1


def test_severity_comes_first_then_probability() -> None:
    mild, grave, graver = (
        finding("Emphysema", 0.99, severity=1),
        finding("Pneumothorax", 0.6, severity=5),
        finding("Aortic dissection", 0.7, severity=5),
    )
    assert decided(mild, grave).most_dangerous == "Pneumothorax"
    assert decided(mild, grave, graver).most_dangerous == "Aortic dissection"
    below = replace(graver, probability=0.3, present=False, severity=9)
    assert decided(mild, below).most_dangerous == "Emphysema"


def test_an_umbrella_label_never_names_the_study() -> None:
    umbrella = finding("Pathological finding", 0.99, severity=9, umbrella=True)
    said = decided(umbrella, finding("Emphysema", 0.6))
    assert (said.most_dangerous, said.warnings) == ("Emphysema", ())
    absent = finding("Lung nodule", 0.3, severity=4), finding("Emphysema", 0.1, operating_point=0.11)
    said = decided(umbrella, *absent)
    assert said.most_dangerous == "Emphysema"
    (warning,) = said.warnings
    assert "besides Pathological finding" in warning
    assert "Emphysema came nearest" in warning


def test_an_umbrella_label_may_decide_a_study_without_a_fusion() -> None:
    manifest = replace(bundle(), fusion=None, fallback=FallbackSpec("highest_finding", 0.5))
    umbrella = finding("Pathological finding", 0.9, severity=9, umbrella=True)
    said = decide(manifest, None, [umbrella, finding("Emphysema", 0.2)], COLUMNS)
    assert (said.probability, said.decision, said.most_dangerous) == (0.9, 1, "Emphysema")


def test_where_no_finding_is_present_the_nearest_is_named_with_a_warning() -> None:
    near, far = finding("Emphysema", 0.2, operating_point=0.25), finding("Lung nodule", 0.3)
    said = decided(near, far)
    assert said.most_dangerous == "Emphysema"
    assert said.warnings == (
        "The study counts as pathological, and no finding reaches its own operating point:"
        " Emphysema came nearest.",
    )


def test_a_bundle_of_umbrellas_alone_names_nothing_and_says_so() -> None:
    said = decided(finding("Other pathology", 0.9, umbrella=True))
    assert (said.decision, said.most_dangerous) == (1, None)
    assert "no finding to name it by" in said.warnings[0]


def original(manifest: BundleManifest) -> BundleManifest:
    return replace(manifest, most_dangerous="original_argmax")


def test_the_original_rule_takes_the_highest_label_whatever_its_severity() -> None:
    found = finding("Lung nodule", 0.9, severity=9), finding("Emphysema", 0.1)
    said = decided(*found, manifest=original(bundle()))
    assert (said.most_dangerous, said.warnings) == ("Emphysema", ())
    assert decided(*found, manifest=original(bundle()), probability=0.2).most_dangerous is None


def test_the_original_rule_looks_at_what_the_model_received() -> None:
    received = fused(0.9, {"ctclip_Lung nodule": 0.6})
    assert decide(original(bundle()), received, [], COLUMNS).most_dangerous == "Lung nodule"
    without = replace(bundle(), fusion=None, fallback=FallbackSpec("highest_finding", 0.5))
    said = decide(original(without), None, [finding("Lung nodule", 0.6)], COLUMNS)
    assert said.most_dangerous == "Emphysema"


def test_the_original_rule_is_not_won_by_a_constant() -> None:
    manifest = bundle()
    assert manifest.fusion is not None
    constant = {"ctclip_Emphysema": ConstantColumn(0.8, "no such prompt")}
    manifest = replace(manifest, fusion=replace(manifest.fusion, constant_columns=constant))
    assert decided(manifest=original(manifest)).most_dangerous == "Lung nodule"


def test_where_the_model_received_no_label_the_original_rule_gives_way_to_severity() -> None:
    received = fused(0.9, {"ctclip_max_probability": 0.8})
    said = decide(original(bundle()), received, [finding("Emphysema", 0.7)], COLUMNS)
    assert said.most_dangerous == "Emphysema"
    assert "no single CT-CLIP label" in said.warnings[0]


def test_the_published_fusion_names_its_top_pathology(parity: Path) -> None:
    """With names mapped rightly; the reference itself, which zeroed 40 columns, says Atelectasis."""
    rule, columns = published(parity)
    score = Fusion(parity / "features" / "lightgbm_random.txt", rule).fuse(columns)
    said = decide(original(replace(small_bundle.manifest(), fusion=rule)), score, [], columns)
    assert (said.decision, said.most_dangerous) == (1, "Rib fracture")
    assert columns["ctclip_Rib fracture"] == pytest.approx(0.951, abs=1e-3)
    strict = replace(rule, operating_point=0.59)
    said = decide(original(replace(small_bundle.manifest(), fusion=strict)), score, [], columns)
    assert (said.decision, said.most_dangerous) == (0, None)
