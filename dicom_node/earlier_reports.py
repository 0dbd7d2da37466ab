"""Which earlier report about a study a new one succeeds (PredecessorDocumentsSequence, PS3.3 C.17.2)."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.ledger import Ledger
from dicom_node.ledger_records import ObjectRecord, WorkRecord
from structured_report import PredecessorDocument


def succeeded_by_answer(ledger: Ledger, record: WorkRecord) -> PredecessorDocument | None:
    """The last report about the same study that an answer succeeds.

    A notice that the study was not evaluated is succeeded where no answer came before it; else that answer
    is, which the notice did not replace.
    """
    notice = None
    for work, report in _earlier_reports(ledger, record):
        if work.state != "refused":
            return _document(report)
        notice = notice or report
    return _document(notice) if notice is not None else None


def succeeded_by_notice(ledger: Ledger, record: WorkRecord) -> PredecessorDocument | None:
    """The last notice about the study, which another one succeeds; an answer is never succeeded so."""
    for work, report in _earlier_reports(ledger, record):
        return _document(report) if work.state == "refused" else None
    return None


def _earlier_reports(ledger: Ledger, record: WorkRecord) -> Iterator[tuple[WorkRecord, ObjectRecord]]:
    """The reports about the study before this work, the latest first, each with the work that made it."""
    key = record.predecessor
    while key is not None and (earlier := ledger.work(key)) is not None:
        for item in ledger.objects.of(key):
            if item.kind == "sr":
                yield earlier, item
        key = earlier.predecessor


def _document(report: ObjectRecord) -> PredecessorDocument:
    return PredecessorDocument(
        study_uid=report.study_uid,
        series_uid=report.series_uid,
        sop_instance_uid=report.sop_instance_uid,
        sop_class_uid=report.sop_class_uid,
    )
