"""A NIfTI volume as a `CTVolume`.

It is parsed in the node's own process: there is no codec in it, an upload has been inflated within its limits
before (`dicom_node.uploads`), what the header asks for is judged before any of it is read, and values are
converted a few slices at a time, so that memory holds the volume once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from inference.errors import RefusalCode, UploadRefusal
from inference.header_planes import FIELD_MM
from inference.pixels import PADDING_HU, HounsfieldArray
from inference.slice_stack import LONGEST_MM
from inference.volume import MAX_VOXELS, CTVolume

Scaling = tuple[np.float32, np.float32]
"""Slope and intercept of the stored values."""

_KINDS = {"V": "colours", "c": "complex numbers"}
_BLOCK = 8  # slices
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHORTEST_MM = FIELD_MM[0]
SAME_SIZE = 0.01  # of a voxel size
FLAT = 0.05
"""Volume of the parallelepiped of the axes' unit vectors, 1 where they are orthogonal, below which there is
none."""

_UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, zlib.error,
               struct.error, OverflowError, MemoryError)  # fmt: skip


def read_nifti(path: Path, *, name: str) -> CTVolume:
    """The volume in a `.nii` or `.nii.gz` file, brought to columns towards the left, rows towards the back.

    Its axes are permuted and turned, not resampled. Voxel spacing is the header's pixdim, as in the
    original. Where neither sform nor qform gives an orientation the array is taken as stored, with a warning.

    Parameters
    ----------
    path
        The file; its values are HU once scl_slope and scl_inter are applied.
    name
        Stands for the study and series UID: `nifti_<name>` and `nifti_<name>_series`.

    Raises
    ------
    UploadRefusal
        `not_a_nifti`
    """
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise ImageFileError("another format")
        values, scaling = _stored(image)
        zooms = np.array(image.header["pixdim"][1:4], dtype=np.float64)
        affine = _orientation(image.header)
    except _UNREADABLE as error:
        raise UploadRefusal(
            RefusalCode.NOT_A_NIFTI, "The file is no NIfTI volume that can be read."
        ) from error
    lengths = zooms * values.shape
    if not (np.isfinite(lengths).all() and (lengths >= SHORTEST_MM).all() and (lengths <= LONGEST_MM).all()):
        raise UploadRefusal(RefusalCode.NOT_A_NIFTI, "The header's geometry is not usable.")
    warnings: tuple[str, ...] = ()
    if affine is not None:
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(sizes, zooms, rtol=SAME_SIZE, atol=0):
            affine[:3, :3] *= zooms / sizes
            warnings = ("The NIfTI header gives two voxel sizes: pixdim was taken, not the orientation's.",)
        values, affine, zooms = _towards_left_back_head(values, affine, zooms)
    else:
        affine = np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
        warnings = ("The NIfTI header has no orientation: the array was taken as stored (left, back, head).",)
    study_uid = f"nifti_{name}"
    slices = values.shape[2]
    return CTVolume(
        voxels_hu=_hounsfield(values.transpose(2, 1, 0), scaling),
        affine=_RAS_TO_LPS @ affine,
        spacing_mm=(float(zooms[2]), float(zooms[1]), float(zooms[0])),
        sop_instance_uids=tuple(f"{study_uid}_slice_{index}" for index in range(slices)),
        frame_numbers=(None,) * slices,
        study_uid=study_uid,
        series_uid=f"{study_uid}_series",
        warnings=warnings,
    )


def _stored(image: nibabel.Nifti1Pair) -> tuple[NDArray[np.number], Scaling | None]:
    """The array (i, j, k) as it is stored, mapped and not read unless it is compressed; slope, intercept."""
    shape = tuple(int(length) for length in image.shape)
    if np.prod([float(length) for length in shape]) > MAX_VOXELS:
        raise UploadRefusal(RefusalCode.TOO_LARGE, "The volume has more voxels than any CT.")
    kept = tuple(length for length in shape if length != 1)
    dtype: np.dtype[np.generic] = image.get_data_dtype()  # type: ignore[no-untyped-call]
    if len(kept) != 3 or min(shape) < 1 or dtype.kind not in "iuf":
        raise UploadRefusal(
            RefusalCode.NOT_A_NIFTI,
            "The file does not hold one three-dimensional volume of CT numbers, but an array of"
            f" {' x '.join(str(length) for length in shape)} {_KINDS.get(dtype.kind, 'numbers')}.",
        )
    proxy = image.dataobj
    if not isinstance(proxy, ArrayProxy):
        raise ImageFileError("no array in the file")
    stored: NDArray[np.number] = proxy.get_unscaled().reshape(kept)  # type: ignore[no-untyped-call]
    scaled = (proxy.slope, proxy.inter) != (1.0, 0.0)
    return stored, (np.float32(proxy.slope), np.float32(proxy.inter)) if scaled else None


def _orientation(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Voxel indices to RAS mm: sform, else qform, whichever is set and gives every voxel its own place."""
    for form in (header.get_sform, header.get_qform):
        matrix, code = form(coded=True)  # type: ignore[no-untyped-call]
        if code and np.isfinite(matrix).all():
            affine = np.array(matrix, dtype=np.float64)
            sizes = np.linalg.norm(affine[:3, :3], axis=0)
            if sizes.all() and abs(np.linalg.det(affine[:3, :3] / sizes)) > FLAT:
                return affine
    return None


def _towards_left_back_head(
    values: NDArray[np.number], affine: NDArray[np.float64], zooms: NDArray[np.float64]
) -> tuple[NDArray[np.number], NDArray[np.float64], NDArray[np.float64]]:
    """The array with its axes permuted and turned, and the affine and voxel sizes that go with it."""
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    turn = ornt_transform(orientation, axcodes2ornt("LPS"))  # type: ignore[no-untyped-call]
    turned: NDArray[np.number] = apply_orientation(values, turn)  # type: ignore[no-untyped-call]
    affine = affine @ inv_ornt_aff(turn, values.shape)  # type: ignore[no-untyped-call]
    return turned, affine, zooms[np.argsort(turn[:, 0])]


def _hounsfield(stored: NDArray[np.number], scaling: Scaling | None) -> HounsfieldArray:
    """Stored values [slice, row, column] as HU: int16 unless there are fractions of one, else float32."""
    whole = np.empty(stored.shape, np.int16)
    for block, values in _blocks(stored, scaling):
        if np.issubdtype(values.dtype, np.floating) and not np.array_equal(values, np.rint(values)):
            break
        whole[block] = np.clip(values, -32768, 32767)
    else:
        return whole
    del whole
    fractions = np.empty(stored.shape, np.float32)
    for block, values in _blocks(stored, scaling):
        fractions[block] = values
    return fractions


def _blocks(
    stored: NDArray[np.number], scaling: Scaling | None
) -> Iterator[tuple[slice, NDArray[np.number]]]:
    """A few slices at a time, with slope and intercept applied; no number is padding."""
    for start in range(0, len(stored), _BLOCK):
        block = slice(start, start + _BLOCK)
        values: NDArray[np.number] = stored[block]
        if scaling is not None:
            # In double precision, which no 16-bit value times a slope of single precision leaves.
            values = values.astype(np.float64) * float(scaling[0]) + float(scaling[1])
        if np.issubdtype(values.dtype, np.floating):
            values = np.nan_to_num(values, nan=PADDING_HU, posinf=32767, neginf=-32768)
            values = np.clip(values, -32768, 32767)  # single precision cannot hold every double
        yield block, values
