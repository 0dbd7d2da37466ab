"""`dicom-node volume`: the HU volume that the node would analyse, as NIfTI, and why it is this one.

For people who debug a site's data; no bundle and no network is needed. A series that is refused for its lungs
is written all the same: then its volume is what one wants to look at.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dicom_node.data_folder import DataFolder
from dicom_node.errors import describe_fault
from dicom_node.settings import Settings
from dicom_node.upload_study import uploaded_study
from dicom_node.uploads import Upload, receive_paths
from inference.densitometry import densitometry
from inference.errors import Refusal
from inference.lung_coverage import cut_off_warnings, open_ends, refuse_truncated
from inference.lungs import find_lungs
from inference.nifti import read_nifti
from inference.study_result import SeriesDecision
from inference.volume import CTVolume, read_volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class VolumeAnswer:
    """What was written and found.

    `code` is that of a refusal, or `not_found` or `fault`, with its sentence; None where all is well.
    """

    content: dict[str, Any]
    code: str | None
    sentence: str = ""


def volume_answer(
    paths: Sequence[Path], out: Path, settings: Settings, *, study_uid: str | None = None
) -> VolumeAnswer:
    """Write the volume of folders, ZIPs and DICOM files, or of one NIfTI volume, to `out`, and describe it.

    Parameters
    ----------
    out
        `.nii` or `.nii.gz`; replaced where it exists, left alone where there is no volume.
    study_uid
        The study to read, where there are several.

    Returns
    -------
    VolumeAnswer
        Also for what is refused, with as much as is known by then.
    """
    uploads = DataFolder(settings.data_folder).uploads
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    known: dict[str, Any] = {
        "refusal": None, "file": None, "study_uid": None, "series_uid": None, "geometry": None,
        "lungs": None, "warnings": [], "series": [],
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(dir=uploads) as folder:
            upload = replace(receive_paths(paths, settings.http, Path(folder)), study_uid=study_uid)
            _describe(_volume(upload, known, settings.worker.reading_timeout_s), out, known)
    except Refusal as refusal:
        known["series"] = known["series"] or _listed(getattr(refusal, "decisions", ()))
        code, sentence, remedy = refusal.code.value, refusal.sentence, refusal.remedy
    except FileNotFoundError as error:
        code, sentence, remedy = "not_found", str(error), ""
    except Exception as error:  # noqa: BLE001 - a program reads this output: it gets JSON, without a tag's value
        code, sentence, remedy = "fault", describe_fault(error), ""
    else:
        return VolumeAnswer(known, None)
    known["refusal"] = {"code": code, "sentence": sentence, "remedy": remedy}
    return VolumeAnswer(known, code, sentence)


def write_nifti(volume: CTVolume, out: Path) -> None:
    """The voxels as they are (column, row, slice), with the affine in RAS mm as sform.

    A qform is written too unless the volume is sheared (a tilted gantry), which none can say.
    """
    affine = _LPS_TO_RAS @ volume.affine
    image = nibabel.Nifti1Image(volume.voxels_hu.transpose(2, 1, 0), affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.set_sform(affine, code="scanner")  # type: ignore[no-untyped-call]
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sheared = not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
    form = (None, "unknown") if sheared else (affine, "scanner")
    image.set_qform(*form)  # type: ignore[no-untyped-call]
    nibabel.save(image, out)


def summary(answer: VolumeAnswer) -> str:
    """The answer for a person, a line for each fact; nothing of the refusal."""
    content = answer.content
    lines = [
        f"{'chosen' if item['chosen'] else 'not chosen'}  {item['series_uid']}  {item['sentence']}"
        for item in content["series"]
    ]
    if content["geometry"] is not None:
        shape, spacing = content["geometry"]["shape"], content["geometry"]["spacing_mm"]
        lines.append(
            f"{' x '.join(map(str, shape))} voxels (slices, rows, columns),"
            f" {' x '.join(f'{step:.4g}' for step in spacing)} mm, {content['geometry']['voxels']}"
        )
    if content["lungs"] is not None:
        left, right = content["lungs"]["left_ml"], content["lungs"]["right_ml"]
        lines.append(f"lungs: {left:.0f} ml left, {right:.0f} ml right")
    lines += [f"warning: {warning}" for warning in content["warnings"]]
    if content["file"] is not None:
        lines.append(f"written: {content['file']}")
    return "\n".join(lines)


def _volume(upload: Upload, known: dict[str, Any], reading_timeout_s: float) -> CTVolume:
    if upload.kind == "nifti":
        return read_nifti(upload.files[0], name=upload.name)
    study = uploaded_study(upload, reading_timeout_s)
    choice = study.choose()
    known["series"] = _listed(choice.decisions)
    known["study_uid"], known["series_uid"] = choice.study_uid, choice.series_uid
    known["warnings"] = list(choice.warnings)
    return read_volume(
        study.files.series(choice),
        only=frozenset(choice.sop_instance_uids),
        deadline=time.monotonic() + reading_timeout_s,
    )


def _describe(volume: CTVolume, out: Path, known: dict[str, Any]) -> None:
    """Write the volume and add to `known` what is to be said of it, as far as a refusal lets it come."""
    write_nifti(volume, out)
    known["file"] = str(out)
    known["study_uid"], known["series_uid"] = volume.study_uid, volume.series_uid
    known["geometry"] = {
        "shape": list(volume.voxels_hu.shape),
        "spacing_mm": list(volume.spacing_mm),
        "affine_lps": volume.affine.tolist(),
        "affine_ras": (_LPS_TO_RAS @ volume.affine).tolist(),
        "voxels": str(volume.voxels_hu.dtype),
        "minimum_hu": float(volume.voxels_hu.min()),
        "maximum_hu": float(volume.voxels_hu.max()),
    }
    known["warnings"] += volume.warnings
    lungs = find_lungs(volume)
    ends = open_ends(lungs)
    measured = densitometry(volume, lungs)
    known["lungs"] = {
        "left_ml": measured.columns["left_lung_volume_ml"],
        "right_ml": measured.columns["right_lung_volume_ml"],
        "cut_off": [asdict(end) for end in ends],
        "measurements": [asdict(measurement) for measurement in measured.measurements],
    }
    known["warnings"] += cut_off_warnings(ends)
    refuse_truncated(lungs)


def _listed(decisions: Sequence[SeriesDecision]) -> list[dict[str, Any]]:
    return [asdict(decision) for decision in decisions]
