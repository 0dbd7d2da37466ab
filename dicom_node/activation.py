"""Which bundle is asked for and which is in use: `active_bundle.json` in the data folder.

    {"requested": {"name": "b", "digest": "..."}, "in_use": {"name": "a", "digest": "..."},
     "previous": null, "at": "2026-03-01T10:15:00+00:00", "refused": null}

A person's request changes `requested`; the process that takes studies in changes the rest, once it has
switched or could not. Until something is activated there is no file, and the setting `worker.bundle` counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dicom_node.data_folder import write_anew
from dicom_node.errors import SiteProblem
from dicom_node.settings import Settings

FILE = "active_bundle.json"
_LOCK = "active_bundle.lock"


@dataclass(frozen=True)
class BundleChoice:
    """A bundle as it was verified: name below `worker.bundles_folder` or folder, and digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class Activation:
    """What is asked for, what is in use, and what was before it.

    `at` is the time of the last change (ISO 8601), `refused` the sentence that says why `requested` is not
    in use and is not tried again.
    """

    requested: BundleChoice
    in_use: BundleChoice
    previous: BundleChoice | None
    at: str
    refused: str | None = None

    @property
    def pending(self) -> bool:
        """Whether a switch is still to be made."""
        return self.requested != self.in_use and self.refused is None

    @property
    def taken_back(self) -> BundleChoice | None:
        """What comes back when the last activation is taken back."""
        return self.in_use if self.pending else self.previous


_ADAPTER = TypeAdapter(Activation)


@dataclass(frozen=True)
class ActivationBook:
    """The file of one data folder; every change is whole or not at all, whenever a process dies."""

    data_folder: Path

    def read(self) -> Activation | None:
        """What stands there, None where nothing was ever activated.

        Raises
        ------
        SiteProblem
            If the file cannot be read.
        """
        file = self.data_folder / FILE
        try:
            return _ADAPTER.validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise SiteProblem(
                f"{file} cannot be read: activate a bundle anew, or remove it for worker.bundle"
            ) from error

    def request(self, choice: BundleChoice, in_use: BundleChoice) -> Activation:
        """A person asks for a bundle; `in_use` is the one in use where nothing was activated before."""

        def requested(now: Activation | None) -> Activation:
            if now is None:
                return Activation(choice, in_use, None, _now())
            return replace(now, requested=choice, refused=None, at=_now())

        return self._change(requested)

    def switched(self, choice: BundleChoice) -> None:
        """`choice` is in use now."""

        def in_use(now: Activation | None) -> Activation:
            if now is None:
                return Activation(choice, choice, None, _now())
            if now.in_use == choice:
                return now
            return replace(now, in_use=choice, previous=now.in_use, at=_now())

        self._change(in_use)

    def refused(self, choice: BundleChoice, sentence: str) -> None:
        """`choice` could not be taken into use; another request that came meanwhile stays as it is."""

        def marked(now: Activation | None) -> Activation:
            if now is None:
                raise SiteProblem(f"{FILE} is gone")
            if now.requested != choice:
                return now
            return replace(now, refused=sentence, at=_now())

        self._change(marked)

    def _change(self, change: Callable[[Activation | None], Activation]) -> Activation:
        try:
            self.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                try:
                    before = self.read()
                except SiteProblem:
                    before = None  # a file that says nothing is replaced by one that does
                after = change(before)
                if after != before:
                    self._write(after)
        except OSError as error:
            raise SiteProblem(f"{self.data_folder / FILE} cannot be written: {error.strerror}") from error
        return after

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process changes the file at a time."""
        descriptor = os.open(self.data_folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, activation: Activation) -> None:
        text = json.dumps(asdict(activation), ensure_ascii=False, indent=1)
        write_anew(self.data_folder / FILE, text.encode())


def bundle_name(settings: Settings, folder: Path) -> str:
    """How a bundle's folder is written down: its name below `worker.bundles_folder`, else its whole path."""
    named = settings.worker.bundles_folder.resolve()
    return folder.resolve().name if folder.resolve().parent == named else str(folder.resolve())


def folder_of(settings: Settings, choice: BundleChoice) -> Path:
    """The folder of a bundle that was chosen."""
    return settings.worker.bundles_folder / choice.name


def folder_in_use(settings: Settings) -> Path:
    """The folder of the bundle that answers: the activated one, else that of the setting `worker.bundle`."""
    activation = ActivationBook(settings.data_folder).read()
    return folder_of(settings, activation.in_use) if activation is not None else settings.bundle_folder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
