import io
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from phantom import identity
from phantom.cases import FINDINGS, Case
from phantom.dicom import Series, write_series
from phantom.grid import centred_grid
from phantom.identity import draw_identity
from phantom.render import acquisition_grid, render, thorax
from phantom.scene import LUNG, STANDARD
from phantom.studies import chest_study, head_study, quality_study

SMALL = centred_grid((2.5, 6.0, 5.0), (6, 60, 70))
NAMES = [identity.LATIN_1_NAME, identity.CYRILLIC_NAME, identity.JAPANESE_NAME, identity.UNICODE_NAME]


def _saved(dataset):
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return pydicom.dcmread(file)


def _renamed(study, name):
    return replace(
        study, study=replace(study.study, identity=identity.with_name(study.study.identity, *name))
    )


def _dciodvfy(dataset, path: Path) -> list[str]:
    dataset.save_as(path, enforce_file_format=True)
    done = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "CTImage" in lines
    return [line for line in lines if line.startswith("Error")]


@pytest.mark.parametrize(
    "study",
    [
        chest_study(Case(1, ("Emphysema",)), grid=SMALL, localizer=True, kernels=(STANDARD, LUNG)),
        *(_renamed(chest_study(Case(2, ()), grid=SMALL), name) for name in NAMES),
        head_study(3, grid=SMALL),
        quality_study(4, grid=SMALL),
    ],
    ids=["chest", "latin", "cyrillic", "japanese", "unicode", "head", "quality"],
)
def test_every_series_conforms(study, tmp_path):
    firsts = {dataset.SeriesNumber: dataset for dataset in study.datasets()}
    for number, dataset in firsts.items():
        assert _dciodvfy(dataset, tmp_path / f"{number}.dcm") == []


@pytest.mark.parametrize("name", NAMES)
def test_names_survive_their_character_set(name):
    study = _renamed(chest_study(Case(2, ()), grid=SMALL), name)
    read = _saved(next(study.datasets()))
    assert str(read.PatientName) == name[0]
    assert read.get("SpecificCharacterSet") == (name[1] if len(name) == 2 else ["", name[2]])


def test_files_hold_the_voxels_and_where_they_are(tmp_path):
    case = Case(9, ("Consolidation",))
    volume = render(case, SMALL)
    study = chest_study(case).study
    paths = write_series(volume, SMALL, tmp_path / "new", study, Series(2, "CT Chest", "STANDARD"))
    images = [pydicom.dcmread(path) for path in paths]
    for image, plane, z in zip(images, volume, SMALL.z_mm, strict=True):
        hounsfield = image.pixel_array * image.RescaleSlope + image.RescaleIntercept
        np.testing.assert_array_equal(hounsfield, plane)
        assert image.ImagePositionPatient == pytest.approx(
            [SMALL.origin_mm[0], SMALL.origin_mm[1], z], abs=1e-3
        )
        assert image.PixelSpacing == [6.0, 5.0]
        assert image.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert len({image.SOPInstanceUID for image in images}) == 6
    assert (
        len(
            {(image.SeriesInstanceUID, image.StudyInstanceUID, image.FrameOfReferenceUID) for image in images}
        )
        == 1
    )
    assert [path.name for path in paths] == [f"S002I{n:05d}.dcm" for n in range(1, 7)]


@pytest.mark.parametrize("numbering", ["ascending", "descending", "shuffled"])
def test_instance_numbers_run_as_asked(numbering):
    images = list(chest_study(Case(1, ()), grid=SMALL, numbering=numbering).datasets())
    heights = [image.ImagePositionPatient[2] for image in images]
    assert heights == sorted(heights)
    numbers = [int(image.InstanceNumber) for image in images]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    expected = {"ascending": numbers == sorted(numbers), "descending": numbers == sorted(numbers)[::-1]}
    assert expected.get(numbering, numbers not in (sorted(numbers), sorted(numbers)[::-1]))


def test_neither_headers_nor_numbers_tell_the_findings():
    """The same person ill and well: nothing differs but pixels, and UIDs and numbers that are digests."""
    digests = {
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
        "AccessionNumber",
        "StudyID",
    }
    headers = []
    for findings in ((), FINDINGS):
        image = next(chest_study(Case(12, findings), grid=SMALL).datasets())
        headers.append({e.keyword: e.value for e in image if e.keyword not in digests | {"PixelData"}})
        text = str(image).lower()
        assert not any(word.lower() in text for word in FINDINGS)
    assert headers[0] == headers[1]


def test_uids_are_the_cases_own_unless_salted():
    def uids(**options):
        images = chest_study(Case(1, ()), grid=SMALL, **options).datasets()
        return [(image.StudyInstanceUID, image.SOPInstanceUID) for image in images]

    assert uids() == uids()
    assert not set(uids()) & set(uids(salt="again"))
    assert all(uid.is_valid and uid.startswith("2.25.") for pair in uids() for uid in pair)


def test_a_localizer_and_a_second_kernel_are_series_of_their_own():
    study = chest_study(
        Case(1, ()), grid=SMALL, localizer=True, kernels=(STANDARD, LUNG), numbering="descending"
    )
    series = {}
    for image in study.datasets():
        series.setdefault(image.SeriesInstanceUID, []).append(image)
    scout, standard, lung = series.values()
    assert len(scout) == 1
    assert list(scout[0].ImageType) == ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    assert list(scout[0].ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert (standard[0].ConvolutionKernel, lung[0].ConvolutionKernel) == ("STANDARD", "LUNG")
    assert standard[0].pixel_array.std() != lung[0].pixel_array.std()
    assert len({image.FrameOfReferenceUID for images in series.values() for image in images}) == 1


def test_the_header_is_true_to_the_person():
    for seed in range(6):
        case = Case(seed, ())
        image = next(chest_study(case, grid=SMALL).datasets())
        habitus = thorax(case).habitus
        assert image.PatientSex == ("F" if habitus.female else "M")
        assert ("ContrastBolusAgent" in image) == habitus.contrast
        assert image.BodyPartExamined == "CHEST"
        assert "Phantom" in str(image.PatientName)
        assert image.Manufacturer.startswith("Synthetic")


def test_an_identity_belongs_to_its_seed():
    assert draw_identity(3, female=True) == draw_identity(3, female=True)
    assert draw_identity(3, female=True).patient_id != draw_identity(4, female=True).patient_id


def test_images_are_made_one_at_a_time():
    """A study is sent while it is made: the first image is there before the second is asked for."""
    case = Case(1, ())
    images = chest_study(case, grid=acquisition_grid(case)).datasets()
    first = next(images)
    assert first.pixel_array.shape == (512, 512)
    images.close()
