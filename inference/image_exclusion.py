"""Which images can be no part of an axial CT volume: judged by class, modality, image type and unit alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference.instance_header import CT_STORAGE, InstanceHeader
from inference.projection_words import names_projection, words

_LOCALIZER = re.compile(r"\b(LOCALI[SZ]ERS?|SCOUT|TOPOGRAM|SURVIEW|SCANOGRAM|SOM TOP)\b")
_SCREEN = re.compile(r"\b(SCREEN ?SAVE|DOSE( ?INFO| ?REPORT)?|DOSEREPORT|PROTOCOL|PROT|EVIDENCE|REPORT)\b")
_PROJECTION = re.compile(r"\b(MAXIMUM|MINIMUM|VR)\b")
_COMPUTED = re.compile(
    r"\b(PERFUSION|SUBTRACTION|SOM SUB|FUSION|R?CBF|R?CBV|MTT|TTP|TMAX|IODINE|VNC|BLOOD VOLUME"
    r"|EFF(ECTIVE)? ATOMIC NUM|ELECTRON DENSITY"
    r"|MAT(ERIAL)? (SPECIFIC|FRACTION(AL)?|REMOVED|MODIFIED|VALUE BASED)"
    r"|(VALUE|COLOR) MAP|Z EFF|STD DEVIATION|DIVISION|MULTIPLICATION|ADDITION|QUANTITY|MASKED)\b"
)
"""Values of Image Type (PS3.3 C.7.6.1.1.2, C.8.2.1.1.1, C.8.15.2.1.1, C.8.16.1) and of the vendors; each is
looked for as words, since vendors put their software before them ("CT_SOM5 MIP")."""
_HOUNSFIELD = frozenset({"", "HU", "HU_MOD", "US", "HOUNSFIELD", "HOUNSFIELD UNITS"})

UNPLACED = frozenset({"no_rescale", "no_geometry"})
"""Reasons for which an image that may be a slice of the volume is missing in it."""


@dataclass(frozen=True)
class Exclusion:
    """Why an image or a series takes no part: a stable word, a sentence, how near it came to being read."""

    reason: str
    sentence: str
    nearness: int


def image_exclusion(header: InstanceHeader) -> Exclusion | None:
    """Why an image can be no part of an axial CT volume; None if it can, its geometry being good."""
    kinds = " | ".join(words(value) for value in header.traits.image_type)
    projection = any(names_projection(value) for value in header.traits.image_type)
    rules: tuple[tuple[bool, str, str], ...] = (
        (header.sop_class_uid not in CT_STORAGE or header.modality not in {"CT", ""}, "not_ct",
         "Not a CT image series."),
        (bool(_LOCALIZER.search(kinds)), "localizer", "A localizer (scout)."),
        (bool(_SCREEN.search(kinds)), "dose_screen", "A dose report, protocol page or screen capture."),
        (header.samples_per_pixel != 1, "colour", "Colour images, which hold no CT numbers."),
        (projection or bool(_PROJECTION.search(kinds)), "projection",
         "A projection or rendering (MIP, MinIP, 3D), not slices."),
        (bool(_COMPUTED.search(kinds)) or header.traits.rescale_type not in _HOUNSFIELD, "not_hounsfield",
         "A computed map whose values are not Hounsfield units."),
        (not (header.traits.rescaled or header.signed_pixels), "no_rescale",
         "The headers do not say which Hounsfield units the stored values stand for."),
        (not header.planes, "no_geometry",
         "The headers do not say, or not credibly, where the images lie in the patient."),
    )  # fmt: skip
    for rank, (excluded, reason, sentence) in enumerate(rules):
        if excluded:
            return Exclusion(reason, sentence, rank)
    return None
