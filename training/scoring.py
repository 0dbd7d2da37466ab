"""Member scores of rendered cases through the real ensemble, cached beside the cases."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.columns import score_columns
from inference.members import Ensemble
from models.bundle import Bundle
from models.manifest import FindingSpec, Members
from phantom.cases import Case
from training.dataset import Thoraces

log = logging.getLogger(__name__)

Columns = dict[str, float]
Scores = dict[str, dict[str, float]]


def scored(bundle: Bundle, data: Thoraces, folder: Path) -> list[Columns]:
    """The named columns of every case, in order.

    `folder` keeps each member's scores under the digest of its weights: a killed run goes on where it
    stopped, and new weights of one member cost no scores of another.
    """
    members = bundle.manifest.members
    parts = [
        _part(
            bundle,
            Members(ctclip=members.ctclip, supervised=members.supervised),
            data,
            folder / "labels.json",
        ),
        _part(bundle, Members(diffusion=members.diffusion), data, folder / "diffusion.json"),
    ]
    return [score_columns({**labels, **diffusion}) for labels, diffusion in zip(*parts, strict=True)]


def _part(bundle: Bundle, members: Members, data: Thoraces, path: Path) -> list[Scores]:
    """The scores of some of the members, by member and name, a case each."""
    ensemble = Ensemble(replace(bundle, manifest=replace(bundle.manifest, members=members)))
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made_with = _identity(bundle, members)
    if kept.get("made_with") != made_with:
        kept = {"made_with": made_with, "scores": {}}
    scores: dict[str, Scores] = kept["scores"]
    path.parent.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(data.cases):
        if str(case.seed) in scores:
            continue
        volume = data.volume(index)
        # The reconstruction's noise comes from the planes' names, as it comes from the images' UIDs of a
        # study.
        scores[str(case.seed)] = ensemble.read(volume, plane_names(case, len(volume))).scores
        if index % 20 == 19 or index == len(data) - 1:
            log.info("%s: %d of %d", "/".join(path.parts[-2:]), index + 1, len(data))
            path.write_text(json.dumps(kept), encoding="utf-8")
    return [scores[str(case.seed)] for case in data.cases]


def plane_names(case: Case, planes: int) -> list[str]:
    """A lasting name for every plane of a case."""
    return [f"{case.seed}/{plane}" for plane in range(planes)]


def _identity(bundle: Bundle, members: Members) -> str:
    """The members' tables and the digests of their files."""
    manifest = bundle.manifest
    files = replace(manifest, members=members, fusion=None).named_files()
    if members.diffusion is not None:
        files = tuple(file for file in files if all(file != tower.file for tower in manifest.towers.values()))
    return f"{members} {[manifest.files[file].sha256 for file in files]}"


def finding_probabilities(rows: list[Columns], finding: FindingSpec) -> npt.NDArray[np.float64]:
    """Probabilities (cases,) of one finding: the mean of its columns, as inference takes it."""
    return np.array([np.mean([row[column] for column in finding.columns]) for row in rows])


def abnormal(data: Thoraces) -> npt.NDArray[np.bool_]:
    """(cases,): whether there is any finding."""
    anything: npt.NDArray[np.bool_] = data.labels.max(axis=1) > 0
    return anything
