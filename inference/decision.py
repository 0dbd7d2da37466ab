"""From fused probability and findings to what is said of the study: decision, verdict, most dangerous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from inference.calibration import calibrated, calibration_words
from inference.columns import original_argmax
from inference.fusion import FusedScore
from inference.study_result import Calibration, Decision, Finding, ProbabilityBand, Verdict
from models.manifest import BundleManifest, IndeterminateBand


@dataclass(frozen=True)
class StudyDecision:
    """The study-level answer; `warnings` are sentences about how it came to be.

    `probability` (0 to 1) is calibrated, `calibration` holds the raw one; `indeterminate` is the bundle's
    band.
    """

    probability: float
    operating_point: float
    decision: Decision
    verdict: Verdict
    most_dangerous: str | None
    warnings: tuple[str, ...]
    indeterminate: ProbabilityBand | None
    calibration: Calibration


def decide(
    manifest: BundleManifest,
    fused: FusedScore | None,
    found: Sequence[Finding],
    columns: Mapping[str, float],
) -> StudyDecision:
    """What the bundle's rules make of the scores.

    Parameters
    ----------
    fused
        The fusion's answer; None in a bundle without a fusion model, which then has a `[fallback]`.
    found
        The bundle's findings.
    columns
        Every column that the members gave.
    """
    rule = manifest.fusion or manifest.fallback
    if rule is None:  # the manifest's reader does not let this through
        raise ValueError("neither [fusion] nor [fallback] is there")
    # Umbrella labels too: "Pathological finding" is just what is asked of the study. They only never name it.
    highest = max((finding.probability for finding in found), default=0.0)
    raw = fused.probability if fused is not None else highest
    probability = calibrated(raw, manifest.calibration)
    decision: Decision = 1 if probability >= rule.operating_point else 0
    band = manifest.indeterminate
    dangerous, warning = _most_dangerous(manifest, fused, found, columns) if decision else (None, None)
    return StudyDecision(
        probability=probability,
        operating_point=rule.operating_point,
        decision=decision,
        verdict=_verdict(probability, decision, band),
        most_dangerous=dangerous,
        warnings=() if warning is None else (warning,),
        indeterminate=ProbabilityBand(band.low, band.high) if band is not None else None,
        calibration=Calibration(
            raw_probability=raw,
            sentence=calibration_words(manifest.calibration),
            **asdict(manifest.calibration),
        ),
    )


def _verdict(probability: float, decision: Decision, band: IndeterminateBand | None) -> Verdict:
    if band is not None and band.low <= probability <= band.high:
        return "indeterminate"
    return "pathological" if decision else "normal"


def _most_dangerous(
    manifest: BundleManifest,
    fused: FusedScore | None,
    found: Sequence[Finding],
    columns: Mapping[str, float],
) -> tuple[str | None, str | None]:
    """The name by the bundle's rule, and a sentence where the rule could not be kept."""
    if manifest.most_dangerous == "severity":
        return _by_severity(found)
    label = original_argmax(_looked_at(manifest, fused, columns))
    if label is not None:
        return label, None
    name, warning = _by_severity(found)
    reason = "The probability rests on no single CT-CLIP label: severity names the most dangerous pathology."
    return name, f"{reason} {warning}" if warning is not None else reason


def _looked_at(
    manifest: BundleManifest, fused: FusedScore | None, columns: Mapping[str, float]
) -> Mapping[str, float]:
    """The columns that the fusion received, without those that are constants and say nothing of the study."""
    if fused is None or manifest.fusion is None:
        return columns
    constant = manifest.fusion.constant_columns
    return {item.column: item.value for item in fused.contributions if item.column not in constant}


def _by_severity(found: Sequence[Finding]) -> tuple[str | None, str | None]:
    """The present finding of the highest severity, then probability; else the nearest one, and a warning."""
    named = [finding for finding in found if not finding.umbrella]
    present = [finding for finding in named if finding.present]
    if present:
        return max(present, key=lambda finding: finding.danger).name, None
    if not named:
        return None, "The study counts as pathological, and the bundle has no finding to name it by."
    nearest = max(named, key=lambda finding: finding.probability / finding.operating_point)
    umbrellas = ", ".join(finding.name for finding in found if finding.present)
    return nearest.name, (
        "The study counts as pathological, and no finding reaches its own operating point"
        f"{f' besides {umbrellas}, which can be anything' if umbrellas else ''}:"
        f" {nearest.name} came nearest."
    )
