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
        ("", KernelClass.OTHER),
        ("11", KernelClass.OTHER),
    ],
)
def test_names_of_the_vendors(kernel: str, expected: KernelClass) -> None:
    assert kernel_class(kernel) is expected


def test_lung_comes_before_sharp_before_standard_before_the_rest() -> None:
    names = ["H30s", "unknown", "STANDARD", "BONE", "LUNG"]
    assert sorted(names, key=kernel_class) == ["LUNG", "BONE", "STANDARD", "unknown", "H30s"]
