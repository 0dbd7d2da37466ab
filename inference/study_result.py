"""The answer about one study, as plain data: what `inference` gives and what reports, pages and HTTP read.

Nothing here names a patient; a study is known by its UIDs. `to_json` and `from_json` are exact inverses, so
that the result stored by the step that made it can be read again and never needs to be computed twice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Decision = Literal[0, 1]
Verdict = Literal["pathological", "normal", "indeterminate"]
Laterality = Literal["left", "right", "bilateral"]


@dataclass(frozen=True)
class SliceReference:
    """One slice of the analysed series.

    `index` counts from 0 in the volume (ascending along the normal, towards the head); `sop_instance_uid` is
    the source instance and `frame_number` its frame (from 1; None for a single-frame instance). `row` and
    `column` (pixels, from 0, in the source image) are the point of the highest saliency, or the centre of the
    lungs where there is none; they anchor a viewer and locate nothing.
    """

    index: int
    sop_instance_uid: str
    frame_number: int | None
    row: float
    column: float


@dataclass(frozen=True)
class SaliencyRegion:
    """The part of a slice that raised a finding's score: where the algorithm looked, no outline of a lesion.

    Attributes
    ----------
    slice
        The slice, with the point of the peak; the finding's best one.
    polygon
        Closed (the last point is the first) and without crossings; (column, row) points in the slice's source
        image with the geometry of SCOORD (PS3.3 C.10.5.1.2): sub-pixel, the origin is the top left corner of
        the top left pixel, whose centre is (0.5, 0.5). It is the outer edge of a piece without holes.
    peak, threshold
        The greatest value of the map, and the bundle's voxel threshold that encloses the region; both in
        log-odds of the finding for each place of the map.
    """

    slice: SliceReference
    polygon: tuple[tuple[float, float], ...]
    peak: float
    threshold: float


@dataclass(frozen=True)
class Finding:
    """One named finding.

    `probability` 0 to 1 is the mean of the bundle's columns for it; `present` is probability >=
    `operating_point`. `member_scores` holds what each member said (0 to 1). `best_slice` is where its
    saliency peaks, None without one. `region` is where on it a present finding lies; None where its saliency
    does not reach the bundle's voxel threshold, or the bundle has none. `laterality` is the patient's side
    that holds nearly all of that saliency, None where no side does or the bundle's sides cannot be relied on.
    An `umbrella` stands for findings of any kind ("Other pathology"): it may be present and is never the one
    that a study is called by.
    """

    name: str
    probability: float
    operating_point: float
    present: bool
    severity: int
    member_scores: dict[str, float]
    laterality: Laterality | None = None
    best_slice: SliceReference | None = None
    umbrella: bool = False
    region: SaliencyRegion | None = None

    @property
    def danger(self) -> tuple[bool, int, float]:
        """Order of present findings, greatest first: severity, then probability; umbrellas come last."""
        return not self.umbrella, self.severity, self.probability


@dataclass(frozen=True)
class Measurement:
    """A quantity of the study: value in a UCUM unit, with the method that defines it."""

    name: str
    value: float
    unit: str
    method: str


@dataclass(frozen=True)
class Contribution:
    """How far one fusion column moved the study's log-odds (SHAP value from LightGBM itself)."""

    column: str
    value: float
    contribution: float


@dataclass(frozen=True)
class SeriesDecision:
    """What became of one series: chosen, or not and why (a stable word and a sentence)."""

    series_uid: str
    instances: int
    chosen: bool
    reason: str
    sentence: str


@dataclass(frozen=True)
class Algorithm:
    """One algorithm that took part: the ensemble (`node`), a member, the fusion; as TID 4019 names them."""

    name: str
    version: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BundleIdentity:
    """Which weights answered."""

    name: str
    version: str
    digest: str
    demonstration: bool
    licence: str
    intended_use: str
    calibration: str = "none"
    """`none`, or the method and the first 12 hexadecimal digits of its digest: `platt 3f2a0c...`."""


