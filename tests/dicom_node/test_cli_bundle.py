"""`dicom-node bundle ...` as a person types it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.activation import FILE, ActivationBook
from dicom_node.cli import app
from models.manifest import CalibrationSpec, IndeterminateBand, SourceFile
from models.manifest_file import read_manifest, write_manifest
from tests.dicom_node.small_study import write_tiny_bundle
from tests.dicom_node.tested_bundle import alter_expectation, change_a_byte, write_tested_bundle


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bundle", *map(str, arguments)])


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`demo` without a self-test, `other` with one; both in the environment as a site would set them."""
    folder = tmp_path / "bundles"
    write_tiny_bundle(folder)
    write_tested_bundle(folder, "other")
    monkeypatch.setenv("DICOM_NODE_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("DICOM_NODE_WORKER__BUNDLES_FOLDER", str(folder))
    monkeypatch.setenv("DICOM_NODE_WORKER__THREADS", "1")
    return folder


def test_activation_is_asked_for_seen_and_taken_back(bundles: Path, tmp_path: Path) -> None:
    book = ActivationBook(tmp_path / "data")
    nothing = call("activate", "--previous")
    assert (nothing.exit_code, nothing.stderr) == (1, "there is no activation to take back\n")
    assert call("activate").exit_code == 2
    activated = call("activate", "other")
    assert activated.exit_code == 0, activated.output
    assert activated.stdout.startswith("other is requested; a node takes it over")
    listed = call("list").stdout
    assert "* demo" in listed
    assert "other is requested" in listed
    # As a node does once it has switched.
    activation = book.read()
    assert activation is not None
    book.switched(activation.requested)
    assert "* other" in call("list").stdout
    assert f"{bundles / 'other'}" in call("show").stdout
    taken_back = call("activate", "--previous")
    assert taken_back.exit_code == 0
    assert taken_back.stdout.startswith("demo is requested")
    activation = book.read()
    assert activation is not None
    book.refused(activation.requested, "the bundle demo is not used: no room")
    assert "the bundle demo is not used: no room" in call("list").stdout


def test_bundle_that_is_not_computed_rightly_or_changed_is_not_activated(
    bundles: Path, tmp_path: Path
) -> None:
    alter_expectation(bundles / "other")
    refused = call("activate", "other")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("self_test_failed: in float32 this machine does not reproduce")
    assert "supervised Emphysema: expected" in refused.stderr
    change_a_byte(bundles / "other")
    refused = call("activate", "other")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("changed_file: supervised.safetensors")
    assert call("activate", "absent").exit_code == 1
    assert not (tmp_path / "data" / FILE).exists()


def test_verify_prints_the_largest_deviation_of_each_precision(bundles: Path) -> None:
    verified = call("verify", "other", "--precision", "bf16", "--precision", "float32")
    assert verified.exit_code == 0, verified.output
    first, second, last = verified.stdout.splitlines()
    assert first.startswith("float32  self-test passed: 11 scores, largest deviation ")
    assert second.startswith("bf16     self-test passed: 11 scores (recorded in float32), largest deviation ")
    assert last.startswith("small 1.0.0 is intact: ")
    assert "no self-test" in call("verify").stdout
    assert call("verify", "other", "--precision", "int8").exit_code == 2
    alter_expectation(bundles / "other")
    assert "self_test_failed" in call("verify", "other").stderr


def test_show_says_where_a_bundle_comes_from_and_how_it_decides(bundles: Path) -> None:
    folder = bundles / "other"
    manifest = read_manifest(folder)
    write_manifest(
        folder,
        replace(
            manifest,
            indeterminate=IndeterminateBand(0.4, 0.6),
            calibration=CalibrationSpec("platt", 1.2, 0.1, "a cohort", 320),
            sources={"CT_VocabFine_v2.pt": SourceFile("ab" * 32, 1_700_000_000, "ctclip")},
            most_dangerous="original_argmax",
        ),
    )
    shown = call("show", "other")
    assert shown.exit_code == 0, shown.output
    lines = {line[:14].strip(): line[15:] for line in shown.stdout.splitlines()}
    assert lines["prompts"].startswith("4: ")
    assert lines["indeterminate"] == "from 0.4 to 0.6"
    assert "320" in lines["calibration"]
    assert lines["source"] == "CT_VocabFine_v2.pt: ctclip, 1700.0 MB, sha256 abababababab..."
    assert "as in the original" in lines["most dangerous"]
    assert lines["self-test"] == "scores recorded in float32"
    assert lines["constant"] == "none"


def test_settings_file_counts_as_in_the_other_commands(bundles: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[worker]\nbundle = "other"\n')
    assert "* other" in call("list", "--settings", file).stdout
    absent = call("list", "--settings", tmp_path / "absent.toml")
    assert absent.exit_code == 1
    assert "absent.toml" in absent.stderr
