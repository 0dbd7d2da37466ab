from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from inference.dicom_files import files_below, one_study, read_header, read_headers
from inference.errors import Refusal, RefusalCode
from inference.instance_header import InstanceHeader
from tests.inference.synthetic import ct_image, ct_series, save


def test_what_is_no_dicom_is_counted(tmp_path: Path) -> None:
    save(ct_series(3), tmp_path / "dicom")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").write_bytes(b"")
    files = read_headers(files_below(tmp_path))
    assert len(files.headers) == len(files.paths) == 3
    assert files.ignored == {"not_dicom": 2}


def test_an_instance_in_two_files_counts_once(tmp_path: Path) -> None:
    save(ct_series(2), tmp_path / "a")
    save(ct_series(2), tmp_path / "b")
    files = read_headers(files_below(tmp_path))
    assert files.ignored == {"duplicate": 2}
    assert {path.parent.name for path in files.paths.values()} == {"a"}


def test_a_copy_that_was_cut_off_does_not_hide_the_whole_file(tmp_path: Path) -> None:
    (whole,) = save(ct_series(1), tmp_path / "b")
    (tmp_path / "a").mkdir()
    cut = tmp_path / "a" / whole.name
    cut.write_bytes(whole.read_bytes()[:-100])
    for paths in ([cut, whole], [whole, cut]):
        files = read_headers(paths)
        assert list(files.paths.values()) == [whole]
        assert files.ignored == {"duplicate": 1}


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    image = ct_image(0)
    path = tmp_path / "bare"
    dcmwrite(path, image, implicit_vr=False, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    header = read_header(path)
    assert header is not None
    assert header.sop_instance_uid == image.SOPInstanceUID


def test_nothing_that_is_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(Refusal) as caught:
        read_headers(files_below(tmp_path))
    assert caught.value.code is RefusalCode.NOT_DICOM


@pytest.mark.parametrize(
    "name", ["orthanc_2026-05-06-Deeply-Nested-Sequence.dcm", "pydicom_no_meta.dcm", "pydicom_LICENSE"]
)
def test_malformed_files_are_no_dicom(ct_data: Path, name: str) -> None:
    assert read_header(ct_data / "fixtures" / "malformed" / name) is None


def test_every_malformed_file_ends_in_a_header_or_in_none(ct_data: Path) -> None:
    files = [
        *files_below(ct_data / "fixtures" / "malformed"),
        *files_below(ct_data / "fixtures" / "charsets"),
    ]
    headers = [read_header(path) for path in files]
    assert sum(header is not None for header in headers) > 10


def headers(*images: Dataset) -> list[InstanceHeader]:
    return [InstanceHeader.from_dataset(image) for image in images]


def test_two_patients_and_two_studies_are_refused_unless_one_is_asked_for() -> None:
    first, other = ct_image(0), ct_image(1, PatientID="P2")
    with pytest.raises(Refusal) as caught:
        one_study(headers(first, other))
    assert caught.value.code is RefusalCode.MIXED_PATIENTS
    assert "P2" not in caught.value.sentence
    second_study = ct_image(1, StudyInstanceUID="1.2.3")
    with pytest.raises(Refusal) as caught:
        one_study(headers(first, second_study))
    assert caught.value.code is RefusalCode.MIXED_STUDIES
    assert [item.study_uid for item in one_study(headers(first, second_study), "1.2.3")] == ["1.2.3"]


def test_an_issuer_that_only_some_devices_write_makes_no_second_patient() -> None:
    assert len(one_study(headers(ct_image(0), ct_image(1, IssuerOfPatientID="HOSPITAL")))) == 2


def test_an_absent_patient_id_makes_no_second_patient() -> None:
    assert len(one_study(headers(ct_image(0), ct_image(1, PatientID="")))) == 2


def test_a_header_keeps_nothing_of_the_patient() -> None:
    image = ct_image(0, PatientID="SECRET-7", PatientName="Doe^Jane")
    assert "SECRET" not in repr(InstanceHeader.from_dataset(image))
    assert "Doe" not in repr(InstanceHeader.from_dataset(image))
