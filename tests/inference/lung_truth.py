"""Where the lungs of a synthetic thorax really are: painted by the phantom itself, voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from phantom import findings, lungs
from phantom.cases import Case
from phantom.grid import Grid
from phantom.render import Thorax
from phantom.scene import slabs

_LUNG = 200
_PAINTED_ANEW = (findings.Pneumothorax, findings.Consolidation)  # lung stays lung, its label is wiped out

AERATED = ("Emphysema", "Pneumothorax")  # a threshold takes their gas for lung
SOLID = ("Lung nodule", "Consolidation")


def lung_truth(case: Case, grid: Grid, *, with_findings: tuple[str, ...] = AERATED) -> NDArray[np.bool_]:
    """The lungs with the vessels in them, without airways and mediastinum, boolean [z, y, x].

    `with_findings` names findings whose voxels count as lung.
    """

    with ExitStack() as patches:
        patches.enter_context(patch.object(lungs, "paint_parenchyma", _labelling(lungs.paint_parenchyma)))
        for finding in _PAINTED_ANEW:
            patches.enter_context(patch.object(finding, "paint", _labelling_all(finding.paint)))
        parts = [canvas.labels for canvas in slabs(Thorax(case), grid, labelled=True)]
    labels = np.concatenate([part for part in parts if part is not None])
    wanted = [_LUNG, *(findings.LABELS[name] for name in with_findings)]
    return np.isin(labels, wanted)


def _labelling(paint: Callable[..., None]) -> Callable[..., None]:
    """Painting of one lung that labels it as lung."""

    def painted(field: lungs.LungField, *arguments: Any) -> None:
        paint(field, *arguments)
        _label(field)

    return painted


def _labelling_all(paint: Callable[..., None]) -> Callable[..., None]:
    """Painting of a finding after which what has no other label in the lungs is lung."""

    def painted(finding: Any, fields: list[lungs.LungField], *arguments: Any) -> None:
        paint(finding, fields, *arguments)
        for field in fields:
            _label(field)

    return painted


def _label(field: lungs.LungField) -> None:
    labels = field.canvas.labels
    assert labels is not None
    labels[field.inside & (labels == 0)] = _LUNG


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Twice what both have over the sum of what each has."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())
