"""What a bundle of weights holds, what it expects, and what its answers are called.

The dataclasses mirror ``bundle.toml`` table by table; :mod:`models.manifest_file` reads and writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from models.ctvit import CTViTConfig
from models.slice_classifier import SliceClassifierConfig
from models.unet import UNetConfig

FORMAT = 1
PROMPTS = ("{} is present.", "{} is not present.")
"""CT-CLIP's own, which it was trained on: the label stands for `{}`."""
HEADS = ("layernorm", "classfine")
SIDES_RELIED_ON = 0.9
"""Least agreement of named sides with the truth: a wrong side misleads more than none."""


class BundleCode(StrEnum):
    """Stable words for why a bundle is not used."""

    NO_MANIFEST = "no_manifest"
    INVALID_MANIFEST = "invalid_manifest"
    UNKNOWN_FORMAT = "unknown_format"
    UNKNOWN_HEAD = "unknown_head"
    UNKNOWN_TOWER = "unknown_tower"
    MISSING_FILE = "missing_file"
    CHANGED_FILE = "changed_file"
    UNREADABLE_WEIGHTS = "unreadable_weights"
    MISSING_TENSOR = "missing_tensor"
    UNEXPECTED_TENSOR = "unexpected_tensor"


class BundleError(Exception):
    """A bundle that is not used: a stable code and a sentence that names what is wrong with which file."""

    def __init__(self, code: BundleCode, message: str) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class InputSpec:
    """The encoder input: voxel spacing in mm and shape, both in the order of the tensor's axes (z, x, y).

    ``minimum_slices`` resampled slices must come from the CT and not from padding.
    """

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    minimum_slices: int


