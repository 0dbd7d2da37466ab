"""Whole studies as a scanner sends them: thorax, head, phantom; on request localizer and second kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from phantom import identity
from phantom.cases import DEMO_CASES, DEMO_SEEDS, Case
from phantom.dicom import Numbering, Series, Study, series_datasets
from phantom.grid import Grid, centred_grid
from phantom.head import Head, head_grid
from phantom.identity import PatientIdentity, draw_identity
from phantom.quality import QualityPhantom, quality_grid
from phantom.render import acquisition_grid, thorax
from phantom.scene import LUNG, STANDARD, HuArray, Kernel, Scene, scan, slabs

Kind = Literal["chest", "head", "quality_phantom"]

_HEAD_KERNEL = Kernel("H30", soft=True, noise_hu=4.0)
_CHEST_CT = ("169069000", "Computed tomography of chest")
_HEAD_CT = ("303653007", "Computed tomography of head")


@dataclass(frozen=True)
class SyntheticStudy:
    """A study that can be made, image by image, as often as one likes; `truth` names its findings."""

    kind: Kind
    truth: tuple[str, ...]
    study: Study
    scene: Scene
    grid: Grid
    kernels: tuple[Kernel, ...]
    numbering: Numbering = "ascending"
    localizer: bool = False

    def datasets(self) -> Iterator[Dataset]:
        """Every image of the study, in the order of a scanner; made one at a time, none is kept."""
        if self.localizer:
            plane, grid = _localizer(self.scene, self.grid)
            scout = Series(
                1, "Localizer", "SCOUT", image_type="LOCALIZER", orientation=(1, 0, 0, 0, 0, -1), kvp=120
            )
            yield from series_datasets([plane], grid, self.study, scout)
        for number, kernel in enumerate(self.kernels, start=2):
            rng = np.random.default_rng([number, *self.study.key.encode()])
            planes = scan(self.scene, self.grid, kernel, rng)
            step = self.grid.spacing_mm[0]
            series = Series(
                number, f"{self.study.description} {step:g} {kernel.name}", kernel.name, self.numbering
            )
            yield from series_datasets(planes, self.grid, self.study, series)


def chest_study(
    case: Case,
    *,
    patient: PatientIdentity | None = None,
    kernels: tuple[Kernel, ...] = (STANDARD,),
    numbering: Numbering = "ascending",
    localizer: bool = False,
    grid: Grid | None = None,
    salt: str = "",
) -> SyntheticStudy:
    """A chest CT of a case.

    Parameters
    ----------
    patient
        Whose it is; by default an identity drawn from the case's seed.
    kernels
        One series for each.
    grid
        Another grid than `acquisition_grid(case)`, for instance a coarse one for a quick test.
    salt
        Goes into every UID: another salt is another study. Without one the same case has the same UIDs.
    """
    anatomy = thorax(case)
    if patient is None:
        patient = draw_identity(case.seed, female=anatomy.habitus.female)
    key = "/".join(("chest", str(case.seed), *case.findings, salt))
    study = Study(key, patient, _start(case.seed), "CT Chest", "CHEST", _CHEST_CT, anatomy.habitus.contrast)
    where = acquisition_grid(case) if grid is None else grid
    return SyntheticStudy("chest", case.findings, study, anatomy, where, kernels, numbering, localizer)


def head_study(seed: int, *, grid: Grid | None = None, salt: str = "") -> SyntheticStudy:
    """A CT of a head, which has no lungs."""
    patient = draw_identity(seed, female=seed % 2 == 0)
    study = Study(f"head/{seed}/{salt}", patient, _start(seed), "CT Head", "HEAD", _HEAD_CT)
    where = head_grid() if grid is None else grid
    return SyntheticStudy("head", (), study, Head(seed), where, (_HEAD_KERNEL,), "descending")


def quality_study(seed: int, *, grid: Grid | None = None, salt: str = "") -> SyntheticStudy:
    """A scan of the image-quality phantom, which is nobody."""
    patient = PatientIdentity("QA^Phantom", f"QA-{seed:07d}", "O", None)
    study = Study(f"quality/{seed}/{salt}", patient, _start(seed), "Image quality", None)
    where = quality_grid() if grid is None else grid
    return SyntheticStudy("quality_phantom", (), study, QualityPhantom(seed), where, (STANDARD,))


def demo_studies(salt: str = "") -> list[SyntheticStudy]:
    """The demonstration: six chests of known truth, a head, a phantom; four names are beyond ASCII."""
    names = (
        None,
        identity.LATIN_1_NAME,
        identity.CYRILLIC_NAME,
        identity.JAPANESE_NAME,
        identity.UNICODE_NAME,
        None,
    )
    studies = []
    for index, (case, name) in enumerate(zip(DEMO_CASES, names, strict=True)):
        study = chest_study(
            case, numbering="descending" if index % 2 else "ascending", localizer=index == 0, salt=salt
        )
        if name is not None:
            patient = identity.with_name(study.study.identity, *name)
            study = replace(study, study=replace(study.study, identity=patient))
        studies.append(study)
    studies[1] = replace(studies[1], kernels=(STANDARD, LUNG))
    last = DEMO_SEEDS[len(DEMO_CASES)]
    return [*studies, head_study(last, salt=salt), quality_study(last + 1, salt=salt)]


def _start(seed: int) -> datetime:
    """When a study was made: on some working day of 2025, which its seed decides."""
    rng = np.random.default_rng([seed, *b"start"])
    return datetime(2025, 1, 6, 8, tzinfo=timezone(timedelta(hours=1))) + timedelta(
        days=int(rng.integers(0, 350)), seconds=int(rng.integers(0, 8 * 3600))
    )


def _localizer(scene: Scene, grid: Grid) -> tuple[HuArray, Grid]:
    """A projection from the front, rows from the head down; its grid's rows run along z."""
    step = 2.0
    extent = [count * spacing for count, spacing in zip(grid.shape, grid.spacing_mm, strict=True)]
    coarse = centred_grid(
        (step, 6.0, step), (int(extent[0] / step), int(extent[1] / 6), int(extent[2] / step))
    )
    rays = np.concatenate([canvas.hu.mean(axis=1) for canvas in slabs(scene, coarse)])
    plane = np.clip(rays[::-1] + 400, -1024, 3071).astype(np.int16)
    x, _, z = coarse.origin_mm
    return plane, Grid((x, 0.0, z), (step, step, step), (1, *plane.shape))
