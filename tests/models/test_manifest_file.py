"""``bundle.toml``: what is written is read again; what contradicts itself is refused with a stable code."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from models.manifest import BundleCode, BundleError, BundleManifest, FallbackSpec, Members, SaliencySpec
from models.manifest_file import read_manifest, write_manifest
from tests.models.small_bundle import FILES, manifest

SALIENCY = "demonstration = true\nsaliency = {{ voxel_threshold = {}, side_agreement = {} }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(FILES):
        (tmp_path / name).write_bytes(bytes(range(number + 1)))
    (tmp_path / "README.md").write_text("# Model card")
    return tmp_path


def test_what_is_written_is_read_again(folder: Path) -> None:
    written = write_manifest(folder, manifest())
    assert read_manifest(folder) == written
    assert replace(written, files={}) == manifest()


def test_what_the_saliency_is_worth_is_read_again(folder: Path) -> None:
    for saliency in (SaliencySpec(0.025, 0.93, 41, "held-out cases"), SaliencySpec(0.1)):
        write_manifest(folder, replace(manifest(), saliency=saliency))
        assert read_manifest(folder).saliency == saliency
    assert [SaliencySpec(0.1, share).tells_sides for share in (None, 0.89, 0.9)] == [False, False, True]


def test_every_file_but_the_manifest_and_the_model_card_is_described(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")
    write_manifest(folder, manifest())
    written = write_manifest(folder, manifest())
    assert set(written.files) == {*FILES, "notes.txt"}
    assert written.files["tower.safetensors"].sha256 == hashlib.sha256(b"\0").hexdigest()
    assert written.files["fusion.txt"].bytes == len(FILES)


def test_the_file_is_laid_out_as_documented(folder: Path) -> None:
    write_manifest(folder, manifest())
    text = (folder / "bundle.toml").read_text(encoding="utf-8")
    for table in (
        "[input]",
        '[files."tower.safetensors"]',
        "[towers.main]",
        "[members.ctclip]",
        "[members.diffusion.classifier]",
        "[members.diffusion.reconstruction]",
        "[fusion.constant_columns.diffusion_reconstruction_std]",
    ):
        assert table in text
    assert "format = 1\n" in text


def edited(folder: Path, pattern: str, replacement: str) -> BundleError:
    """The refusal of a manifest after one edit by hand."""
    write_manifest(folder, manifest())
    path = folder / "bundle.toml"
    text, changes = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
    assert changes == 1
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BundleError) as refusal:
        read_manifest(folder)
    return refusal.value


@pytest.mark.parametrize(
    ("pattern", "replacement", "code", "named"),
    [
        ("format = 1", "format = 2", "unknown_format", "2"),
        ('head = "layernorm"', 'head = "transformer"', "unknown_head", "transformer"),
        ('tower = "main"', 'tower = "other"', "unknown_tower", "other"),
        ('file = "fusion.txt"', 'file = "lightgbm.txt"', "missing_file", "lightgbm.txt"),
        ('file = "fusion.txt"', 'file = "../fusion.txt"', "invalid_manifest", "../fusion.txt"),
        ("dim_latent = 8", 'dim_latent = "8"', "invalid_manifest", "members.ctclip.dim_latent"),
        ("demonstration = true", "demonstration = 1", "invalid_manifest", "demonstration"),
        ("heads = 3", "heads = 3\nheadz = 4", "invalid_manifest", "towers.main.headz"),
        ("heads = 3", "", "invalid_manifest", "towers.main.heads"),
        ("demonstration = true", SALIENCY.format(0.0, 0.5), "invalid_manifest", "[saliency]"),
        ("demonstration = true", SALIENCY.format(0.1, 1.5), "invalid_manifest", "[saliency]"),
        ("severity = 2", "severity = 2\nseverty = 3", "invalid_manifest", "findings.1.severty"),
        ("operating_point = 0.37", "operating_point = 37.0", "invalid_manifest", "operating point"),
        ('"Emphysema",?\n', '"Lung nodule",\n', "invalid_manifest", "ctclip.safetensors"),
        ("minimum_slices = 20", "minimum_slices = ", "invalid_manifest", "not TOML"),
        (r"schedule = \"strided\"", 'schedule = "cosine"', "invalid_manifest", "reconstruction.schedule"),
    ],
)
def test_a_wrong_table_is_refused_by_name(
    folder: Path, pattern: str, replacement: str, code: str, named: str
) -> None:
    refusal = edited(folder, pattern, replacement)
    assert refusal.code == code
    assert named in refusal.message
    assert str(refusal).startswith(f"{code}: ")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as refusal:
        read_manifest(tmp_path)
    assert refusal.value.code is BundleCode.NO_MANIFEST


def diffusion_of(whole: BundleManifest, **changes: object) -> BundleManifest:
    diffusion = whole.members.diffusion
    assert diffusion is not None
    return replace(whole, members=replace(whole.members, diffusion=replace(diffusion, **changes)))


@pytest.mark.parametrize(
    ("contradiction", "named"),
    [
        (lambda m: replace(m, input=replace(m.input, shape=(24, 48, 32))), "tower main"),
        (lambda m: replace(m, input=replace(m.input, shape=(20, 32, 48))), "tower main"),
        (lambda m: replace(m, fusion=None), "fallback"),
        (lambda m: replace(m, fallback=FallbackSpec("highest_finding", 0.5)), "fallback"),
        (lambda m: diffusion_of(m, image_size=64), "64"),
        (lambda m: diffusion_of(m, unet=None), "UNet"),
    ],
)
def test_tables_that_contradict_each_other_are_not_written(folder: Path, contradiction, named: str) -> None:
    with pytest.raises(BundleError, match=named) as refusal:
        write_manifest(folder, contradiction(manifest()))
    assert refusal.value.code is BundleCode.INVALID_MANIFEST
    assert not (folder / "bundle.toml").exists()


def test_a_bundle_without_fusion_names_its_rule(folder: Path) -> None:
    members = replace(manifest().members, ctclip=None, diffusion=None)
    plain = replace(
        manifest(), members=members, fusion=None, fallback=FallbackSpec("highest_finding", 0.5), findings=()
    )
    write_manifest(folder, plain)
    read = read_manifest(folder)
    assert read.fusion is None
    assert read.fallback == FallbackSpec("highest_finding", 0.5)
    assert read.members == Members(supervised=manifest().members.supervised)


def test_a_file_that_the_manifest_names_must_be_there_to_be_written(folder: Path) -> None:
    (folder / "unet.safetensors").unlink()
    with pytest.raises(BundleError, match=r"unet\.safetensors") as refusal:
        write_manifest(folder, manifest())
    assert refusal.value.code is BundleCode.MISSING_FILE
