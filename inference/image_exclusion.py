"""Which images can be no part of an axial CT volume: judged by class, modality and image type alone."""

from __future__ import annotations

from dataclasses import dataclass

from inference.instance_header import CT_STORAGE, InstanceHeader

_LOCALIZER = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
_PROJECTION = frozenset(
    {"MIP", "MINIP", "MIN_IP", "MAX_IP", "MNIP", "MAXIMUM", "MINIMUM", "PROJECTION IMAGE", "VRT", "VR", "SSD",
     "VOLUME RENDERING", "VOLREND", "3D RENDERING", "CPR", "CURVED"}
)  # fmt: skip
_SCREEN = frozenset(
    {"SCREEN SAVE", "DOSE", "DOSE_INFO", "DOSE INFO", "DOSE REPORT", "DOSEREPORT", "PROTOCOL", "PROT",
     "CT_SOM5 PROT", "CT_SOM7 PROT", "CT_SOM5 DOSE", "EVIDENCE", "REPORT"}
)  # fmt: skip
_COMPUTED = frozenset(
    {"PERFUSION", "SUBTRACTION", "FUSION", "RCBF", "CBF", "CBV", "MTT", "TTP", "TMAX", "IODINE", "VNC",
     "BLOOD_VOLUME", "EFFECTIVE_ATOMIC_NUM", "ELECTRON_DENSITY", "MATERIAL_FRACTION", "MATERIAL_REMOVED",
     "VALUE_MAP", "COLOR_MAP", "Z_EFF"}
)  # fmt: skip
_HOUNSFIELD = frozenset({"", "HU", "HU_MOD", "US"})


@dataclass(frozen=True)
class Exclusion:
    """Why an image or a series takes no part: a stable word, a sentence, how near it came to being read."""

    reason: str
    sentence: str
    nearness: int


def image_exclusion(header: InstanceHeader) -> Exclusion | None:
    """Why an image can be no part of an axial CT volume; None if it can, its geometry being good."""
    kinds = set(header.traits.image_type)
    rules: tuple[tuple[bool, str, str], ...] = (
        (header.sop_class_uid not in CT_STORAGE or header.modality not in {"CT", ""}, "not_ct",
         "Not a CT image series."),
        (bool(kinds & _LOCALIZER), "localizer", "A localizer (scout)."),
        (bool(kinds & _SCREEN), "dose_screen", "A dose report, protocol page or screen capture."),
        (header.samples_per_pixel != 1, "colour", "Colour images, which hold no CT numbers."),
        (bool(kinds & _PROJECTION), "projection", "A projection or rendering (MIP, MinIP, 3D), not slices."),
        (bool(kinds & _COMPUTED) or header.traits.rescale_type not in _HOUNSFIELD, "not_hounsfield",
         "A computed map whose values are not Hounsfield units."),
        (not header.planes, "no_geometry",
         "The headers do not say, or not credibly, where the images lie in the patient."),
    )  # fmt: skip
    for rank, (excluded, reason, sentence) in enumerate(rules):
        if excluded:
            return Exclusion(reason, sentence, rank)
    return None
