"""What a bundle makes of the networks' scores about one study: findings, fusion, decision, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from inference.bundle_facts import BundleFacts
from inference.columns import DENSITOMETRY, score_columns
from inference.decision import decide
from inference.findings import findings, key_slices, side_warning
from inference.network_reader import NetworkAnswer
from inference.preparation import PreparedStudy
from inference.saliency import SaliencyMap, anomaly_saliency
from inference.study_result import StudyResult


@dataclass(frozen=True)
class Answer:
    """A study's result, the saliency of each finding by name, and the diffusion's anomaly map.

    `anomaly` is None where there is no reconstruction.
    """

    result: StudyResult
    saliency: dict[str, SaliencyMap]
    anomaly: SaliencyMap | None


def study_answer(study: PreparedStudy, networks: NetworkAnswer, facts: BundleFacts, *, key: str) -> Answer:
    """The answer about a study that the networks have read; `key` is the key of work, kept in the result."""
    stages, volume, prepared = study.stages, study.volume, study.encoder_input
    reading, saliency, measured = networks.reading, networks.saliency, study.densitometry
    manifest, fusion = facts.manifest, facts.fusion
    with stages.measure("fusion"):
        densities = {DENSITOMETRY: measured.columns} if measured is not None else {}
        columns = score_columns({**reading.scores, **densities}, facts.groups)
        reliance = manifest.saliency
        found = findings(manifest.findings, columns, saliency, volume, study.lungs, reliance=reliance)
        fused = fusion.fuse(columns) if fusion is not None else None
        decision = decide(manifest, fused, found, columns)
        no_side = side_warning(found, reliance)
    result = StudyResult(
        key=key,
        study_uid=volume.study_uid,
        series_uid=volume.series_uid,
        probability=decision.probability,
        operating_point=decision.operating_point,
        decision=decision.decision,
        verdict=decision.verdict,
        indeterminate=decision.indeterminate,
        calibration=decision.calibration,
        most_dangerous=decision.most_dangerous,
        findings=found,
        measurements=measured.measurements if measured is not None else (),
        contributions=fused.contributions if fused is not None else (),
        member_scores=reading.scores,
        key_slices=key_slices(found, reading, prepared, volume, study.lungs),
        image_sop_instance_uids=tuple(dict.fromkeys(volume.sop_instance_uids)),
        series=study.series,
        warnings=(
            *facts.warnings,
            *study.warnings,
            *reading.warnings,
            *decision.warnings,
            *((no_side,) if no_side is not None else ()),
        ),
        bundle=facts.identity,
        algorithms=facts.algorithms,
        runtime=networks.runtime,
        analysed_at=datetime.now(UTC).isoformat(),
        seconds=stages.seconds,
    )
    anomaly = (
        anomaly_saliency(reading.anomaly, prepared, volume.voxels_hu.shape)
        if reading.anomaly is not None
        else None
    )
    return Answer(result, saliency, anomaly)
