"""A bundle's self-test: one synthetic volume, and what the members must say about it on every machine.

A bundle names the volume and `self_test.json` under `[self_test]`. The latter is

    {"format": 1, "software_version": "...", "torch_version": "...", "device_name": "...",
     "precisions": {"float32": {"study_probability": 0.31,
                                "member_scores": {"supervised": {"Lung nodule": 0.12, ...}, ...}}, ...}}

with every score at full precision. `study_probability` is the one before calibration. A precision that was
not recorded is compared with float32, within its own tolerance.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from inference.analyse import Analyser
from inference.columns import DIFFUSION
from inference.errors import Refusal
from inference.score_tolerance import TOLERANCES, Kind, ScoreCheck
from models.bundle import verify_files
from models.manifest import BundleManifest, SelfTestSpec
from models.manifest_file import read_manifest, write_manifest
from models.precision import Precision

EXPECTED = "self_test.json"
FORMAT: Final = 1
NO_SELF_TEST = "The bundle has no self-test: nothing shows that this machine computes its scores rightly."

STUDY = "study probability"
# The study's UID, from which the noise of the reconstruction is drawn, follows from this name.
_NAME = "self_test"
_RECONSTRUCTION = f"{DIFFUSION} reconstruction_"


class SelfTestCode(StrEnum):
    """The stable word for a bundle that this machine does not compute rightly."""

    SELF_TEST_FAILED = "self_test_failed"


class SelfTestError(Exception):
    """Scores that are not those of the bundle: a stable code, and a sentence that names the worst of them."""

    def __init__(self, message: str) -> None:
        self.code = SelfTestCode.SELF_TEST_FAILED
        super().__init__(f"{self.code.value}: {message}")
        self.message = message


@dataclass(frozen=True)
class SelfTestReport:
    """A self-test that was passed; without `checks` where the bundle has none.

    `precision` is the analyser's, `recorded` that of the scores it was compared with.
    """

    precision: Precision
    recorded: Precision
    checks: tuple[ScoreCheck, ...]

    @property
    def worst(self) -> ScoreCheck | None:
        """The check that is nearest to its tolerance."""
        return max(self.checks, key=lambda check: check.share, default=None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said in every result."""
        return () if self.checks else (NO_SELF_TEST,)


@dataclass(frozen=True)
class _Scores:
    """What the bundle said about the volume, in one precision."""

    study_probability: float
    member_scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class _Expected:
    """`self_test.json`."""

    format: Literal[1]
    software_version: str
    torch_version: str
    device_name: str
    precisions: dict[Precision, _Scores]


_ADAPTER = TypeAdapter(_Expected)


def run_self_test(analyser: Analyser, folder: Path) -> SelfTestReport:
    """Let the analyser of the bundle in `folder` read the bundle's volume, and compare every score.

    It goes the whole way of a study: it warms up, and the memory of each member is measured on the way.

    Raises
    ------
    SelfTestError
        If a score is further from the expected one than its tolerance, is not finite, is missing or is not
        expected; if there is nothing to compare with.
    """
    spec = analyser.manifest.self_test
    precision = analyser.precision
    if spec is None:
        return SelfTestReport(precision, precision, ())
    recorded, expected = _expected(folder / spec.expected, precision)
    got = _read(analyser, folder / spec.volume)
    fused = analyser.manifest.fusion is not None
    checks = tuple(_checks(expected, got, precision, fused=fused))
    report = SelfTestReport(precision, recorded, checks)
    failed = [check for check in checks if not check.share <= 1]
    if failed:
        worst = max(failed, key=lambda check: check.share)
        raise SelfTestError(
            f"in {precision} this machine does not reproduce the bundle's scores ({len(failed)} of"
            f" {len(checks)} differ); worst is {worst.words}"
        )
    return report


def recorded_precisions(folder: Path, manifest: BundleManifest) -> tuple[Precision, ...]:
    """The precisions whose scores the bundle in `folder` expects; none without a self-test.

    Raises
    ------
    SelfTestError
        If the file of expected scores cannot be read.
    """
    return tuple(_load(folder / manifest.self_test.expected).precisions) if manifest.self_test else ()


