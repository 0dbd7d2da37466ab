"""The viewer's package onto this machine: the right one, whole, and nothing else from it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import SiteProblem
from dicom_node.viewer.files import ViewerFiles
from dicom_node.viewer.install import install, installed_package
from dicom_node.viewer.package import OHIF, ViewerPackage

SCRIPT = b"console.log('viewer');\n" * 500
INDEX = b"<!doctype html><title>viewer</title><script>one()</script><script src='/a.js'></script>"
PLAIN = {"package/dist/index.html": INDEX, "package/dist/a.js": SCRIPT, "package/LICENSE": b"MIT"}


def packed(folder: Path, files: dict[str, bytes], *members: tarfile.TarInfo) -> tuple[ViewerPackage, Path]:
    """An npm tarball with these files and members, and the package whose digest it has."""
    tarball = folder / "viewer.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    return ViewerPackage("viewer", "1.0.0", f"sha512-{digest}"), tarball


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_files_are_there_with_a_compressed_copy_and_the_licence(tmp_path: Path) -> None:
    package, tarball = packed(tmp_path, PLAIN)
    folder = tmp_path / "viewer"
    install(package, folder, tarball)
    assert installed_package(folder) == package.integrity
    assert files_below(folder) == {"index.html", "a.js", "a.js.gz", "LICENSE", "installed.json"}
    assert gzip.decompress((folder / "a.js.gz").read_bytes()) == SCRIPT == (folder / "a.js").read_bytes()
    assert json.loads((folder / "installed.json").read_text())["files"] == ["LICENSE", "a.js", "index.html"]
    assert (folder / "a.js").stat().st_mode & 0o444 == 0o444, "another user runs the node"


def test_another_version_takes_the_place_of_the_one_before_while_the_node_runs(tmp_path: Path) -> None:
    folder = tmp_path / "viewer"
    first, tarball = packed(tmp_path, PLAIN)
    install(first, folder, tarball)
    files = ViewerFiles(folder)
    assert files.find("a.js") is not None
    second, tarball = packed(
        tmp_path, {"package/dist/index.html": INDEX + b"<p>2", "package/dist/b.js": b"2"}
    )
    install(second, folder, tarball)
    assert installed_package(folder) == second.integrity
    assert files.find("a.js") is None
    assert files.find("b.js") is not None
    index = files.index()
    assert index is not None
    assert index.html.endswith(b"<p>2")
    assert {path.name for path in tmp_path.iterdir()} == {"viewer", "viewer.tgz"}, "nothing is left over"


def test_a_tarball_with_another_digest_is_refused_and_what_was_there_stays(tmp_path: Path) -> None:
    package, tarball = packed(tmp_path, PLAIN)
    install(package, tmp_path / "viewer", tarball)
    tarball.write_bytes(tarball.read_bytes() + b"\0")
    with pytest.raises(SiteProblem, match="its sha512 is another one"):
        install(package, tmp_path / "viewer", tarball)
    assert installed_package(tmp_path / "viewer") == package.integrity
    assert (tmp_path / "viewer" / "index.html").read_bytes() == INDEX


@pytest.mark.parametrize(
    "member",
    [
        entry("package/dist/../../../outside.js", tarfile.REGTYPE),
        entry("/package/dist/outside.js", tarfile.REGTYPE),
        entry("package/dist//outside.js", tarfile.REGTYPE),
        entry("package/dist/.hidden", tarfile.REGTYPE),
        entry("package/dist/link.js", tarfile.SYMTYPE, "/etc/passwd"),
        entry("package/dist/link.js", tarfile.LNKTYPE, "package/LICENSE"),
        entry("package/dist/device.js", tarfile.CHRTYPE),
        entry("package/dist/pipe.js", tarfile.FIFOTYPE),
        entry("package/bin/run.js", tarfile.REGTYPE),
        entry("package/dist/app-config.js", tarfile.REGTYPE),
        entry("package/dist/sw.js", tarfile.REGTYPE),
        entry("package/dist/a.js.map", tarfile.REGTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type!r}",
)
def test_nothing_but_plain_files_that_are_served_is_unpacked(tmp_path: Path, member: tarfile.TarInfo) -> None:
    package, tarball = packed(tmp_path, PLAIN, member)
    install(package, tmp_path / "site" / "viewer", tarball)
    assert files_below(tmp_path / "site") == {
        f"viewer/{name}" for name in ("index.html", "a.js", "a.js.gz", "LICENSE", "installed.json")
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"no tarball", gzip.compress(b"no tarball"), gzip.compress(b"x" * 5000)[:40]],
    ids=["empty", "text", "compressed text", "cut off"],  # gzip writes the time: not from the content
)
def test_what_is_no_package_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    tarball = tmp_path / "viewer.tgz"
    tarball.write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    with pytest.raises(SiteProblem):
        install(ViewerPackage("viewer", "1.0.0", f"sha512-{digest}"), tmp_path / "viewer", tarball)
    assert not (tmp_path / "viewer").exists()


def test_a_package_without_a_page_is_refused(tmp_path: Path) -> None:
    package, tarball = packed(tmp_path, {"package/dist/a.js": SCRIPT})
    with pytest.raises(SiteProblem, match=r"no index\.html"):
        install(package, tmp_path / "viewer", tarball)


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteProblem, match=r"apt-get install npm.*--from"):
        install(OHIF, tmp_path / "viewer")


def test_the_command_tells_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, viewer_folder: Path
) -> None:
    runner = CliRunner()
    monkeypatch.setenv("DICOM_NODE_VIEWER__FOLDER", str(viewer_folder))
    there = runner.invoke(app, ["viewer", "install"])
    assert (there.exit_code, there.stdout) == (0, f"{OHIF.specifier} is in {viewer_folder}\n")

    monkeypatch.setenv("DICOM_NODE_VIEWER__FOLDER", str(tmp_path / "viewer"))
    _, other = packed(tmp_path, PLAIN)
    refused = runner.invoke(app, ["viewer", "install", "--from", str(other)])
    assert refused.exit_code == 1
    assert refused.stderr == f"viewer.tgz is not {OHIF.specifier}: its sha512 is another one\n"
    absent = runner.invoke(app, ["viewer", "install", "--from", str(tmp_path / "absent.tgz")])
    assert absent.stderr == f"there is no file {tmp_path / 'absent.tgz'}\n"


def test_the_installed_viewer_is_the_pinned_one_without_what_is_not_served(viewer_folder: Path) -> None:
    record = json.loads((viewer_folder / "installed.json").read_text())
    assert (record["name"], record["version"]) == (OHIF.name, OHIF.version)
    assert {"index.html", "app.bundle.css", "manifest.json", "LICENSE"} <= set(record["files"])
    assert not {"sw.js", "google.js", "silent-refresh.html", "app-config.js"} & files_below(viewer_folder)
    assert sum(path.stat().st_size for path in viewer_folder.rglob("*")) < 80 << 20
