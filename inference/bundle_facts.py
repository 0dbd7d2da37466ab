"""What a loaded bundle brings to every answer, known before any study: its fusion and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inference.calibration import calibration_identity
from inference.columns import DENSITOMETRY, DIFFUSION, UnknownLabelError, column_names
from inference.densitometry import COLUMNS as DENSITOMETRY_COLUMNS
from inference.fusion import Fusion, FusionCode, FusionError
from inference.members import Ensemble
from inference.study_result import Algorithm, BundleIdentity
from inference.version import SOFTWARE_VERSION
from models.bundle import Bundle
from models.manifest import BundleManifest

DEMONSTRATION = (
    "Made with a demonstration bundle trained on synthetic images: not for diagnosis, its answer about a"
    " patient means nothing."
)


@dataclass(frozen=True)
class BundleFacts:
    """A bundle's rules, its fusion model where it has one, and what stands in every result of it."""

    manifest: BundleManifest
    fusion: Fusion | None
    identity: BundleIdentity
    warnings: tuple[str, ...]
    algorithms: tuple[Algorithm, ...]

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """CT-CLIP labels by group, over which the fusion has statistics."""
        return _groups(self.manifest)

    @property
    def needs_densities(self) -> bool:
        """Whether the fusion needs what is measured in the lungs."""
        spec = self.manifest.fusion
        return spec is not None and any(
            name.startswith(f"{DENSITOMETRY}_") and name not in spec.constant_columns for name in spec.columns
        )


def bundle_facts(ensemble: Ensemble) -> BundleFacts:
    """The facts of the bundle whose networks these are.

    Raises
    ------
    FusionError
        As `Fusion`; `missing_column` if fusion or findings need a column that no member gives.
    """
    bundle = ensemble.bundle
    spec = bundle.manifest.fusion
    fusion = Fusion(bundle.fusion_path, spec) if bundle.fusion_path is not None and spec else None
    _check_columns(ensemble, fusion)
    return BundleFacts(
        manifest=bundle.manifest,
        fusion=fusion,
        identity=_identity(bundle),
        warnings=tuple(_standing_warnings(ensemble, fusion)),
        algorithms=tuple(_algorithms(ensemble, fusion)),
    )


def _check_columns(ensemble: Ensemble, fusion: Fusion | None) -> None:
    """Every column that fusion and findings need is one that the members give."""
    manifest = ensemble.bundle.manifest
    scores = {member: ensemble.score_names(member) for member in ensemble.members}
    scores[DENSITOMETRY] = tuple(DENSITOMETRY_COLUMNS)
    try:
        columns = column_names(scores, _groups(manifest))
    except UnknownLabelError as error:
        raise FusionError(FusionCode.MISSING_COLUMN, str(error)) from error
    if fusion is not None:
        fusion.check(columns)
    missing = [name for spec in manifest.findings for name in spec.columns if name not in columns]
    if missing:
        raise FusionError(
            FusionCode.MISSING_COLUMN, f"findings need {', '.join(missing)}, which no member gives"
        )


def _groups(manifest: BundleManifest) -> dict[str, tuple[str, ...]]:
    return manifest.fusion.groups if manifest.fusion is not None else {}


def _identity(bundle: Bundle) -> BundleIdentity:
    manifest = bundle.manifest
    return BundleIdentity(
        name=manifest.name,
        version=manifest.version,
        digest=bundle.digest,
        demonstration=manifest.demonstration,
        licence=manifest.licence,
        intended_use=manifest.intended_use,
        calibration=calibration_identity(manifest.calibration),
    )


def _standing_warnings(ensemble: Ensemble, fusion: Fusion | None) -> Iterator[str]:
    if ensemble.bundle.manifest.demonstration:
        yield DEMONSTRATION
    if fusion is None:
        yield "The bundle has no fusion model: the probability is that of the highest finding."
    else:
        yield from fusion.warnings
    if DIFFUSION in ensemble.members and not ensemble.reconstructs:
        yield "The diffusion reconstruction is off in this bundle: there is no anomaly map."


def _algorithms(ensemble: Ensemble, fusion: Fusion | None) -> Iterator[Algorithm]:
    """What computes an answer, each with its version: a member's is the bundle's."""
    name, version = ensemble.bundle.manifest.name, ensemble.bundle.manifest.version
    yield Algorithm("node", SOFTWARE_VERSION, {"bundle": f"{name} {version}"})
    for member in ensemble.members:
        yield Algorithm(member, version)
    yield Algorithm(DENSITOMETRY, SOFTWARE_VERSION)
    if fusion is not None:
        yield Algorithm("fusion", version, {"trees": str(fusion.trees)})
