"""`dicom-node bundle import` as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.cli import app
from models.manifest_file import read_manifest
from tests.bundle_import.small_checkpoints import SHAPE, SPACING_MM, SmallCheckpoints, ctclip_state


@pytest.fixture
def small(parity: Path, tmp_path: Path) -> SmallCheckpoints:
    return SmallCheckpoints(parity, tmp_path)


def run(small: SmallCheckpoints, *options: str | Path) -> Result:
    words = ["bundle", "import", "--name", "small", "--out", small.bundles, *options]
    return CliRunner().invoke(app, [str(word) for word in words])


def sizes() -> list[str]:
    return ["--input-shape", ",".join(map(str, SHAPE)), "--spacing", ",".join(map(str, SPACING_MM))]


def test_a_bundle_is_made_and_told_of(small: SmallCheckpoints) -> None:
    result = run(
        small, "--supervised", small.supervised(), *sizes(), "--operating-point", "0.4",
        "--licence", "CC-BY-NC-SA-4.0", "--bundle-version", "2.0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert str(small.bundles / "small") in result.stdout
    assert "15 labels" in result.stderr
    manifest = read_manifest(small.bundles / "small")
    assert (manifest.name, manifest.version, manifest.licence) == ("small", "2.0", "CC-BY-NC-SA-4.0")
    assert manifest.fallback is not None
    assert manifest.fallback.operating_point == 0.4
    assert manifest.input.shape == SHAPE
    assert run(small, "--supervised", small.supervised(), *sizes()).exit_code == 1


def test_a_refusal_is_one_line_with_its_code_and_no_traceback(parity: Path, small: SmallCheckpoints) -> None:
    wrong = {f"net.{key}": value for key, value in ctclip_state(parity).items()}
    path = small.save("wrong.pt", wrong)
    result = run(small, "--ctclip", path, "--tokenizer", small.tokenizer())
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("missing_tensors: wrong.pt lacks")
    assert "visual_transformer.vq._codebook.embed" in last
    assert small.left_behind() == []


def test_settings_that_are_wrong_are_named_without_their_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_HTTP__PORT", "geheim")
    result = CliRunner().invoke(app, ["bundle", "import", "--name", "small", "--ctclip", "model.pt"])
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert result.stderr.startswith("http.port: ")
    assert "geheim" not in result.output


def test_a_pickle_is_refused(small: SmallCheckpoints) -> None:
    path = small.save("model.pt", torch.nn.Linear(2, 2))
    result = run(small, "--slice-classifier", path)
    assert result.exit_code == 1
    assert result.stderr.startswith("needs_pickle:")


@pytest.mark.parametrize("option", [("--spacing", "1,2"), ("--input-shape", "a,b,c"), ("--constant", "x")])
def test_an_option_that_says_nothing_is_refused(small: SmallCheckpoints, option: tuple[str, str]) -> None:
    result = run(small, "--supervised", "absent.pt", *option)
    assert result.exit_code == 1
    assert result.stderr.startswith("bad_option:")
