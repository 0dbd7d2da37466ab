"""What a reconstruction kernel is for, from the vendors' names for it (ConvolutionKernel, 0018,1210)."""

from __future__ import annotations

import re
from enum import IntEnum


class KernelClass(IntEnum):
    """Kernels in the order in which a chest reader prefers them."""

    LUNG = 0
    SHARP = 1
    STANDARD = 2
    OTHER = 3
    HEAD = 4

    @property
    def words(self) -> str:
        """For a sentence."""
        return f"{self.name.lower()} kernel" if self is not KernelClass.OTHER else "unclassified kernel"


# GE and Canon by word; the longer words first, since "BONEPLUS" is also "BONE".
_WORDS: tuple[tuple[str, KernelClass], ...] = (
    ("LUNG", KernelClass.LUNG),
    ("BRAIN", KernelClass.HEAD),
    ("HEAD", KernelClass.HEAD),
    ("BONE", KernelClass.SHARP),
    ("EDGE", KernelClass.SHARP),
    ("ULTRA", KernelClass.SHARP),
    ("SHARP", KernelClass.SHARP),
    ("STANDARD", KernelClass.STANDARD),
    ("SMOOTH", KernelClass.STANDARD),
    ("CHST", KernelClass.STANDARD),
    ("STND", KernelClass.STANDARD),
    ("STD", KernelClass.STANDARD),
    ("SOFT", KernelClass.STANDARD),
    ("DETAIL", KernelClass.STANDARD),
    ("CHEST", KernelClass.STANDARD),
    ("BODY", KernelClass.STANDARD),
)
_PHILIPS: dict[str, KernelClass] = {
    "L": KernelClass.LUNG,
    "YA": KernelClass.LUNG,
    "YB": KernelClass.LUNG,
    "YC": KernelClass.LUNG,
    "YD": KernelClass.SHARP,
    "YE": KernelClass.SHARP,
    "D": KernelClass.SHARP,
    "E": KernelClass.SHARP,
    "A": KernelClass.STANDARD,
    "B": KernelClass.STANDARD,
    "C": KernelClass.STANDARD,
    "UA": KernelClass.HEAD,
    "UB": KernelClass.HEAD,
    "UC": KernelClass.HEAD,
    **dict.fromkeys(
        ("SA", "SB", "SC", "CA", "CB", "CC", "CD", "XCA", "XCB", "XCC", "XCD"), KernelClass.STANDARD
    ),
}
_CANON = re.compile(r"FC(\d{1,2})")
_SIEMENS = re.compile(r"([BDIJHSTUQ])([A-Z]?)(\d{2})[A-Z]?")
_UNITED_IMAGING_HEAD = re.compile(r"H_[A-Z]")


def kernel_class(kernel: str) -> KernelClass:
    """Class of a kernel name; a multi-valued name is judged by its first value.

    GE: words. Siemens: letter of the body part and sharpness number (B70f, Br60d, Bl57d, I70f). Canon and
    Toshiba: FC number (FC50 to FC59 and FC80 to FC89 lung, FC20 to FC29 and FC60 to FC69 head). Philips:
    letters. United Imaging: body part and words (B_VSHARP_B, H_SOFT_C).
    """
    name = kernel.split("\\", maxsplit=1)[0].strip().upper()
    if name in _PHILIPS:
        return _PHILIPS[name]
    if match := _CANON.match(name):
        return _canon(int(match.group(1)))
    if match := _SIEMENS.match(name):
        return _siemens(match.group(1), match.group(2), int(match.group(3)))
    if _UNITED_IMAGING_HEAD.match(name):
        return KernelClass.HEAD
    return next((kind for word, kind in _WORDS if word in name), KernelClass.OTHER)


def _canon(number: int) -> KernelClass:
    if 50 <= number <= 59 or 80 <= number <= 89:
        return KernelClass.LUNG
    if 20 <= number <= 29 or 60 <= number <= 69:
        return KernelClass.HEAD
    return KernelClass.SHARP if 31 <= number <= 39 else KernelClass.STANDARD


def _siemens(family: str, organ: str, sharpness: int) -> KernelClass:
    if family == "H" or (family == "J" and not organ):
        return KernelClass.HEAD
    if organ == "L" or sharpness >= 60:
        return KernelClass.LUNG
    return KernelClass.STANDARD if sharpness < 50 else KernelClass.SHARP