@dataclass(frozen=True)
class BundleFile:
    """What a file must be: sha256 in hex and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class TowerSpec(CTViTConfig):
    """An image encoder: its sizes and its weights. Members that share it cost one pass."""

    file: str


@dataclass(frozen=True)
class CTCLIPSpec:
    """The zero-shot member; ``labels`` in the order of the text latents in its file.

    ``prompts`` are the sentences [present, not present] whose latents those are, ``{}`` being the label.
    """

    tower: str
    file: str
    dim_latent: int
    labels: tuple[str, ...]
    prompts: tuple[str, str] = PROMPTS


@dataclass(frozen=True)
class SupervisedSpec:
    """The trained member; ``head`` is one of ``HEADS``, ``labels`` in the order of its logits."""

    tower: str
    file: str
    head: str
    dim_latent: int
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SliceClassifierSpec(SliceClassifierConfig):
    """The slice classifier: its sizes and its weights."""

    file: str


@dataclass(frozen=True, kw_only=True)
class UNetSpec(UNetConfig):
    """The diffusion UNet: its sizes and its weights."""

    file: str


@dataclass(frozen=True)
class ReconstructionSpec:
    """The guided reconstruction of ``slices`` slices; see :func:`models.ddim.reconstruct`."""

    enabled: bool
    slices: int
    steps: int
    noise_level: int = 200
    guidance_scale: float = 100.0
    schedule: Literal["strided", "original"] = "strided"


@dataclass(frozen=True)
class DiffusionSpec:
    """The slice networks, over square slices of ``image_size`` pixels a side."""

    image_size: int
    classifier: SliceClassifierSpec
    unet: UNetSpec | None = None
    reconstruction: ReconstructionSpec | None = None

    @property
    def reconstructs(self) -> bool:
        """Whether slices of every study are reconstructed; there is a UNet then."""
        return self.reconstruction is not None and self.reconstruction.enabled


@dataclass(frozen=True)
class Members:
    """The members of the ensemble that the bundle has."""

    ctclip: CTCLIPSpec | None = None
    supervised: SupervisedSpec | None = None
    diffusion: DiffusionSpec | None = None


@dataclass(frozen=True)
class ConstantColumn:
    """A fusion column that no member gives: its value, and why that is right."""

    value: float
    reason: str


@dataclass(frozen=True)
class FusionSpec:
    """The LightGBM model over named columns, in the model's order.

    ``groups`` maps a group's name to CT-CLIP labels, for the columns ``ctclip_group_<name>_...``.
    """

    file: str
    operating_point: float
    columns: tuple[str, ...]
    constant_columns: dict[str, ConstantColumn] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class FallbackSpec:
    """The rule that gives the probability in a bundle without a fusion model."""

    rule: Literal["highest_finding"]
    operating_point: float


@dataclass(frozen=True)
class FindingSpec:
    """A finding that results name: the mean of ``columns``, and its ``severity``, high before low.

    An ``umbrella`` stands for findings of any kind ("Other pathology") and is never the most dangerous one.
    """

    name: str
    columns: tuple[str, ...]
    operating_point: float
    severity: int
    umbrella: bool = False


@dataclass(frozen=True)
class CalibrationSpec:
    """Whether the study's probability is calibrated, and how well, on which cases.

    ``platt`` maps the log-odds: sigmoid(slope * logit + intercept). ``none`` leaves the probability as it is.
    Brier score and expected calibration error are those of the cohort, before and after.
    """

    method: Literal["none", "platt"]
    slope: float = 1.0
    intercept: float = 0.0
    cohort: str = ""
    cohort_size: int = 0
    brier_before: float | None = None
    brier_after: float | None = None
    ece_before: float | None = None
    ece_after: float | None = None


@dataclass(frozen=True)
class IndeterminateBand:
    """Probabilities of the study, both ends included, that are called neither normal nor pathological."""

    low: float
    high: float


@dataclass(frozen=True)
class SaliencySpec:
    """How far the saliency of the bundle's findings can be relied on.

    ``voxel_threshold`` is the value of a map, in log-odds of a finding for each place of it, from which on a
    place belongs to the finding's region. ``side_agreement`` is the share of right sides among the
    ``side_cases`` findings of ``cohort`` for which a side is named: a side of a finding that lies on both is
    wrong. None where nobody measured it. Sides are told from ``SIDES_RELIED_ON`` on.
    """

    voxel_threshold: float
    side_agreement: float | None = None
    side_cases: int = 0
    cohort: str = ""

    @property
    def tells_sides(self) -> bool:
        """Whether sides of findings are told."""
        return self.side_agreement is not None and self.side_agreement >= SIDES_RELIED_ON


@dataclass(frozen=True)
class SelfTestSpec:
    """One synthetic volume and what the members must say about it, see :mod:`inference.self_test`.

    ``volume`` is a NIfTI file in HU; ``expected`` a JSON file of scores per precision.
    """

    volume: str
    expected: str


@dataclass(frozen=True)
class SourceFile:
    """A checkpoint that the bundle was imported from: sha256 in hex, size in bytes, and its layout."""

    sha256: str
    bytes: int
    layout: str


@dataclass(frozen=True)
class BundleManifest:
    """All of ``bundle.toml``; exactly one of ``fusion`` and ``fallback`` is there."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    version: str
    demonstration: bool
    licence: str
    intended_use: str
    input: InputSpec
    towers: dict[str, TowerSpec]
    members: Members
    findings: tuple[FindingSpec, ...]
    fusion: FusionSpec | None = None
    fallback: FallbackSpec | None = None
    calibration: CalibrationSpec = CalibrationSpec("none")
    indeterminate: IndeterminateBand | None = None
    most_dangerous: Literal["severity", "original_argmax"] = "severity"
    saliency: SaliencySpec | None = None
    self_test: SelfTestSpec | None = None
    sources: dict[str, SourceFile] = field(default_factory=dict)
    files: dict[str, BundleFile] = field(default_factory=dict)
    format: int = FORMAT

    def named_files(self) -> tuple[str, ...]:
        """The files that the tables refer to, each once."""
        members = self.members
        specs: list[Any] = [*self.towers.values(), members.ctclip, members.supervised, self.fusion]
        if members.diffusion is not None:
            specs += [members.diffusion.classifier, members.diffusion.unet]
        files = [spec.file for spec in specs if spec is not None]
        if self.self_test is not None:
            files += [self.self_test.volume, self.self_test.expected]
        return tuple(dict.fromkeys(files))
