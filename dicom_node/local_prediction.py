"""One answer about files of this machine, without server, archive or ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dicom_node.activation import folder_in_use
from dicom_node.analysis import load_analyser
from dicom_node.data_folder import DataFolder
from dicom_node.settings import Settings
from dicom_node.upload_study import uploaded_study
from dicom_node.uploads import Upload, receive_paths
from inference.errors import SeriesRefusal, VolumeRefusal
from inference.study_result import StudyResult

Progress = Callable[[str, float], None]


def find_bundle(settings: Settings, name_or_folder: str | None) -> Path:
    """Folder of a bundle: a path to one, a name below `worker.bundles_folder`, or the active one for None.

    Raises
    ------
    FileNotFoundError
        Naming both places, if neither holds a bundle.
    """
    if name_or_folder is None:
        return folder_in_use(settings)
    named = settings.worker.bundles_folder / name_or_folder
    for folder in (Path(name_or_folder), named):
        if (folder / "bundle.toml").is_file():
            return folder
    raise FileNotFoundError(f"no bundle.toml in {name_or_folder} or {named}")


def predict_paths(
    paths: Sequence[Path],
    settings: Settings,
    bundle_folder: Path,
    progress: Progress | None = None,
    *,
    study_uid: str | None = None,
) -> StudyResult:
    """The answer about folders, ZIPs and DICOM files, or about one NIfTI volume.

    Of several studies, `study_uid` names the one to read; without it they are refused.
    Archives are unpacked below the data folder, and removed when the answer is there.

    Raises
    ------
    inference.errors.Refusal
        If there is nothing to analyse.
    FileNotFoundError
        If a path does not exist.
    models.bundle.BundleError
        If the bundle cannot be used.
    """
    uploads = DataFolder(settings.data_folder).uploads
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=uploads) as folder:
        upload = replace(receive_paths(paths, settings.http, Path(folder)), study_uid=study_uid)
        return _analyse(upload, settings, bundle_folder, progress)


def _analyse(
    upload: Upload, settings: Settings, bundle_folder: Path, progress: Progress | None
) -> StudyResult:
    if upload.kind == "nifti":
        analyser = load_analyser(settings.worker, bundle_folder)
        return analyser.analyse_nifti(upload.files[0], name=upload.name, progress=progress)
    # Headers first: a study that is refused by them need not wait for the networks.
    study = uploaded_study(upload, settings.worker.reading_timeout_s)
    choice = study.choose()
    analyser = load_analyser(settings.worker, bundle_folder)
    try:
        return analyser.analyse(study.files.series(choice), choice, progress=progress)
    except VolumeRefusal as refusal:  # with what became of the other series
        raise SeriesRefusal(refusal.code, refusal.sentence, choice.decisions) from refusal
