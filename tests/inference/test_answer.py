"""What the rules of a bundle make of the same scores, seen in the result of a volume of noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from inference.analyse import Analyser
from inference.bundle_facts import DEMONSTRATION
from inference.study_result import StudyResult
from models.manifest import FallbackSpec
from tests.inference.conftest import manifest, write_bundle


def nifti_result(folder: Path, tmp_path: Path) -> StudyResult:
    values = np.random.default_rng(0).integers(-1000, 400, (40, 40, 60)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, -2.0, 3.0, 1.0])), tmp_path / "v.nii")
    return Analyser(folder).analyse_nifti(tmp_path / "v.nii", name="v")


def test_without_a_fusion_the_manifests_rule_decides_and_says_so(tmp_path: Path) -> None:
    rule = replace(
        manifest(), fusion=None, fallback=FallbackSpec("highest_finding", 0.4), demonstration=False
    )
    result = nifti_result(write_bundle(tmp_path / "other", rule), tmp_path)
    assert result.probability == max(finding.probability for finding in result.findings)
    assert result.operating_point == 0.4
    assert result.contributions == ()
    assert any("no fusion model" in warning for warning in result.warnings)
    assert DEMONSTRATION not in result.warnings


def test_a_pathological_study_without_a_present_finding_says_which_came_nearest(tmp_path: Path) -> None:
    high = tuple(replace(finding, operating_point=0.999) for finding in manifest().findings)
    rule = replace(manifest(), findings=high, fusion=None, fallback=FallbackSpec("highest_finding", 0.01))
    result = nifti_result(write_bundle(tmp_path / "other", rule), tmp_path)
    assert result.decision == 1
    assert not any(finding.present for finding in result.findings)
    assert result.most_dangerous == max(result.findings, key=lambda finding: finding.probability).name
    assert any("came nearest" in warning for warning in result.warnings)


def test_severity_comes_before_probability(tmp_path: Path) -> None:
    nodule, emphysema = (replace(finding, operating_point=0.01) for finding in manifest().findings)
    low = (nodule, replace(emphysema, severity=9))
    rule = replace(manifest(), findings=low, fusion=None, fallback=FallbackSpec("highest_finding", 0.01))
    result = nifti_result(write_bundle(tmp_path / "other", rule), tmp_path)
    assert all(finding.present for finding in result.findings)
    assert result.most_dangerous == "Emphysema"
    assert result.findings[1].probability < result.findings[0].probability


def test_a_normal_study_names_no_pathology(tmp_path: Path) -> None:
    rule = replace(manifest(), fusion=None, fallback=FallbackSpec("highest_finding", 0.999))
    result = nifti_result(write_bundle(tmp_path / "other", rule), tmp_path)
    assert (result.decision, result.most_dangerous) == (0, None)


def test_redrawn_weights_move_the_saliency(bundle_folder: Path, tmp_path: Path) -> None:
    first = nifti_result(bundle_folder, tmp_path)
    second = nifti_result(write_bundle(tmp_path / "other", manifest(), seed=11), tmp_path)
    assert [item.best_slice for item in first.findings] != [item.best_slice for item in second.findings]
