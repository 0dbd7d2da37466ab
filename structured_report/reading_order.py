"""The order in which findings are told, the same in every object, message and page."""

from __future__ import annotations

from collections.abc import Sequence

from inference.study_result import Finding


def in_reading_order(findings: Sequence[Finding]) -> list[Finding]:
    """Present before absent; the present ones by danger, the absent ones by probability."""
    present = [finding for finding in findings if finding.present]
    absent = [finding for finding in findings if not finding.present]
    return [
        *sorted(present, key=lambda finding: finding.danger, reverse=True),
        *sorted(absent, key=lambda finding: finding.probability, reverse=True),
    ]
