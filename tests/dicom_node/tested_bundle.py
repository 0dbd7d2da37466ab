"""The tiny random bundle with a self-test, and what somebody may do to it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from inference.self_test import EXPECTED, record_self_test
from models.manifest_file import read_manifest, write_manifest
from tests.dicom_node.small_study import write_tiny_bundle


def write_tested_bundle(bundles_folder: Path, name: str = "demo") -> Path:
    """A bundle that passes its self-test in float32."""
    folder = write_tiny_bundle(bundles_folder, name)
    values = np.random.default_rng(5).integers(-1000, 400, (40, 40, 30)).astype(np.int16)
    volume = folder / "self_test.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.diag([3.0, 3.0, 4.0, 1.0])), volume)
    record_self_test(folder, volume, ("float32",), threads=1)
    return folder


def alter_expectation(folder: Path) -> None:
    """Another expected score, with every file listed anew: only the self-test can tell."""
    expected = json.loads((folder / EXPECTED).read_text())
    scores = expected["precisions"]["float32"]["member_scores"]["supervised"]
    scores["Emphysema"] += 0.25 if scores["Emphysema"] < 0.5 else -0.25
    (folder / EXPECTED).write_text(json.dumps(expected))
    write_manifest(folder, read_manifest(folder))


def change_a_byte(folder: Path) -> None:
    """One byte of a file of weights."""
    file = folder / "supervised.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
