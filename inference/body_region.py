"""Which part of the body a series shows, from the words of its header: only ever a preference.

Body Part Examined (0018,0015) often names the protocol and not the series, and is as often empty; a series'
own description is nearer to what was reconstructed, so it is asked first. Both are free of rules in practice.
"""

from __future__ import annotations

import re
from typing import Literal

from inference.projection_words import words

Region = Literal["chest", "elsewhere", ""]

_CHEST = re.compile(r"CHEST|THORA|TORAX|TÓRAX|LUNG|POUMON|BODY|ГРУД|ЛЕГК|ЛЁГК|\bОГК\b")
_SPINE = re.compile(r"SPINE|SPINAL|VERTEBR|RACHIS|COLUMNA|COLONNE|WIRBEL|\bBWS\b|ПОЗВОН")
_LUNGS_TOO = re.compile(r"CHEST|LUNG|POUMON|ЛЕГК|ЛЁГК|\bОГК\b")
_ELSEWHERE = re.compile(
    r"HEAD|BRAIN|SKULL|NECK|SPINE|ABD|PELVI|KNEE|ANKLE|WRIST|ELBOW|SHOULDER|EXTREMIT|SINUS|LIVER|KIDNEY"
    r"|\b(LEG|ARM|HIP|FOOT|HAND)S?\b|ГОЛОВ|МОЗГ|БРЮШ|ЖИВОТ|ПЕЧЕН|ПОЧ[ЕК]|ПОЗВОН|МАЛ\w+ ТАЗ|\b(ОБП|ОМТ)\b"
)


def body_region(*texts: str) -> Region:
    """What the first text that names a region says; "" if none does.

    A text that names the chest beside other regions ("CHESTABDPELVIS") counts as chest.
    """
    for text in texts:
        named = words(text)
        if _SPINE.search(named) and not _LUNGS_TOO.search(named):
            return "elsewhere"  # the thoracic spine: its field holds no lungs
        if _CHEST.search(named):
            return "chest"
        if _ELSEWHERE.search(named):
            return "elsewhere"
    return ""
