"""Reading a checkpoint: what is inside is told, and nothing inside is run."""

from __future__ import annotations

import hashlib
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bundle_import.checkpoint_file import Checkpoint, read_checkpoint
from bundle_import.errors import ImportCode, ImportRefused

STATE = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def read(path: Path, *, trust: bool = False) -> tuple[Checkpoint, list[str]]:
    said: list[str] = []
    return read_checkpoint(path, trust_pickle=trust, say=said.append), said


def refusal(path: Path, *, trust: bool = False) -> ImportRefused:
    with pytest.raises(ImportRefused) as refused:
        read(path, trust=trust)
    return refused.value


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_state_is_found(tmp_path: Path, zipped: bool, wrapper: str | None, prefix: str) -> None:
    path = tmp_path / "x.pt"
    state = {prefix + key: value for key, value in STATE.items()}
    content = state if wrapper is None else {wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    checkpoint, said = read(path)
    assert checkpoint.tensors.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.tensors[key], value) for key, value in STATE.items())
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.bytes == path.stat().st_size
    assert bool(said) == bool(prefix)


def test_class_names_come_along(tmp_path: Path) -> None:
    torch.save({"model_state_dict": STATE, "target_pathologies": ["cancer", "covid"]}, tmp_path / "x.pt")
    assert read(tmp_path / "x.pt")[0].labels == ("cancer", "covid")


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    checkpoint, _ = read(tmp_path / "x.safetensors")
    assert torch.equal(checkpoint.tensors["layer.weight"], STATE["layer.weight"])
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-3])
    assert refusal(tmp_path / "x.safetensors").code is ImportCode.NOT_A_CHECKPOINT


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pickle_is_refused_and_read_only_on_trust(tmp_path: Path, zipped: bool) -> None:
    path, touched = tmp_path / "x.pt", tmp_path / "touched"
    torch.save({"state_dict": STATE, "extra": Touches(touched)}, path, _use_new_zipfile_serialization=zipped)
    refused = refusal(path)
    assert refused.code is ImportCode.NEEDS_PICKLE
    assert "--trust-pickle" in refused.message
    assert "touch" not in refused.message.replace("Path.touch", "")
    assert not touched.exists()
    checkpoint, said = read(path, trust=True)
    assert touched.exists()
    assert checkpoint.tensors.keys() == STATE.keys()
    assert said[0].startswith("WARNING")


def test_the_sentence_says_what_was_found(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": Namespace(note="of the group")}, tmp_path / "x.pt")
    refused = refusal(tmp_path / "x.pt")
    assert refused.code is ImportCode.NEEDS_PICKLE
    assert "argparse.Namespace" in refused.message
    assert "of the group" not in refused.message


def test_a_whole_module_is_no_state(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    assert refusal(tmp_path / "x.pt").code is ImportCode.NEEDS_PICKLE
    assert refusal(tmp_path / "x.pt", trust=True).code is ImportCode.NOT_A_CHECKPOINT


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.pt").code is ImportCode.NO_SUCH_FILE
    assert refusal(tmp_path).code is ImportCode.NOT_A_FILE
    path = tmp_path / "x.pt"
    for content, code in (
        (b"", ImportCode.EMPTY_FILE),
        (b"<html>404 not found</html>" * 50, ImportCode.NOT_A_CHECKPOINT),
        (b"version https://git-lfs.github.com/spec/v1\n", ImportCode.NOT_A_CHECKPOINT),
        (bytes(range(256)) * 40, ImportCode.NOT_A_CHECKPOINT),
        (pickle.dumps({"a": 1}), ImportCode.NOT_A_CHECKPOINT),
        (b"PK\x03\x04" + bytes(5000), ImportCode.TRUNCATED),
    ):
        path.write_bytes(content)
        assert refusal(path).code is code, content[:20]
    torch.save({"a": 1}, path)
    assert refusal(path).code is ImportCode.NOT_A_CHECKPOINT


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.pt"
    torch.save({"x": torch.randn(200, 200)}, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path).code is ImportCode.TRUNCATED
