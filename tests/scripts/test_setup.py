"""The set-up script: what it says to a person who is not root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dicom_node.viewer.package import OHIF

PROJECT = Path(__file__).resolve().parents[2]


def _tool(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    file.chmod(0o755)


def _run(
    tmp_path: Path,
    *,
    status: str,
    arguments: tuple[str, ...] = (),
    path: str = os.environ["PATH"],
    pip_fails: bool = False,
) -> subprocess.CompletedProcess[str]:
    """The script for an ordinary user without sudo, Debian packages all in `status`.

    With `pip_fails` the virtual environment is there already, and its Python ends the script.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    _tool(tools, "id", "echo 1000")
    _tool(tools, "sudo", "exit 1")
    _tool(tools, "dpkg-query", f"printf '{status}'")
    _tool(tools, "apt-get", "echo 'apt-get must not run without root' >&2; exit 99")
    if pip_fails:
        (tmp_path / "no-venv" / "bin").mkdir(parents=True)
        _tool(tmp_path / "no-venv" / "bin", "python", "exit 1")
    environment = {
        **os.environ,
        "PATH": f"{tools}:{path}",
        "PYTHON": sys.executable,
        "VENV": str(tmp_path / "no-venv"),
    }
    return subprocess.run(
        ["sh", str(PROJECT / "scripts/setup.sh"), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_root_it_names_the_packages_and_the_one_line(tmp_path: Path) -> None:
    outcome = _run(tmp_path, status="not-installed")
    assert outcome.returncode == 1
    line = next(text for text in outcome.stderr.splitlines() if text.startswith("  apt-get update"))
    for package in ("orthanc", "orthanc-python", "orthanc-dicomweb", "dcmtk", "dicom3tools"):
        assert f" {package}" in line
    assert "apt-get must not run" not in outcome.stderr
    assert not (tmp_path / "no-venv").exists()


def test_with_all_packages_there_nothing_needs_root(tmp_path: Path) -> None:
    """Not even a PATH with the administrator's folders, which an ordinary user of Debian lacks."""
    outcome = _run(tmp_path, status="installed", path="/usr/bin:/bin", pip_fails=True)
    assert "missing" not in outcome.stderr
    assert "Python packages into" in outcome.stderr


def test_the_tests_need_postgresql_too(tmp_path: Path) -> None:
    outcome = _run(tmp_path, status="not-installed", arguments=("--tests",))
    assert "postgresql" in outcome.stderr


def test_wrong_python_is_named(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3.11", "python3"):
        _tool(tools, name, "exit 1")
    outcome = subprocess.run(
        ["sh", str(PROJECT / "scripts/setup.sh")],
        env={**os.environ, "PATH": f"{tools}:/usr/bin:/bin", "PYTHON": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 1
    assert "Python 3.11 not found" in outcome.stderr


def _project_with_stand_ins(folder: Path, viewer: str) -> Path:
    """A copy of what the script reads, and an environment whose `dicom-node` is the shell line `viewer`."""
    for name in (
        "scripts/setup.sh",
        "requirements/lock.txt",
        "pyproject.toml",
        "dicom_node/viewer/package.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    for tools in ("tools", "venv/bin"):
        (folder / tools).mkdir(parents=True)
    _tool(folder / "tools", "dpkg-query", "printf installed")
    _tool(folder / "tools", "npm", "exit 1")
    _tool(folder / "venv/bin", "python", "exit 0")
    _tool(folder / "venv/bin", "dicom-node", f'echo "$*" >>calls; {viewer}')
    return folder


def _set_up(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{project / 'tools'}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "VENV": "venv",
    }
    return subprocess.run(
        ["sh", str(project / "scripts/setup.sh"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_node_is_set_up_without_its_viewer_and_its_tests_are_not(tmp_path: Path) -> None:
    project = _project_with_stand_ins(tmp_path, "exit 1")
    plain = _set_up(project)
    assert plain.returncode == 0
    assert "later: dicom-node viewer install" in plain.stderr
    for_tests = _set_up(project, "--tests")
    assert for_tests.returncode == 1
    assert "the tests need the viewer" in for_tests.stderr


def test_the_viewer_is_installed_once_for_each_version(tmp_path: Path) -> None:
    record = f'mkdir -p var/viewer; echo "{OHIF.integrity}" >var/viewer/installed.json'
    project = _project_with_stand_ins(tmp_path, record)
    for _ in range(2):
        assert _set_up(project).returncode == 0
    assert (project / "calls").read_text().splitlines() == ["viewer install"]
    package = project / "dicom_node/viewer/package.py"
    package.write_text(package.read_text().replace("sha512-", "sha512-another"))
    assert _set_up(project).returncode == 0
    assert len((project / "calls").read_text().splitlines()) == 2
