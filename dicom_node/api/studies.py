"""`GET /studies`, `GET /studies/{uid}`: what became of every study; `POST /intake/stable-study`: a hint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from dicom_node.answer import notice
from dicom_node.api.errors import ApiError
from dicom_node.ledger_records import WorkRecord
from dicom_node.node import Node


class StableStudy(BaseModel):
    """What the plug-in sends: Orthanc's identifier of a study, five groups of eight hexadecimal digits."""

    model_config = ConfigDict(extra="forbid")

    orthanc_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{8}){4}$")]


def studies_router(node: Node) -> APIRouter:
    """The ledger as JSON, over a running node."""
    router = APIRouter(tags=["studies"])

    @router.get("/studies")
    def studies(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """The newest work first."""
        return {"studies": [study_summary(record) for record in node.ledger.recent(limit)]}

    @router.get("/studies/{study_uid}")
    def study(study_uid: str) -> dict[str, Any]:
        """The newest work on a study in full, and the keys of earlier work on it."""
        records = node.ledger.recent(study_uid=study_uid)
        if not records:
            raise ApiError(404, "not_found", "The node knows no such study.")
        newest, *earlier = records
        return {
            **study_summary(newest),
            "series": [asdict(decision) for decision in node.ledger.plan(newest.key).decisions],
            "result": _result(node, newest),
            "objects": [item.sop_instance_uid for item in node.ledger.objects.of(newest.key)],
            "feedback": [asdict(item) for item in node.ledger.feedback.of(study_uid)],
            "earlier": [record.key for record in earlier],
        }

    @router.post("/intake/stable-study", status_code=202)
    def stable_study(hint: StableStudy) -> dict[str, str]:
        """A study may be complete; the node looks at it when it gets to it."""
        node.hint(hint.orthanc_id)
        return {"status": "accepted"}

    return router


def study_summary(record: WorkRecord) -> dict[str, Any]:
    """One key of work; times are UTC (ISO 8601), `seconds` those of each stage that is over."""
    return {
        "key": record.key,
        "study_uid": record.study_uid,
        "series_uid": record.series_uid,
        "source": record.source,
        "state": record.state,
        "code": record.code,
        "sentence": record.sentence,
        "remedy": record.remedy,
        "error": record.error,
        "failures": record.failures,
        "next_attempt_at": record.next_attempt_at,
        "attempt": record.attempt,
        "predecessor": record.predecessor,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "seconds": record.seconds,
        "deliveries": [asdict(delivery) for delivery in record.deliveries],
    }


def _result(node: Node, record: WorkRecord) -> dict[str, Any] | None:
    """The answer in short, None where there is none yet."""
    if record.state != "reported":
        return None
    result = node.result(record.key)
    return {
        "notice": notice(result),
        "probability": result.probability,
        "decision": result.decision,
        "most_dangerous": result.most_dangerous,
        "findings": [
            {"name": finding.name, "probability": finding.probability, "present": finding.present}
            for finding in result.findings
        ],
        "warnings": list(result.warnings),
        "bundle": asdict(result.bundle),
    }
