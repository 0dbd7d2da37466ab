"""Attention to the samples' findings, and every object about them."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from inference.study_result import StudyResult
from structured_report import ReportContext
from structured_report.attention import Attention
from structured_report.object_header import ReportBasis, report_basis
from structured_report.source import read_source


def basis(result: StudyResult, headers: list[Dataset], context: ReportContext) -> ReportBasis:
    return report_basis(result, read_source(result, headers), context)


def attention(result: StudyResult, rows: int = 512, columns: int = 512) -> list[Attention]:
    """A square of 40 pixels on the best slice of every present finding, and a grid of 15 mm places."""
    found = []
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 15], [0, 15, 0], [15, 0, 0]])
    affine[:3, 3] = -170, -170, -300
    for number, finding in enumerate(result.findings):
        at = finding.best_slice
        if not finding.present or at is None:
            continue
        mask = np.zeros((rows, columns), dtype=bool)
        top, left = max(0, int(at.row) - 20), max(0, int(at.column) - 20)
        mask[top : top + 40, left : left + 40] = True
        values = np.zeros((8, 24, 24), np.float32)
        values[3, 5, 6 + number] = 0.75
        masks = {(at.sop_instance_uid, at.frame_number): mask}
        found.append(Attention(finding.name, masks, values, affine))
    return found
