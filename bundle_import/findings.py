"""The findings that an imported bundle names, and the columns that its members give."""

from __future__ import annotations

from collections.abc import Iterable

from bundle_import.prompt_lists import Label, LabelList
from inference.columns import CTCLIP, DIFFUSION, SUPERVISED, column_names
from inference.slice_member import feature_names
from models.manifest import DiffusionSpec, FindingSpec

OPERATING_POINT = 0.5
"""Of every finding: nothing is known of better ones before they are measured on a site's own cases."""

ABNORMAL_SLICE = FindingSpec(
    "Abnormal slice", (f"{DIFFUSION}_classifier_max_probability",), OPERATING_POINT, severity=1, umbrella=True
)
"""What the slice classifier alone can say, in a bundle without a member that has labels."""


def finding_specs(ctclip: LabelList | None, supervised: LabelList | None) -> tuple[FindingSpec, ...]:
    """One finding for each label; a label of both members is one finding, the mean of two columns.

    "Pleural effusion" and "pleural_effusion" are the same label.
    """
    merged: dict[str, tuple[Label, list[str]]] = {}
    for member, labels in ((CTCLIP, ctclip), (SUPERVISED, supervised)):
        for label in labels.labels if labels is not None else ():
            _, columns = merged.setdefault(_same(label.name), (label, []))
            columns.append(f"{member}_{label.name}")
    specs = [
        FindingSpec(label.name, tuple(columns), OPERATING_POINT, label.severity, label.umbrella)
        for label, columns in merged.values()
    ]
    return tuple(specs) or (ABNORMAL_SLICE,)


def given_columns(
    ctclip: LabelList | None, supervised: LabelList | None, diffusion: DiffusionSpec | None
) -> tuple[str, ...]:
    """Names of all columns that a bundle with these members gives to its fusion model."""
    scores: dict[str, Iterable[str]] = {}
    if supervised is not None:
        scores[SUPERVISED] = supervised.names
    if ctclip is not None:
        scores[CTCLIP] = ctclip.names
    if diffusion is not None:
        scores[DIFFUSION] = feature_names(reconstructs=diffusion.reconstructs)
    return column_names(scores, {} if ctclip is None else ctclip.groups)


def _same(label: str) -> str:
    return label.replace("_", " ").casefold()
