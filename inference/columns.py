"""Member scores as the named columns that fusion models and findings refer to.

`<member>_<label>` for every score, `densitometry_<name>` for every measurement of the lungs; the mean,
maximum and mean of the three highest of each labelling member; and statistics over groups of CT-CLIP's
labels. All but the measurements have the names that the original ensemble trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

CTCLIP, SUPERVISED, DIFFUSION, DENSITOMETRY = "ctclip", "supervised", "diffusion", "densitometry"
LABELLING = (SUPERVISED, CTCLIP)

HIGH_PROBABILITY = 0.5  # of `count_high`

_SUMMARIES = ("mean_probability", "max_probability", "top3_mean")

MemberScores = Mapping[str, Mapping[str, float]]
"""`{member: {name: value}}`"""


class UnknownLabelError(Exception):
    """A group names a label that the CT-CLIP member does not have."""


def score_columns(
    scores: MemberScores, groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, float]:
    """Every column that the members' scores give.

    Parameters
    ----------
    scores
        Probabilities 0 to 1 of `supervised` and `ctclip` by label, the features of `diffusion` and the values
        of `densitometry` by name.
    groups
        CT-CLIP labels by group.

    Raises
    ------
    UnknownLabelError
        If a group names a label that has no score.
    """
    columns = {f"{member}_{name}": value for member in scores for name, value in scores[member].items()}
    for member in LABELLING:
        if scores.get(member):
            columns |= {f"{member}_{name}": value for name, value in _summary(list(scores[member].values()))}
    for group, labels in (groups or {}).items():
        known = scores.get(CTCLIP, {})
        unknown = [label for label in labels if label not in known]
        if unknown:
            raise UnknownLabelError(f"group {group} names labels that have no score: {', '.join(unknown)}")
        columns |= _group(f"{CTCLIP}_group_{group}", [known[label] for label in labels])
    return columns


def column_names(
    scores: Mapping[str, Iterable[str]], groups: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Names of the columns that members with these scores give; errors as `score_columns`."""
    no_scores = {member: dict.fromkeys(names, 0.0) for member, names in scores.items()}
    return tuple(score_columns(no_scores, groups))


def mean_max_std(values: Sequence[float], suffix: str = "") -> dict[str, float]:
    """Mean, maximum and population standard deviation over slices."""
    array = np.asarray(values, dtype=np.float64)
    return {
        f"mean{suffix}": float(array.mean()),
        f"max{suffix}": float(array.max()),
        f"std{suffix}": float(array.std()),
    }


def original_argmax(columns: Mapping[str, float]) -> str | None:
    """The label of the highest single CT-CLIP column, as the original ensemble names the top pathology."""
    derived = (f"{CTCLIP}_group_", *(f"{CTCLIP}_{name}" for name in _SUMMARIES))
    single = {
        name.removeprefix(f"{CTCLIP}_"): value
        for name, value in columns.items()
        if name.startswith(f"{CTCLIP}_") and not name.startswith(derived)
    }
    return max(single, key=single.__getitem__) if single else None


def _summary(values: Sequence[float]) -> list[tuple[str, float]]:
    highest = sorted(values, reverse=True)
    figures = (float(np.mean(values)), highest[0], float(np.mean(highest[:3])))
    return list(zip(_SUMMARIES, figures, strict=True))


def _group(prefix: str, values: Sequence[float]) -> dict[str, float]:
    array = np.asarray(values, dtype=np.float64)
    return {
        f"{prefix}_max": float(array.max()),
        f"{prefix}_mean": float(array.mean()),
        f"{prefix}_count_high": float((array > HIGH_PROBABILITY).sum()),
        f"{prefix}_std": float(array.std()) if len(array) > 1 else 0.0,
    }
