"""What the finished bundle is worth, on held-out cases and on whole acquisitions.

Probabilities of the study are calibrated as the bundle calibrates them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.calibration import calibrated
from inference.columns import score_columns
from inference.encoder_input import encoder_input
from inference.fusion import Fusion
from inference.members import Ensemble
from inference.volume import CTVolume
from models.bundle import load_bundle
from models.manifest import BundleManifest
from phantom.cases import Case
from phantom.render import acquisition_grid, render
from training.calibration import inside
from training.dataset import Thoraces
from training.metrics import auroc, confusion
from training.scoring import Columns, abnormal, finding_probabilities, plane_names


@dataclass(frozen=True)
class CaseAnswer:
    """What the bundle says about one case: the study's calibrated probability and each finding's."""

    seed: int
    truth: tuple[str, ...]
    probability: float
    findings: dict[str, float]


def answers(
    manifest: BundleManifest, fusion: Fusion, cases: tuple[Case, ...], rows: list[Columns]
) -> list[CaseAnswer]:
    """Answers from the members' columns, a case each."""
    findings = {spec.name: finding_probabilities(rows, spec) for spec in manifest.findings}
    return [
        CaseAnswer(
            case.seed,
            case.findings,
            calibrated(fusion.fuse(row).probability, manifest.calibration),
            {name: float(values[index]) for name, values in findings.items()},
        )
        for index, (case, row) in enumerate(zip(cases, rows, strict=True))
    ]


def held_out_report(
    manifest: BundleManifest, fusion: Fusion, data: Thoraces, rows: list[Columns]
) -> dict[str, Any]:
    """Discrimination, and errors at the operating points, JSON types only."""
    said = answers(manifest, fusion, data.cases, rows)
    truth = abnormal(data)
    probabilities = np.array([answer.probability for answer in said])
    report: dict[str, Any] = {
        "cases": len(said),
        "abnormal": int(truth.sum()),
        "pathology": _figures(truth, probabilities, fusion_point(manifest)),
        "indeterminate": _indeterminate(manifest, truth, probabilities),
        "findings": {},
        "members": {
            column: round(auroc(truth, [row[column] for row in rows]), 4)
            for column in (
                "supervised_max_probability",
                "ctclip_max_probability",
                "diffusion_classifier_max_probability",
                "diffusion_classifier_mean_probability",
                "diffusion_reconstruction_max",
            )
        },
    }
    for spec in manifest.findings:
        present = np.array([spec.name in case.findings for case in data.cases])
        values = finding_probabilities(rows, spec)
        report["findings"][spec.name] = _figures(present, values, spec.operating_point) | {
            member: round(auroc(present, [row[f"{member}_{spec.name}"] for row in rows]), 4)
            for member in ("supervised", "ctclip")
        }
    return report


def fusion_point(manifest: BundleManifest) -> float:
    """The operating point of the calibrated probability."""
    if manifest.fusion is None:
        raise ValueError("the bundle has no fusion")
    return manifest.fusion.operating_point


def acquired(case: Case) -> CTVolume:
    """The whole acquisition of a case, 512 x 512 and at least 120 slices, as a reader gives it."""
    grid = acquisition_grid(case)
    voxels = render(case, grid)
    z, y, x = grid.spacing_mm
    affine = np.diag([x, y, z, 1.0])
    affine[:3, 3] = grid.origin_mm
    uids = tuple(f"{case.seed}.{index}" for index in range(len(voxels)))
    return CTVolume(
        voxels_hu=voxels,
        affine=affine,
        spacing_mm=grid.spacing_mm,
        sop_instance_uids=uids,
        frame_numbers=(None,) * len(voxels),
        study_uid=str(case.seed),
        series_uid=str(case.seed),
        warnings=(),
    )


def acquisition_answers(ensemble: Ensemble, fusion: Fusion, cases: tuple[Case, ...]) -> list[CaseAnswer]:
    """Answers on whole acquisitions, by way of the node's own preparation."""
    manifest = ensemble.bundle.manifest
    rows = []
    for case in cases:
        tensor = encoder_input(acquired(case), manifest.input).tensor
        rows.append(score_columns(ensemble.read(tensor, plane_names(case, len(tensor))).scores))
    return answers(manifest, fusion, cases, rows)


def evaluate(folder: Path, data: Thoraces, rows: list[Columns], acquisitions: int) -> dict[str, Any]:
    """The report on a bundle: held-out cases on the encoder's grid, some also as whole acquisitions."""
    bundle = load_bundle(folder)
    manifest, path = bundle.manifest, bundle.fusion_path
    if path is None or manifest.fusion is None:
        raise ValueError("the bundle has no fusion")
    fusion = Fusion(path, manifest.fusion)
    report = held_out_report(manifest, fusion, data, rows)
    cases = _both_kinds(data.cases, acquisitions)
    on_grid = {answer.seed: answer for answer in answers(manifest, fusion, data.cases, rows)}
    whole = acquisition_answers(Ensemble(bundle), fusion, cases)
    pairs = [(on_grid[answer.seed].probability, answer.probability) for answer in whole]
    differences = [abs(a - b) for a, b in pairs]
    point = manifest.fusion.operating_point
    report["acquisitions"] = {
        "cases": len(whole),
        "auroc": round(auroc([bool(answer.truth) for answer in whole], [b for _, b in pairs]), 4),
        "mean_difference": round(float(np.mean(differences)), 4),
        "greatest_difference": round(max(differences), 4),
        "same_decision": sum((a >= point) == (b >= point) for a, b in pairs),
    }
    return report


def _both_kinds(cases: tuple[Case, ...], count: int) -> tuple[Case, ...]:
    """The first cases, half of them normal."""
    normal = [case for case in cases if not case.findings][: count // 2]
    return (*normal, *[case for case in cases if case.findings][: count - len(normal)])


def _indeterminate(
    manifest: BundleManifest, truth: npt.NDArray[np.bool_], probabilities: npt.NDArray[np.float64]
) -> dict[str, int | float] | None:
    """The band, how many cases lie in it, and how many of those outside are called wrongly."""
    band = manifest.indeterminate
    if band is None:
        return None
    within = inside(probabilities, band)
    wrong = (probabilities >= fusion_point(manifest)) != truth
    return {
        "low": round(band.low, 4),
        "high": round(band.high, 4),
        "cases": int(within.sum()),
        "abnormal": int((within & truth).sum()),
        "wrong_outside": int((wrong & ~within).sum()),
    }


def _figures(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], point: float) -> dict[str, float]:
    counted = confusion(truth, scores, point)
    return {
        "auroc": round(auroc(truth, scores), 4),
        "operating_point": round(point, 4),
        "sensitivity": round(counted.sensitivity, 4),
        "specificity": round(counted.specificity, 4),
        **asdict(counted),
    }
