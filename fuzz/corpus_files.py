"""Inputs on disk: what was found before, and, on request, files of other origin to begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from fuzz.seeds import packed
from fuzz.target import Target

CORPUS = Path(__file__).resolve().parent / "corpus"
LARGEST_INPUT = 1 << 18
_ENDINGS = {"archive": (".zip",), "nifti": (".nii", ".nii.gz")}


def corpus(name: str) -> list[Path]:
    """The inputs that are kept for a target."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())


def write_seeds(target: Target, folder: Path, others: Path | None) -> None:
    """Everything that a target begins with, as files named by their content."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in (
        *target.seeds(),
        *(path.read_bytes() for path in corpus(target.name)),
        *_other(target.name, others),
    ):
        if len(content) <= LARGEST_INPUT:
            (folder / hashlib.sha256(content).hexdigest()[:20]).write_bytes(content)


def _other(name: str, folder: Path | None) -> Iterator[bytes]:
    """Files below a folder that are what a target reads: by name, any file, or the files of each folder."""
    if folder is None or name == "request":
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if name == "series":
        for parent in sorted({path.parent for path in files}):
            yield packed([path.read_bytes() for path in _small(files) if path.parent == parent][:40])
        return
    endings = _ENDINGS.get(name)
    for path in _small(files):
        if endings is None or path.name.endswith(endings):
            yield path.read_bytes()


def _small(files: Iterable[Path]) -> list[Path]:
    return [path for path in files if path.stat().st_size <= LARGEST_INPUT]
