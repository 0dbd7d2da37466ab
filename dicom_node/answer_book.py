"""What lists of studies show of each answer, without opening result after result; in the ledger."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.ledger_tables import AnswerRow, WorkRow
from inference.study_result import StudyResult, Verdict


@dataclass(frozen=True)
class AnswerRecord:
    """An answer in short.

    `probability` and `operating_point` (0 to 1) and `verdict` are the study's. `finding` is the present
    finding that the study is called by ("" without one), `finding_probability` its own probability, `others`
    how many more are present.
    """

    key: str
    probability: float
    operating_point: float
    verdict: Verdict
    finding: str
    finding_probability: float | None
    others: int
    demonstration: bool


def answer_record(result: StudyResult) -> AnswerRecord:
    """The answer of a stored result in short."""
    present = sorted((item for item in result.findings if item.present), key=lambda item: item.danger)
    named = next((item for item in present if item.name == result.most_dangerous), None)
    shown = named or (present[-1] if present else None)
    return AnswerRecord(
        key=result.key,
        probability=result.probability,
        operating_point=result.operating_point,
        # Results of versions before the verdict have the decision only.
        verdict=result.verdict or ("pathological" if result.decision else "normal"),
        finding=shown.name if shown is not None else "",
        finding_probability=shown.probability if shown is not None else None,
        others=max(len(present) - 1, 0),
        demonstration=result.bundle.demonstration,
    )


class AnswerBook:
    """One row for each key that has an answer."""

    def __init__(self, session: sessionmaker[Session]) -> None:
        self._session = session

    def note(self, result: StudyResult) -> None:
        """Enter an answer; entered again, it is the same."""
        with self._session.begin() as session:
            session.merge(AnswerRow(**asdict(answer_record(result))))

    def missing(self) -> list[str]:
        """Keys of reported work whose answer an earlier version did not enter."""
        query = select(WorkRow.key).where(
            WorkRow.state == "reported", WorkRow.key.not_in(select(AnswerRow.key))
        )
        with self._session() as session:
            return list(session.scalars(query))


def record_of(row: AnswerRow) -> AnswerRecord:
    """A row of the answers."""
    return AnswerRecord(
        key=row.key,
        probability=row.probability,
        operating_point=row.operating_point,
        verdict=cast("Verdict", row.verdict),
        finding=row.finding,
        finding_probability=row.finding_probability,
        others=row.others,
        demonstration=row.demonstration,
    )
