"""The viewer's files onto this machine: fetched by npm or given as a file, checked, unpacked whole or not."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.errors import SiteProblem
from dicom_node.viewer.package import ViewerPackage, is_served

RECORD = "installed.json"
"""In the folder: the package and the names of its files. Written last."""
_DIST = "package/dist/"
_LICENSE = "package/LICENSE"
_NPM_TIMEOUT_S = 600
_LARGEST_FILE = 64 << 20
_LARGEST_TOTAL = 512 << 20
_COMPRESSED = (".js", ".css", ".svg", ".wasm", ".json")
_WORTH_COMPRESSING = 4096


def installed_package(folder: Path) -> str | None:
    """Digest of the package that lies in `folder`, None where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SiteProblem(f"{folder / RECORD} cannot be read; remove {folder} and install again") from error
    return str(record["integrity"])


def install(package: ViewerPackage, folder: Path, tarball: Path | None = None) -> None:
    """Put the package's files into `folder`, in the place of those that may be there.

    Parameters
    ----------
    tarball
        The npm tarball, where it was fetched by other means; without it npm is asked for it.

    Raises
    ------
    SiteProblem
        If npm is absent or fails, the tarball is not the one that the digest was taken of, or the folder
        cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            _install(package, folder, tarball, Path(scratch))
    except OSError as error:
        raise SiteProblem(f"the viewer cannot be written to {folder}: {error.strerror}") from error


def _install(package: ViewerPackage, folder: Path, tarball: Path | None, scratch: Path) -> None:
    source = tarball if tarball is not None else _fetched(package, scratch)
    if not source.is_file():
        raise SiteProblem(f"there is no file {source}")
    if not package.matches(source):
        raise SiteProblem(f"{source.name} is not {package.specifier}: its sha512 is another one")
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    names = sorted(_unpack(source, unpacked))
    if "index.html" not in names:
        raise SiteProblem(f"{package.specifier} has no index.html")
    record = {
        "name": package.name,
        "version": package.version,
        "integrity": package.integrity,
        "files": names,
    }
    (unpacked / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
    unpacked.chmod(0o755)
    if folder.exists():
        folder.rename(scratch / "before")
    unpacked.rename(folder)


def _fetched(package: ViewerPackage, scratch: Path) -> Path:
    """The tarball as npm fetches it, from whatever registry this machine's npm is set to."""
    npm = shutil.which("npm")
    if npm is None:
        raise SiteProblem(
            "npm is not installed: apt-get install npm, or fetch the package elsewhere"
            f" (npm pack {package.specifier}) and give it with --from"
        )
    # In a folder of its own: npm obeys a .npmrc or package.json that it finds beside it.
    place = scratch / "fetched"
    place.mkdir()
    command = [npm, "pack", "--ignore-scripts", package.specifier]
    try:
        subprocess.run(  # noqa: S603 - the program found above, our own arguments
            command, cwd=place, check=True, capture_output=True, timeout=_NPM_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise SiteProblem(f"npm pack {package.specifier} failed: {words[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise SiteProblem(f"npm pack {package.specifier} took longer than {_NPM_TIMEOUT_S} s") from error
    found = list(place.glob("*.tgz"))
    if len(found) != 1:
        raise SiteProblem(f"npm pack {package.specifier} left no package")
    return found[0]


def _unpack(tarball: Path, target: Path) -> Iterator[str]:
    """Write the files that are served, and give their names; nothing but plain files at plain names."""
    total = 0
    with _opened(tarball) as archive:
        for member in archive:
            name = "LICENSE" if member.name == _LICENSE else member.name.removeprefix(_DIST)
            wanted = member.name == _LICENSE or (member.name.startswith(_DIST) and is_served(name))
            if not (member.isreg() and wanted):
                continue
            total += member.size
            if member.size > _LARGEST_FILE or total > _LARGEST_TOTAL:
                raise SiteProblem(f"{tarball.name} is larger than a viewer can be")
            source = archive.extractfile(member)
            if source is None:  # pragma: no cover - only for members that are no files
                continue
            path = target / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            data = source.read()
            path.write_bytes(data)
            if name.endswith(_COMPRESSED) and member.size >= _WORTH_COMPRESSING:
                # Once, here: the largest script is 17 MB, and a browser asks for it at every first visit.
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data, 6, mtime=0))
            yield name


@contextmanager
def _opened(tarball: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            yield archive
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise SiteProblem(f"{tarball.name} is not an npm package") from error