def record_self_test(
    folder: Path,
    volume_file: Path,
    precisions: Sequence[Precision] = ("float32", "bf16"),
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> BundleManifest:
    """Let the bundle in `folder` read a volume, write down its scores and enter both in `bundle.toml`.

    Parameters
    ----------
    folder
        A whole bundle, which is run once for each precision.
    volume_file
        A NIfTI file in HU; it is copied into `folder` unless it lies there.
    precisions
        Whose scores are recorded.

    Returns
    -------
    BundleManifest
        As written, with `[self_test]` and every file listed.

    Raises
    ------
    models.bundle.BundleError, inference.fusion.FusionError
        If the bundle is not what its manifest says, or does not fit together.
    SelfTestError
        If the volume cannot be read, or a score is not finite.
    """
    manifest = read_manifest(folder)
    volume = folder / volume_file.name
    if volume_file.resolve() != volume.resolve():
        shutil.copyfile(volume_file, volume)
    # The bundle is run without the self-test that it may have had. Weights that are not as listed are still
    # refused: only the self-test's own files leave the list.
    before = manifest.self_test
    old = {volume.name, EXPECTED, *((before.volume, before.expected) if before is not None else ())}
    weights = {name: file for name, file in manifest.files.items() if name not in old}
    verify_files(folder, replace(manifest, files=weights))
    for name in old - {volume.name}:
        (folder / name).unlink(missing_ok=True)
    manifest = write_manifest(folder, replace(manifest, self_test=None))
    scores: dict[Precision, _Scores] = {}
    for precision in precisions:
        # One after the other: two of full size would not fit a small machine.
        analyser = Analyser(folder, device=device, precision=precision, threads=threads)
        scores[precision] = _finite(_read(analyser, volume), precision)
        runtime = analyser.runtime
        del analyser
    expected = _Expected(FORMAT, runtime.software_version, runtime.torch_version, runtime.device_name, scores)
    text = json.dumps(asdict(expected), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / EXPECTED).write_text(text + "\n", encoding="utf-8")
    return write_manifest(folder, replace(manifest, self_test=SelfTestSpec(volume.name, EXPECTED)))


def _read(analyser: Analyser, volume: Path) -> _Scores:
    """What an analyser says about the volume."""
    try:
        result = analyser.answer(analyser.prepare_nifti(volume, name=_NAME), measure=True).result
    except (Refusal, ValueError) as error:  # the latter where a probability is none
        raise SelfTestError(f"there is no answer about {volume.name}: {error}") from error
    # A calibration may stretch the log-odds, and a deviation with them; its figures are in the manifest.
    raw = result.calibration.raw_probability if result.calibration is not None else result.probability
    return _Scores(raw, result.member_scores)


def _finite(scores: _Scores, precision: Precision) -> _Scores:
    infinite = [name for name, value in _named(scores).items() if not math.isfinite(value)]
    if infinite:
        raise SelfTestError(f"in {precision} there is no finite number for {', '.join(infinite)}")
    return scores


def _load(file: Path) -> _Expected:
    try:
        return _ADAPTER.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise SelfTestError(f"{file.name} is not a record of expected scores") from error


def _expected(file: Path, precision: Precision) -> tuple[Precision, _Scores]:
    """The precision whose scores to compare with, and those."""
    expected = _load(file)
    candidates: tuple[Precision, ...] = (precision, "float32")
    for recorded in candidates:
        if recorded in expected.precisions:
            return recorded, expected.precisions[recorded]
    raise SelfTestError(f"{file.name} has no scores for {precision} or float32")


def _checks(wanted: _Scores, given: _Scores, precision: Precision, *, fused: bool) -> Iterator[ScoreCheck]:
    expected, got = _named(wanted), _named(given)
    # The reconstruction may be on where it was not recorded, and off where it was: a site chooses that.
    different = {name for name in expected.keys() ^ got.keys() if not name.startswith(_RECONSTRUCTION)}
    if different:
        raise SelfTestError(f"expected and computed are not the same scores: {', '.join(sorted(different))}")
    anomaly = max(
        (value for name, value in expected.items() if name.startswith(_RECONSTRUCTION)), default=1.0
    )
    for name in expected.keys() & got.keys():
        kind: Kind = "probability"
        if name == STUDY and fused:
            kind = "fusion"
        elif name.startswith(_RECONSTRUCTION):
            kind = "reconstruction"
        scale = anomaly if kind == "reconstruction" else 1.0
        yield ScoreCheck(name, kind, expected[name], got[name], scale * TOLERANCES[kind][precision])


def _named(scores: _Scores) -> dict[str, float]:
    """Every score under one name."""
    named = {STUDY: scores.study_probability}
    for member, values in scores.member_scores.items():
        named |= {f"{member} {name}": value for name, value in values.items()}
    return named