@dataclass(frozen=True)
class Calibration:
    """The bundle's calibration, what it was measured on, and the study's probability before it.

    `method` "platt" is sigmoid(slope * logit + intercept) of the raw probability, "none" leaves it as it
    is. Brier scores and expected calibration errors (`ece`) are those of the cohort, None where not measured.
    `sentence` says it in words.
    """

    raw_probability: float
    method: str
    slope: float
    intercept: float
    cohort: str
    cohort_size: int
    brier_before: float | None
    brier_after: float | None
    ece_before: float | None
    ece_after: float | None
    sentence: str


@dataclass(frozen=True)
class ProbabilityBand:
    """Probabilities from `low` to `high`, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Runtime:
    """What computed: software version, torch version, device and precision.

    `device` is torch's name of it; `device_name` the card's or the processor's own; `cuda_version` and
    `driver_version` are "" where no GPU computes.
    """

    software_version: str
    torch_version: str
    device: str
    precision: str
    device_name: str = ""
    cuda_version: str = ""
    driver_version: str = ""


@dataclass(frozen=True)
class StudyResult:
    """The whole answer about one study.

    Attributes
    ----------
    key
        Key of work (hex), from which the UIDs of every object are derived; "" where nothing is stored.
    probability, operating_point, decision
        Calibrated probability of pathology (0 to 1), the bundle's threshold, and
        `probability >= operating_point`.
    verdict
        The decision in a word; "indeterminate" where the probability lies in the bundle's band. `decision` is
        0 or 1 all the same.
    indeterminate
        That band, None where the bundle has none.
    calibration
        How the probability was calibrated.
    most_dangerous
        Name of the most dangerous pathology, None when `decision` is 0.
    member_scores
        `{member: {name: value}}`, every score at full precision.
    key_slices
        Slices worth showing, most important first; at least one.
    image_sop_instance_uids
        The analysed instances in ascending slice order (each instance once).
    seconds
        Duration of each stage.
    """

    key: str
    study_uid: str
    series_uid: str
    probability: float
    operating_point: float
    decision: Decision
    most_dangerous: str | None
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    contributions: tuple[Contribution, ...]
    member_scores: dict[str, dict[str, float]]
    key_slices: tuple[SliceReference, ...]
    image_sop_instance_uids: tuple[str, ...]
    series: tuple[SeriesDecision, ...]
    warnings: tuple[str, ...]
    bundle: BundleIdentity
    algorithms: tuple[Algorithm, ...]
    runtime: Runtime
    analysed_at: str  # ISO 8601 with offset, set once by the step that analysed
    seconds: dict[str, float]
    # What results stored by earlier versions do not have.
    verdict: Verdict | None = None
    indeterminate: ProbabilityBand | None = None
    calibration: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StudyResult:
        """The result that `to_json` wrote, of this version or of an earlier one, which had fewer fields.

        Raises
        ------
        KeyError, TypeError
            If `data` lacks a field that every version wrote, or holds one that this class does not have.
        """

        band, calibration = data.get("indeterminate"), data.get("calibration")
        return cls(
            **{
                **data,
                "findings": tuple(map(_finding, data["findings"])),
                "measurements": tuple(Measurement(**item) for item in data["measurements"]),
                "contributions": tuple(Contribution(**item) for item in data["contributions"]),
                "key_slices": tuple(SliceReference(**item) for item in data["key_slices"]),
                "image_sop_instance_uids": tuple(data["image_sop_instance_uids"]),
                "series": tuple(SeriesDecision(**item) for item in data["series"]),
                "warnings": tuple(data["warnings"]),
                "bundle": BundleIdentity(**data["bundle"]),
                "algorithms": tuple(Algorithm(**item) for item in data["algorithms"]),
                "runtime": Runtime(**data["runtime"]),
                "indeterminate": ProbabilityBand(**band) if band is not None else None,
                "calibration": Calibration(**calibration) if calibration is not None else None,
            }
        )


def _finding(data: dict[str, Any]) -> Finding:
    best, region = data["best_slice"], data.get("region")
    parts = {
        "best_slice": SliceReference(**best) if best is not None else None,
        "region": _region(region) if region is not None else None,
    }
    return Finding(**{**data, **parts})


def _region(data: dict[str, Any]) -> SaliencyRegion:
    polygon = tuple((column, row) for column, row in data["polygon"])
    return SaliencyRegion(**{**data, "slice": SliceReference(**data["slice"]), "polygon": polygon})
