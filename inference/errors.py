"""Every way in which a study or an upload is refused: one code, one sentence, one remedy each.

    Refusal
    ├── UploadRefusal    what came is not a readable upload       not_dicom, not_a_zip, too_large, ...
    ├── SeriesRefusal    no series of the study can be analysed   no_ct_series, too_few_slices, ...
    └── VolumeRefusal    the chosen series cannot be read         missing_slices, no_lungs, ...

Codes are part of the node's contract (HTTP answers, ledger, structured reports): they are never renamed.
Neither sentence nor remedy may hold anything of a patient: numbers and UIDs only, never names or free text of
a tag.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.study_result import SeriesDecision


class RefusalCode(StrEnum):
    """Stable words for why a study or an upload is not analysed."""

    NO_CT_SERIES = "no_ct_series"
    TOO_FEW_SLICES = "too_few_slices"
    NOT_AXIAL = "not_axial"
    GANTRY_TILT = "gantry_tilt"
    MISSING_SLICES = "missing_slices"
    MIXED_GEOMETRY = "mixed_geometry"
    NO_LUNGS = "no_lungs"
    LUNGS_TRUNCATED = "lungs_truncated"
    UNREADABLE_PIXELS = "unreadable_pixels"
    IMAGES_REJECTED = "images_rejected"
    UNREADABLE_TEXT = "unreadable_text"
    NOT_DICOM = "not_dicom"
    NOT_A_ZIP = "not_a_zip"
    NOT_A_NIFTI = "not_a_nifti"
    TOO_LARGE = "too_large"
    UNSAFE_ARCHIVE = "unsafe_archive"
    MIXED_PATIENTS = "mixed_patients"
    MIXED_STUDIES = "mixed_studies"
    STUDY_NOT_FOUND = "study_not_found"
    UNPACKING_TOO_SLOW = "unpacking_too_slow"
    READING_TOO_SLOW = "reading_too_slow"
    NO_SPACE = "no_space"


REMEDIES: dict[RefusalCode, str] = {
    RefusalCode.NO_CT_SERIES: "Send a study that holds an original axial CT series of the chest.",
    RefusalCode.TOO_FEW_SLICES: "Send the complete series; the node needs coverage of the whole chest.",
    RefusalCode.NOT_AXIAL: "Send the axial series, not a reformat or a scout.",
    RefusalCode.GANTRY_TILT: "Send a series acquired or reformatted without gantry tilt.",
    RefusalCode.MISSING_SLICES: "Send the missing slices; the study is then analysed anew.",
    RefusalCode.MIXED_GEOMETRY: "Send each acquisition as a series of its own, in one orientation.",
    RefusalCode.NO_LUNGS: "Nothing needs to be done if this is not a chest CT; otherwise check the series.",
    RefusalCode.LUNGS_TRUNCATED: "Send a series that covers both lungs from apex to base.",
    RefusalCode.UNREADABLE_PIXELS: "Send the series again, uncompressed or in a lossless transfer syntax.",
    RefusalCode.IMAGES_REJECTED: "Nothing needs to be done; send the corrected images when there are some.",
    RefusalCode.UNREADABLE_TEXT: "Correct the character set (0008,0005) of the images and send them again.",
    RefusalCode.NOT_DICOM: "Send DICOM CT images.",
    RefusalCode.NOT_A_ZIP: "Pack the DICOM files as a plain ZIP; over HTTP, send it as the field 'file'.",
    RefusalCode.NOT_A_NIFTI: "Send a NIfTI volume (.nii or .nii.gz); over HTTP, as the field 'file'.",
    RefusalCode.TOO_LARGE: "Send one study at a time, or ask the administrator to raise the limit.",
    RefusalCode.UNSAFE_ARCHIVE: "Pack the files anew as a plain, unencrypted ZIP.",
    RefusalCode.MIXED_PATIENTS: "Send one study at a time, or ask for one by its Study Instance UID.",
    RefusalCode.MIXED_STUDIES: "Send one study at a time, or ask for one by its Study Instance UID.",
    RefusalCode.STUDY_NOT_FOUND: "Check the Study Instance UID, or send that study alone and ask for none.",
    RefusalCode.UNPACKING_TOO_SLOW: "Send one study at a time, or ask the administrator to raise the limit.",
    RefusalCode.READING_TOO_SLOW: "Send it uncompressed, or ask the administrator to raise the limit.",
    RefusalCode.NO_SPACE: "Tell the administrator; send the upload again when the node's disk has room.",
}


class Refusal(Exception):  # noqa: N818  # a refusal is an answer, not a fault
    """A study or upload that is not analysed.

    Parameters
    ----------
    code
        Stable word.
    sentence
        What is wrong, in plain words, for a technologist; nothing of a patient.
    """

    def __init__(self, code: RefusalCode, sentence: str) -> None:
        super().__init__(f"{code.value}: {sentence}")
        self.code = code
        self.sentence = sentence

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        return REMEDIES[self.code]


class UploadRefusal(Refusal):
    """What came by HTTP or from a folder is not a readable upload."""


class SeriesRefusal(Refusal):
    """No series of the study can be analysed; `decisions` says why, series by series."""

    def __init__(self, code: RefusalCode, sentence: str, decisions: tuple[SeriesDecision, ...] = ()) -> None:
        super().__init__(code, sentence)
        self.decisions = decisions


class VolumeRefusal(Refusal):
    """The chosen series cannot be made into a chest volume."""
