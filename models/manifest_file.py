"""``bundle.toml`` read and written, with checks that its tables agree with each other."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from models.manifest import (
    FORMAT,
    HEADS,
    BundleCode,
    BundleError,
    BundleFile,
    BundleManifest,
    CTCLIPSpec,
    DiffusionSpec,
    SupervisedSpec,
)

MANIFEST = "bundle.toml"
MODEL_CARD = "README.md"

_ADAPTER = TypeAdapter(BundleManifest)


def read_manifest(folder: Path) -> BundleManifest:
    """The manifest of the bundle in ``folder``.

    Raises
    ------
    BundleError
        ``no_manifest``, ``invalid_manifest``, ``unknown_format``, ``unknown_head``, ``unknown_tower``, or
        ``missing_file`` where a table names a file that ``[files]`` does not list.
    """
    path = folder / MANIFEST
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(BundleCode.NO_MANIFEST, f"there is no {MANIFEST} in {folder}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(BundleCode.INVALID_MANIFEST, f"{path} is not TOML: {error}") from error
    if table.get("format") != FORMAT:
        message = f"{path} is of format {table.get('format')}, this software reads format {FORMAT}"
        raise BundleError(BundleCode.UNKNOWN_FORMAT, message)
    try:
        # By way of JSON, where strict validation takes an array for a tuple and still no text for a number.
        manifest = _ADAPTER.validate_json(json.dumps(table), strict=True)
    except (ValidationError, TypeError) as error:
        raise BundleError(BundleCode.INVALID_MANIFEST, f"{path}: {_places(error)}") from error
    _check(manifest)
    for file in manifest.named_files():
        if file not in manifest.files:
            raise BundleError(BundleCode.MISSING_FILE, f"{file} is used and not listed under [files]")
    return manifest


def write_manifest(folder: Path, manifest: BundleManifest) -> BundleManifest:
    """Write ``bundle.toml`` with sha256 and size of every file in ``folder`` but itself and the model card.

    Returns the manifest as written. Raises BundleError as :func:`read_manifest` does, and ``missing_file``
    for a file that the manifest names and the folder lacks.
    """
    _check(manifest)
    present = {
        path.name: BundleFile(sha256_of(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in {MANIFEST, MODEL_CARD} and not path.name.startswith(".")
    }
    for file in manifest.named_files():
        if file not in present:
            raise BundleError(BundleCode.MISSING_FILE, f"{file} is not in {folder}")
    complete = replace(manifest, files=present)
    (folder / MANIFEST).write_text(tomli_w.dumps(_without_none(asdict(complete))), encoding="utf-8")
    return complete


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check(manifest: BundleManifest) -> None:
    """What a type cannot say."""
    members = manifest.members
    for member in (members.ctclip, members.supervised):
        if member is not None and member.tower not in manifest.towers:
            known = ", ".join(manifest.towers)
            raise BundleError(BundleCode.UNKNOWN_TOWER, f"tower {member.tower!r} is none of {known}")
    if members.supervised is not None and members.supervised.head not in HEADS:
        message = f"head {members.supervised.head!r} is none of {', '.join(HEADS)}"
        raise BundleError(BundleCode.UNKNOWN_HEAD, message)
    for contradiction in _contradictions(manifest):
        raise BundleError(BundleCode.INVALID_MANIFEST, contradiction)


def _contradictions(manifest: BundleManifest) -> Iterator[str]:
    """Where two tables, or a table and common sense, disagree."""
    planes, *plane = manifest.input.shape
    for name, tower in manifest.towers.items():
        if list(tower.image_size) != plane or planes % tower.temporal_patch_size:
            yield f"tower {name} does not fit an encoder input of {manifest.input.shape}"
    members = manifest.members
    for member in (members.ctclip, members.supervised):
        if member is not None:
            yield from _label_contradictions(member)
    if members.diffusion is not None:
        yield from _diffusion_contradictions(members.diffusion)
    if (manifest.fusion is None) == (manifest.fallback is None):
        yield "one of [fusion] and [fallback] is needed, and not both"
    rules = [rule for rule in (manifest.fusion, manifest.fallback) if rule is not None]
    if not all(0 < spec.operating_point < 1 for spec in (*rules, *manifest.findings)):
        yield "an operating point is not between 0 and 1"
    band = manifest.indeterminate
    if band is not None and not 0 <= band.low < band.high <= 1:
        yield "[indeterminate] is not a band of probabilities"
    saliency = manifest.saliency
    if saliency is not None and not (
        saliency.voxel_threshold > 0 and 0 <= (saliency.side_agreement or 0) <= 1 and saliency.side_cases >= 0
    ):
        yield "[saliency] holds a threshold that is not above 0, or an agreement that is no share"
    for file in (*manifest.files, *manifest.named_files()):
        if Path(file).name != file:
            yield f"{file!r} is not a plain file name"


def _label_contradictions(member: CTCLIPSpec | SupervisedSpec) -> Iterator[str]:
    if not member.labels or len(set(member.labels)) != len(member.labels):
        yield f"the labels of {member.file} are absent or repeat"


def _diffusion_contradictions(diffusion: DiffusionSpec) -> Iterator[str]:
    networks = [network for network in (diffusion.classifier, diffusion.unet) if network is not None]
    if any(network.image_size != diffusion.image_size for network in networks):
        yield f"the slice networks do not all take slices of {diffusion.image_size} pixels"
    if diffusion.reconstructs and diffusion.unet is None:
        yield "reconstruction is enabled and there is no UNet"


def _places(error: Exception) -> str:
    """Where a table is wrong, and how; not what stood there."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())


def _without_none(value: Any) -> Any:
    """TOML has no null: an absent table stays absent."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, tuple | list) else value
