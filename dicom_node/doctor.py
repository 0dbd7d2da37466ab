"""What this machine lacks for a node to run: one line a check, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from dicom_node.activation import bundle_name, folder_in_use
from dicom_node.errors import NodeError, SiteProblem
from dicom_node.local_orthanc import find_orthanc, require_free_port
from dicom_node.settings import Settings
from models.bundle import BundleError, read_manifest, verify_files

_PLUGINS = Path("/usr/share/orthanc/plugins")
_NEEDED_PLUGINS = ("libOrthancPython.so", "libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it is as needed, and what was found or is to be done."""

    name: str
    passed: bool
    words: str


def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which one would mend them."""
    return [
        _python_packages(),
        _check("Orthanc", find_orthanc),
        _plugins(),
        *_ports(settings),
        _bundle(settings),
        _data_folder(settings),
    ]


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except NodeError as error:
        return Check(name, False, str(error))


def _python_packages() -> Check:
    """Every requirement of this distribution, as its metadata states them."""
    try:
        listed = [Requirement(line) for line in distribution("dicom-node").requires or []]
    except PackageNotFoundError:
        return Check("Python packages", False, "dicom-node itself is not installed: make setup")
    requirements = [item for item in listed if item.marker is None or item.marker.evaluate({"extra": ""})]
    wrong = [str(item) for item in requirements if not _satisfied(item)]
    if wrong:
        return Check("Python packages", False, f"{', '.join(wrong)}: make setup")
    return Check("Python packages", True, f"{len(requirements)} requirements met")


def _satisfied(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _plugins() -> Check:
    absent = [name for name in _NEEDED_PLUGINS if not (_PLUGINS / name).exists()]
    if absent:
        return Check(
            "Orthanc plug-ins",
            False,
            f"no {', '.join(absent)}: apt-get install orthanc-python orthanc-dicomweb",
        )
    return Check("Orthanc plug-ins", True, str(_PLUGINS))


def _ports(settings: Settings) -> Iterator[Check]:
    wanted = [
        (settings.http.port, "the node's HTTP (setting http.port)", settings.http.host),
        (urlsplit(settings.orthanc.url).port or 8042, "Orthanc's HTTP (setting orthanc.url)", "0.0.0.0"),  # noqa: S104
        (settings.orthanc.dicom_port, "Orthanc's DICOM (setting orthanc.dicom_port)", "0.0.0.0"),  # noqa: S104
    ]
    for port, purpose, host in wanted:

        def free(port: int = port, purpose: str = purpose, host: str = host) -> str:
            require_free_port(port, purpose, host)
            return f"free, for {purpose}"

        yield _check(f"port {port}", free)


def _bundle(settings: Settings) -> Check:
    name = "bundle"
    try:
        folder = folder_in_use(settings)
        name = f"bundle {bundle_name(settings, folder)}"
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
    except (BundleError, SiteProblem) as error:
        return Check(name, False, str(error))
    kind = "demonstration, not for diagnosis" if manifest.demonstration else manifest.intended_use
    return Check(name, True, f"version {manifest.version}, every file as listed ({kind})")


def _data_folder(settings: Settings) -> Check:
    """The folder, or the first of its parents that exists, can be written to."""
    folder = settings.data_folder.resolve()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    words = str(folder) if writable else f"{existing} cannot be written to: set data_folder, or its owner"
    return Check("data folder", writable, words)
