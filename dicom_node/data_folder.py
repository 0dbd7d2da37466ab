"""The data folder: all that a node writes, and how a file in it comes to be.

ledger.sqlite  workflows.sqlite     the record of every study, the store of durable steps (unless PostgreSQL)
installation                        UID of this installation, made once
work/<key>/                         fetched files; gone when the workflow ends
results/<key>/                      result.json, saliency.npz, sr.dcm, sc-1.dcm ...; written once
uploads/<id>/                       files of an upload; gone when its answer is out
active_bundle.json (and .lock)      which bundle is asked for and in use, once one was activated
executor-<name>.lock  intake.lock   held by the process of that name, and by the one that takes studies in
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import ExecutorTaken, SiteProblem


@dataclass(frozen=True)
class DataFolder:
    """Where things lie below `root`."""

    root: Path

    @property
    def uploads(self) -> Path:
        """Folders of uploads."""
        return self.root / "uploads"

    @property
    def ledger_url(self) -> str:
        """SQLite database of the ledger."""
        return f"sqlite:///{self.root.resolve() / 'ledger.sqlite'}"

    @property
    def workflows_url(self) -> str:
        """SQLite database of durable steps."""
        return f"sqlite:///{self.root.resolve() / 'workflows.sqlite'}"

    def work(self, key: str) -> Path:
        """Fetched files of a key."""
        return self.root / "work" / key

    def results(self, key: str) -> Path:
        """Result and objects of a key."""
        return self.root / "results" / key

    def result_file(self, key: str) -> Path:
        """The stored answer of a key."""
        return self.results(key) / "result.json"

    def saliency_file(self, key: str) -> Path:
        """The saliency of the located findings of a key (`inference.saliency_file`); not of every answer."""
        return self.results(key) / "saliency.npz"

    def create(self) -> None:
        """Make the folders; only the node's own user may look into them.

        Raises
        ------
        SiteProblem
            If they cannot be made.
        """
        try:
            for folder in (self.root, self.root / "work", self.root / "results", self.uploads):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SiteProblem(f"the data folder {self.root} cannot be used: {error.strerror}") from error

    def executor_lock(self, executor_id: str) -> ProcessLock:
        """Held by the process that works under this name: two of one name would do the same step twice."""
        return ProcessLock(
            self.root / f"executor-{executor_id}.lock",
            f"another node works in {self.root} under this name: stop it, or set another data_folder or"
            " worker.executor_id",
        )

    def intake_lock(self) -> ProcessLock:
        """Held by the process that takes studies and uploads in."""
        return ProcessLock(
            self.root / "intake.lock",
            f"another node takes studies in for {self.root}: stop it, set another data_folder, or start a"
            " further worker with 'dicom-node worker'",
        )

    def installation_uid(self) -> str:
        """UID of this installation (PS3.5 B.2, derived from a UUID), the same ever after."""
        file = self.root / "installation"
        if not file.exists():
            write_once(file, f"2.25.{uuid.uuid4().int}\n".encode())
        return file.read_text(encoding="ascii").strip()

    def remove_orphans(self, keys: Iterable[str], uploads: Iterable[Path]) -> None:
        """Remove fetched files and uploads that no unfinished work names (left by a kill)."""
        wanted = {self.work(key).resolve() for key in keys} | {upload.resolve() for upload in uploads}
        for folder in (*(self.root / "work").iterdir(), *self.uploads.iterdir()):
            if folder.resolve() in wanted:
                continue
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.unlink(missing_ok=True)


class ProcessLock:
    """What one process has at a time; the kernel lifts the lock however the process ends.

    `taken` is the sentence for a person who starts a second one.
    """

    def __init__(self, file: Path, taken: str) -> None:
        self._file = file
        self._taken = taken
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it; once more changes nothing.

        Raises
        ------
        ExecutorTaken
            If another living process has it.
        SiteProblem
            If nothing can be written there.
        """
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SiteProblem(f"{self._file} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ExecutorTaken(self._taken) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_once(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all, whenever the process dies; one that exists stays as it is."""
    if path.exists():
        return
    with _written_beside(path, data) as partial, suppress(FileExistsError):  # another process was first
        path.hardlink_to(partial)


def write_anew(path: Path, data: bytes) -> None:
    """Write a file in the place of one that may be there; whoever reads finds one or the other, whole."""
    with _written_beside(path, data) as partial:
        partial.replace(path)


@contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """The data in a file of another name, on the disk; it is for the caller to give it the name `path`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
