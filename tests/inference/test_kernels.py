from __future__ import annotations

import pytest

from inference.kernels import KernelClass, kernel_class


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("LUNG", KernelClass.LUNG),
        ("BONEPLUS", KernelClass.SHARP),
        ("STANDARD", KernelClass.STANDARD),
        ("STD+", KernelClass.STANDARD),
        ("B70f", KernelClass.LUNG),
        ("B80s", KernelClass.LUNG),
        ("B31f", KernelClass.STANDARD),
        ("Br60d\\3", KernelClass.LUNG),
        ("Bl57d", KernelClass.LUNG),
        ("I70f\\3", KernelClass.LUNG),
        ("B50f", KernelClass.SHARP),
        ("Br56f\\4", KernelClass.SHARP),
        ("D30f", KernelClass.STANDARD),
        ("Qr40d", KernelClass.STANDARD),
        ("Hr60d", KernelClass.HEAD),
        ("J30s", KernelClass.HEAD),
        ("Br40d", KernelClass.STANDARD),
        ("I70f", KernelClass.LUNG),
        ("H30s", KernelClass.HEAD),
        ("FC51", KernelClass.LUNG),
        ("FC81", KernelClass.LUNG),
        ("FC08", KernelClass.STANDARD),
        ("FC30", KernelClass.STANDARD),
        ("FC21", KernelClass.HEAD),
        ("L", KernelClass.LUNG),
        ("YA", KernelClass.LUNG),
        ("B", KernelClass.STANDARD),
        ("YB", KernelClass.LUNG),
        ("YE", KernelClass.SHARP),
        ("SB", KernelClass.STANDARD),
        ("UB", KernelClass.HEAD),
        ("CHST", KernelClass.STANDARD),
        ("BONE", KernelClass.SHARP),
        ("EDGE", KernelClass.SHARP),
        ("HD LUNG", KernelClass.LUNG),
        ("BODY FILTER/BONE", KernelClass.SHARP),
        ("Lung", KernelClass.LUNG),
        ("FC03-H", KernelClass.STANDARD),
        ("FC52", KernelClass.LUNG),
        ("B_SOFT_B", KernelClass.STANDARD),
        ("B_VSHARP_B", KernelClass.SHARP),
        ("H_SOFT_C", KernelClass.HEAD),
        ("LUNG20", KernelClass.LUNG),
        ("", KernelClass.OTHER),
        ("11", KernelClass.OTHER),
    ],
)
def test_names_of_the_vendors(kernel: str, expected: KernelClass) -> None:
    assert kernel_class(kernel) is expected


def test_lung_comes_before_sharp_before_standard_before_the_rest() -> None:
    names = ["H30s", "unknown", "STANDARD", "BONE", "LUNG"]
    assert sorted(names, key=kernel_class) == ["LUNG", "BONE", "STANDARD", "unknown", "H30s"]
