"""Volumes against two independent readers, to 1e-3 mm and 0 HU.

Where one of them is known to be wrong the other alone is asked, and the case says why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from inference.decoding import decode_frame
from inference.dicom_files import files_below, read_header, read_headers
from inference.series import choose_series
from inference.volume import CTVolume, read_volume
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from tests.inference.enhanced import as_enhanced
from tests.inference.independent import (
    OtherVolume,
    dcm2niix_volume,
    simpleitk_image,
    simpleitk_volume,
    without_jpeg_ls,
)
from tests.inference.marked_body import ORIENTATIONS, marked_series, tilted
from tests.inference.synthetic import STUDY, save

REAL = ("ct/nlst-toshiba", "ct/lung-dx-a0001-philips/kernel-a", "ct/lung-dx-a0001-philips/kernel-b")


@pytest.mark.parametrize("name", REAL)
def test_a_real_series(ct_data: Path, tmp_path: Path, name: str) -> None:
    files = read_headers(files_below(ct_data / name))
    volume = read_volume(files.series(choose_series(files.headers)))
    simpleitk_volume(ct_data / name).assert_same(volume)
    jpeg_ls = files.headers[0].transfer_syntax_uid == JPEGLSLossless
    folder = without_jpeg_ls(ct_data / name, tmp_path / "plain") if jpeg_ls else ct_data / name
    dcm2niix_volume(folder, tmp_path / "out").assert_same(volume)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
def test_every_orientation(orientation: object, tmp_path: Path) -> None:
    volume = read_volume(save(marked_series(orientation), tmp_path / "s"))  # type: ignore[arg-type]
    simpleitk_volume(tmp_path / "s").assert_same(volume)
    dcm2niix_volume(tmp_path / "s", tmp_path / "out").assert_same(volume)


def test_a_synthetic_chest(tmp_path: Path) -> None:
    images = chest_study(
        Case(3, ()), grid=centred_grid((4.5, 3.2, 3.2), (72, 128, 128)), numbering="shuffled"
    )
    volume = read_volume(save(list(images.datasets()), tmp_path / "s"))
    simpleitk_volume(tmp_path / "s").assert_same(volume)
    dcm2niix_volume(tmp_path / "s", tmp_path / "out").assert_same(volume)


def assert_slices_lie_where(volume: CTVolume, paths: dict[str, Path]) -> None:
    """Each slice against its own image, read alone: what a tilt does to the whole is none of its business."""
    for index, uid in enumerate(volume.sop_instance_uids):
        shift = np.eye(4)
        shift[2, 3] = index
        own = volume.affine @ shift
        other = simpleitk_image(paths[uid])
        np.testing.assert_allclose(own[:3, [0, 1, 3]], other.affine[:3, [0, 1, 3]], rtol=0, atol=1e-3)
        np.testing.assert_array_equal(volume.voxels_hu[index], other.voxels[:, :, 0].T)


@pytest.mark.parametrize("degrees", [18.5, -18.5, 5, -29])
def test_a_tilted_gantry(degrees: float, tmp_path: Path) -> None:
    """Both readers give the whole an affine whose slices lie straight above each other (dcm2niix in its
    volume that is not sheared): their voxels are compared, and the place of every image on its own."""
    files = read_headers(save(marked_series(tilted(degrees)), tmp_path / "s"))
    volume = read_volume(list(files.paths.values()))
    assert_slices_lie_where(volume, files.paths)
    dcm2niix_volume(tmp_path / "s", tmp_path / "out").assert_same_voxels(volume)
    simpleitk_volume(tmp_path / "s").assert_same_voxels(volume)


@pytest.mark.parametrize(("first", "end"), [(0, 14), (14, 28)])
def test_even_parts_of_a_real_tilted_head(ct_data: Path, first: int, end: int) -> None:
    """The whole has a jump in its middle, and is refused."""
    files = read_headers(files_below(ct_data / "fixtures/gantry-tilt-ge"))
    ordered = sorted(files.headers, key=lambda header: header.planes[0].position_mm[2])
    wanted = {header.sop_instance_uid for header in ordered[first:end]}
    volume = read_volume(list(files.paths.values()), only=wanted)
    assert "18.5 degrees" in volume.warnings[0]
    assert_slices_lie_where(volume, files.paths)


NO_COMPARISON = {
    # Retired JPEG processes, which no codec here decodes.
    "CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
    "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
    # A private syntax, which neither reads.
    "ELSCINT1-PMSCT_RLE1_private-compression.dcm",
    # The codestream is signed, the header says unsigned: GDCM believes the header, and air becomes 63,488.
    "TOSHIBA_J2K_SIZ1_PixRep0.dcm",
}
LOSSY_JPEG = {JPEGBaseline8Bit, JPEGExtended12Bit}


@pytest.mark.parametrize(
    ("folder", "images"),
    [("transfer-syntaxes", 34), ("nonsquare-reformats", 8), ("localizers", 2), ("gantry-tilt-ge", 28)],
)
def test_single_images_of_the_fixtures(ct_data: Path, folder: str, images: int) -> None:
    """Place and values of every image, also of those that make no volume: syntaxes, matrices, bits."""
    compared = 0
    for path in files_below(ct_data / "fixtures" / folder):
        header = read_header(path)
        if header is None or not header.planes or path.name in NO_COMPARISON:
            continue
        compared += 1
        (plane,), other, hu = header.planes, simpleitk_image(path), decode_frame(path, 0).hu
        assert hu is not None, path.name
        np.testing.assert_allclose(other.affine[:3, 3], plane.position_mm, atol=1e-3)
        rows, columns = plane.pixel_spacing_mm
        np.testing.assert_allclose(other.affine[:3, 0], np.array(plane.orientation[:3]) * columns, atol=1e-6)
        np.testing.assert_allclose(other.affine[:3, 1], np.array(plane.orientation[3:]) * rows, atol=1e-6)
        # Fractions are kept in single precision, whole numbers within 16 bits.
        step = 0.0 if hu.dtype == np.int16 else 1e-3
        if header.transfer_syntax_uid in LOSSY_JPEG:  # T.81 lets two decoders differ by one step
            step += float(dcmread(path, specific_tags=["RescaleSlope"]).RescaleSlope)
        values = np.clip(other.voxels[:, :, 0].T, -32768, 32767)
        np.testing.assert_allclose(hu, values, rtol=0, atol=step, err_msg=path.name)
    assert compared == images


def joined(images: list[Dataset], folder: Path, **options: bool) -> CTVolume:
    enhanced = as_enhanced(images, uid=f"{STUDY}.77", **options)
    return read_volume(save([enhanced], folder))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ["head first, supine", "feet first, prone", "oblique by 10 degrees"])
def test_an_enhanced_ct(name: str, shared: bool, tmp_path: Path) -> None:
    """Against both readers, and against the same images one by one."""
    images = marked_series(ORIENTATIONS[name])
    volume = joined(images, tmp_path / "s", shared=shared)
    single = read_volume(save(images, tmp_path / "single"))
    np.testing.assert_array_equal(volume.voxels_hu, single.voxels_hu)
    np.testing.assert_allclose(volume.affine, single.affine, atol=1e-9)
    dcm2niix_volume(tmp_path / "s", tmp_path / "out").assert_same(volume)
    simpleitk_volume(tmp_path / "s").assert_same(volume)


MODULES_OF_A_PATIENT = {
    "PatientName": "Doe^Jane", "PatientBirthDate": "", "PatientSex": "O", "StudyID": "1",
    "StudyDate": "20240101", "StudyTime": "100000", "AccessionNumber": "1", "ReferringPhysicianName": "",
    "FrameOfReferenceUID": "1.2.3", "PositionReferenceIndicator": "", "Manufacturer": "none",
    "ContentDate": "20240101", "ContentTime": "100000", "KVP": 120, "BurnedInAnnotation": "NO",
}  # fmt: skip


def test_a_legacy_converted_ct_that_another_library_made(tmp_path: Path) -> None:
    images = marked_series(ORIENTATIONS["head first, prone"])
    for image in images:
        image.update(MODULES_OF_A_PATIENT)
    converted = LegacyConvertedEnhancedCTImage(
        images, series_instance_uid=f"{STUDY}.7", series_number=9, sop_instance_uid=f"{STUDY}.7.1",
        instance_number=1,
    )  # fmt: skip
    volume = read_volume(save([converted], tmp_path / "s"))
    simpleitk_volume(tmp_path / "s").assert_same(volume)
    dcm2niix_volume(tmp_path / "s", tmp_path / "out").assert_same(volume)


def unsigned(k: int, image: Dataset) -> None:
    image.BitsStored, image.HighBit, image.PixelRepresentation = 12, 11, 0


def signed(k: int, image: Dataset) -> None:
    _store(image, _stored(image) - 1024)
    image.RescaleIntercept = 0


def signed_in_12_bits(k: int, image: Dataset) -> None:
    signed(k, image)
    image.BitsStored, image.HighBit = 12, 11
    _store(image, _stored(image) & 0xFFF)


def slope_of_two(k: int, image: Dataset) -> None:
    _store(image, _stored(image) // 2 + k)
    image.RescaleSlope = 2


def half_a_unit(k: int, image: Dataset) -> None:
    _store(image, _stored(image) * 2 + 1)
    image.RescaleSlope = 0.5


def rescale_per_slice(k: int, image: Dataset) -> None:
    _store(image, _stored(image) // (1 + k % 2))
    image.RescaleSlope, image.RescaleIntercept = 1 + k % 2, -1024 + k


def inverted_display(k: int, image: Dataset) -> None:
    image.PhotometricInterpretation = "MONOCHROME1"


def compressed(k: int, image: Dataset) -> None:
    image.compress((RLELossless, JPEG2000Lossless)[k % 2], generate_instance_uid=False)


def mixed_syntaxes(k: int, image: Dataset) -> None:
    if k % 4 < 2:
        image.compress((RLELossless, JPEGLSLossless)[k % 2], generate_instance_uid=False)
    elif k % 4 == 2:
        image.PixelData = _stored(image).astype(">i2").tobytes()
        image["PixelData"].VR = "OW"
        image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def odd_numbers(k: int, image: Dataset) -> None:
    image.InstanceNumber, image.SliceLocation = (k * 7) % 48, 1000 - 2 * k


BOTH = (simpleitk_volume, dcm2niix_volume)
STORED: dict[str, tuple[Callable[[int, Dataset], None], tuple[Callable[..., OtherVolume], ...]]] = {
    "unsigned": (unsigned, BOTH),
    "signed": (signed, BOTH),
    # dcm2niix does not extend the sign of less than 16 bits.
    "signed in 12 bits": (signed_in_12_bits, (simpleitk_volume,)),
    "slope of two": (slope_of_two, BOTH),
    "half a unit": (half_a_unit, BOTH),
    "rescale per slice": (rescale_per_slice, BOTH),
    # GDCM turns the values themselves round, which are Hounsfield units whatever they are shown as.
    "inverted display": (inverted_display, (dcm2niix_volume,)),
    "compressed": (compressed, BOTH),
    # dcm2niix knows no JPEG-LS.
    "mixed syntaxes": (mixed_syntaxes, (simpleitk_volume,)),
    "odd numbers": (odd_numbers, BOTH),
}


@pytest.mark.parametrize("name", STORED)
def test_every_way_of_storing_values(name: str, tmp_path: Path) -> None:
    change, readers = STORED[name]
    images = marked_series(ORIENTATIONS["head first, supine"])
    for k, image in enumerate(images):
        change(k, image)
    volume = read_volume(save(images, tmp_path / "s"))
    for reader in readers:
        extra = (tmp_path / reader.__name__,) if reader is dcm2niix_volume else ()
        reader(tmp_path / "s", *extra).assert_same(volume)


def _stored(image: Dataset) -> NDArray[np.int16]:
    return np.frombuffer(image.PixelData, "<i2").reshape(image.Rows, image.Columns)


def _store(image: Dataset, values: NDArray[np.integer]) -> None:
    image.PixelData = values.astype("<i2").tobytes()
