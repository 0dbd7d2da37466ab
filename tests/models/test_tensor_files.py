"""Tensors of equal content: stored once, loaded once, and never from a file that was not verified."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.manifest import BundleCode, BundleError
from models.tensor_files import TensorFileReader, TensorFileWriter, tensor_digest

FILES = ("a.safetensors", "b.safetensors")


def refusal(folder: Path, file: str, files: tuple[str, ...] = FILES) -> BundleError:
    with pytest.raises(BundleError) as refused:
        TensorFileReader(folder, files).read(file)
    return refused.value


def test_equal_tensors_are_stored_and_loaded_once(tmp_path: Path) -> None:
    big = torch.randn(500, 500)
    writer = TensorFileWriter(tmp_path)
    writer.write(FILES[0], {"big": big, "again": big.clone(), "own": torch.ones(3)})
    writer.write(FILES[1], {"other name": big.clone(), "own": torch.zeros(3)})
    assert set(load_file(tmp_path / FILES[0])) == {"big", "own"}
    assert set(load_file(tmp_path / FILES[1])) == {"own"}
    assert (tmp_path / FILES[1]).stat().st_size < 1000

    reader = TensorFileReader(tmp_path, FILES)
    first, second = reader.read(FILES[0]), reader.read(FILES[1])
    assert first.keys() == {"big", "again", "own"}
    assert second.keys() == {"other name", "own"}
    assert torch.equal(second["other name"], big)
    assert first["big"].data_ptr() == first["again"].data_ptr() == second["other name"].data_ptr()
    assert torch.equal(first["own"], torch.ones(3))
    assert torch.equal(second["own"], torch.zeros(3))


def test_half_precision_is_shared_after_it_became_single(tmp_path: Path) -> None:
    half = torch.randn(8).half()
    writer = TensorFileWriter(tmp_path)
    writer.write(FILES[0], {"x": half})
    writer.write(FILES[1], {"y": half})
    reader = TensorFileReader(tmp_path, FILES)
    x, y = reader.read(FILES[0])["x"], reader.read(FILES[1])["y"]
    assert x.dtype is torch.float32
    assert torch.equal(x, half.float())
    assert x.data_ptr() == y.data_ptr()


def test_type_and_shape_are_part_of_the_content() -> None:
    zeros = torch.zeros(4)
    others = [
        zeros.view(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.zeros(2, dtype=torch.float64),
        -zeros,
    ]
    assert len({tensor_digest(tensor) for tensor in (zeros, *others)}) == 5
    assert tensor_digest(torch.arange(6.0).view(2, 3).T) == tensor_digest(
        torch.arange(6.0).view(2, 3).T.contiguous()
    )
    assert tensor_digest(torch.tensor(1.5)) == tensor_digest(torch.tensor(1.5))


def test_a_file_may_be_read_by_others(tmp_path: Path) -> None:
    TensorFileWriter(tmp_path).write(FILES[0], {"x": torch.ones(1)})
    assert (tmp_path / FILES[0]).stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("b.safetensors:nowhere", BundleCode.MISSING_TENSOR),
        ("absent.safetensors:x", BundleCode.MISSING_TENSOR),
        ("../b.safetensors:x", BundleCode.MISSING_TENSOR),
        ("a.safetensors:x", BundleCode.UNREADABLE_WEIGHTS),
        ("b.safetensors:back", BundleCode.UNREADABLE_WEIGHTS),
        ("b.safetensors", BundleCode.UNREADABLE_WEIGHTS),
    ],
)
def test_a_reference_to_nothing_or_in_a_circle_is_refused(
    tmp_path: Path, reference: str, code: BundleCode
) -> None:
    save_file({"y": torch.ones(1)}, tmp_path / FILES[0], {"equal:x": reference})
    save_file({"z": torch.ones(1)}, tmp_path / FILES[1], {"equal:back": "a.safetensors:x"})
    assert refusal(tmp_path, FILES[0]).code is code


def test_only_verified_files_are_read(tmp_path: Path) -> None:
    writer = TensorFileWriter(tmp_path)
    writer.write(FILES[1], {"x": torch.ones(1)})
    writer.write(FILES[0], {"x": torch.ones(1)})
    assert refusal(tmp_path, FILES[0], files=(FILES[0],)).code is BundleCode.MISSING_TENSOR


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILES[0]).write_bytes(b"not tensors")
    assert refusal(tmp_path, FILES[0]).code is BundleCode.UNREADABLE_WEIGHTS
