"""CT series as two readers see them that share no code with ours: SimpleITK (GDCM) and dcm2niix (nibabel)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from inference.volume import CTVolume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
AFFINE_MM, VOXEL_HU = 1e-3, 0
"""How far two readers may differ."""


@dataclass(frozen=True)
class OtherVolume:
    """What another reader made: `voxels` (i, j, k) and the way of its indices to LPS mm."""

    voxels: NDArray[np.number]
    affine: NDArray[np.float64]

    def assert_same(self, volume: CTVolume) -> None:
        """The same voxels at the same places, whatever the order and direction of the axes."""
        turn = self.assert_same_voxels(volume)
        affine = self.affine @ inv_ornt_aff(turn, self.voxels.shape)
        shape = volume.voxels_hu.shape[::-1]
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
        corners = np.vstack([corners, np.ones(8)])
        np.testing.assert_allclose(affine @ corners, volume.affine @ corners, rtol=0, atol=AFFINE_MM)

    def assert_same_voxels(self, volume: CTVolume) -> NDArray[np.float64]:
        """The same voxels, once the axes are turned; how they were turned."""
        turn: NDArray[np.float64] = ornt_transform(io_orientation(self.affine), io_orientation(volume.affine))
        ours = volume.voxels_hu.transpose(2, 1, 0)
        turned = apply_orientation(self.voxels, turn)
        assert turned.shape == ours.shape
        np.testing.assert_allclose(turned, ours, rtol=0, atol=VOXEL_HU)
        return turn


def dcm2niix_volume(folder: Path, out: Path) -> OtherVolume:
    """The one volume that dcm2niix makes of a folder; where a gantry was tilted, the one it did not shear."""
    out.mkdir()
    _run("dcm2niix", "-z", "n", "-b", "n", "-m", "n", "-p", "n", "-f", "other", "-o", str(out), str(folder))
    (path,) = [path for path in out.glob("*.nii") if "Tilt" not in path.name]
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return OtherVolume(np.asanyarray(image.dataobj), RAS_TO_LPS @ np.asarray(image.affine))


def without_jpeg_ls(folder: Path, out: Path) -> Path:
    """Copies of a folder's images, decoded by DCMTK: Debian's dcm2niix knows no JPEG-LS."""
    out.mkdir()
    for path in folder.iterdir():
        _run("dcmdjpls", str(path), str(out / path.name))
    return out


def simpleitk_volume(folder: Path) -> OtherVolume:
    """The one series of a folder, or the one multi-frame instance, as SimpleITK reads it."""
    with _quiet():
        reader = SimpleITK.ImageSeriesReader()
        (series,) = reader.GetGDCMSeriesIDs(str(folder))
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
        return _itk_volume(reader.Execute())


def simpleitk_image(path: Path) -> OtherVolume:
    """One image, as SimpleITK reads it without any other of its series."""
    with _quiet():
        return _itk_volume(SimpleITK.ReadImage(str(path)))


def _itk_volume(image: SimpleITK.Image) -> OtherVolume:
    if image.GetDimension() == 4:  # a multi-frame instance, which it takes for one moment of several
        image = image[..., 0]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return OtherVolume(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), affine)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of uneven spacing and odd directions, which are compared."""
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)


def _run(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        message = f"{program} is not installed (Debian: dcm2niix, dcmtk)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    subprocess.run([program, *arguments], check=True, capture_output=True)
