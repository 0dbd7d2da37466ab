"""The whole import: checkpoints in, a bundle that has passed its self-test out, or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle_import.checkpoint_file import Say
from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.findings import finding_specs, given_columns
from bundle_import.fusion_model import constant_columns, fusion_columns, read_fusion
from bundle_import.members import MemberImport
from bundle_import.model_card import model_card
from bundle_import.prompt_lists import LabelList, prompt_list
from bundle_import.request import ImportRequest, check_request
from inference.fusion import Fusion, FusionError
from inference.self_test import SelfTestError, record_self_test
from models.bundle import BundleError
from models.manifest import (
    BundleManifest,
    CTCLIPSpec,
    FallbackSpec,
    FusionSpec,
    InputSpec,
    Members,
    SourceFile,
)
from models.manifest_file import MODEL_CARD, sha256_of, write_manifest
from models.published import PUBLISHED_INPUT
from phantom.self_test_volume import SELF_TEST_VOLUME, write_self_test_volume

FUSION = "fusion.txt"


def import_bundle(request: ImportRequest, say: Say) -> BundleManifest:
    """Write the bundle ``request.target``.

    Everything is written beside it and moved there at the end, so that a failed import leaves nothing and a
    replaced bundle stays until its successor is whole. ``say`` is told what was found.

    Raises
    ------
    ImportRefused
        For everything that :class:`bundle_import.errors.ImportCode` has a word for.
    """
    check_request(request)
    with _folder_beside(request.target) as folder, _refusals():
        manifest = _assemble(request, folder, say)
        say("self-test: the new bundle reads its synthetic volume in float32 and bf16")
        volume = folder / SELF_TEST_VOLUME
        write_self_test_volume(volume)
        manifest = record_self_test(folder, volume)
        (folder / MODEL_CARD).write_text(model_card(manifest), encoding="utf-8")
        _move(folder, request.target)
    return manifest


def _assemble(request: ImportRequest, folder: Path, say: Say) -> BundleManifest:
    """Members, fusion and manifest in ``folder``."""
    prompts = prompt_list(request.prompts) if request.ctclip is not None else None
    members = MemberImport(request, folder, say)
    ctclip = _ctclip(request, members, prompts)
    supervised, supervised_labels = (
        (None, None) if request.supervised is None else members.supervised(request.supervised)
    )
    diffusion = (
        None
        if request.slice_classifier is None
        else members.diffusion(request.slice_classifier, request.unet)
    )
    given = given_columns(prompts, supervised_labels, diffusion)
    fusion = _fusion(request, members, given, prompts)
    fallback = None if fusion is not None else FallbackSpec("highest_finding", request.operating_point)
    tower = next(iter(members.towers.values()), None)
    planes, *sides = PUBLISHED_INPUT.shape
    height, width = sides if tower is None else tower.image_size
    manifest = BundleManifest(
        name=request.name,
        version=request.version,
        demonstration=False,
        licence=request.licence,
        intended_use=request.intended_use,
        input=InputSpec(
            request.spacing_mm,
            request.input_shape or (planes, height, width),
            PUBLISHED_INPUT.minimum_slices,
        ),
        towers=members.towers,
        members=Members(ctclip, supervised, diffusion),
        findings=finding_specs(prompts, supervised_labels),
        fusion=fusion,
        fallback=fallback,
        most_dangerous=request.most_dangerous,
        sources=members.sources,
    )
    for name in [finding.name for finding in manifest.findings if finding.severity == 0]:
        say(f"no list ranks {name!r}: its severity is 0, below every other")
    return write_manifest(folder, manifest)


def _ctclip(request: ImportRequest, members: MemberImport, prompts: LabelList | None) -> CTCLIPSpec | None:
    if request.ctclip is None or request.tokenizer is None or prompts is None:
        return None
    spec = members.ctclip(request.ctclip, request.tokenizer, prompts)
    vocabulary = request.tokenizer / "vocab.txt"
    members.sources["tokenizer"] = SourceFile(sha256_of(vocabulary), vocabulary.stat().st_size, "vocab.txt")
    return spec


def _fusion(
    request: ImportRequest, members: MemberImport, given: tuple[str, ...], prompts: LabelList | None
) -> FusionSpec | None:
    if request.fusion is None:
        return None
    model = read_fusion(request.fusion, trust_pickle=request.trust_pickle, say=members.say)
    columns = fusion_columns(model.booster.feature_name(), given)
    spec = FusionSpec(
        file=FUSION,
        operating_point=request.operating_point,
        columns=columns,
        constant_columns=constant_columns(columns, given, request.constants),
        groups={} if prompts is None else dict(prompts.groups),
    )
    (members.folder / FUSION).write_text(model.text(), encoding="utf-8")
    members.sources["fusion"] = SourceFile(
        sha256_of(request.fusion), request.fusion.stat().st_size, model.layout
    )
    for sentence in Fusion(members.folder / FUSION, spec).warnings:
        members.say(sentence)
    members.say(f"{request.fusion.name}: {len(columns)} columns mapped by name")
    return spec


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """An empty folder on the target's disk; what is in it at the end goes."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One level deeper than a bundle, so that no list of bundles shows an unfinished one.
        with tempfile.TemporaryDirectory(prefix=".importing-", dir=target.parent) as beside:
            folder = Path(beside) / target.name
            folder.mkdir()
            yield folder
    except OSError as error:
        raise ImportRefused(ImportCode.CANNOT_WRITE, f"{target.parent}: {error.strerror or error}") from error


@contextmanager
def _refusals() -> Iterator[None]:
    """A bundle that does not hold together is a refusal of its sources."""
    try:
        yield
    except (BundleError, FusionError, SelfTestError) as error:
        raise ImportRefused(
            ImportCode.INVALID_BUNDLE, f"what was made of these files is no bundle: {error}"
        ) from error


def _move(folder: Path, target: Path) -> None:
    """Put the new bundle in its place; a bundle that was there goes only once that has worked."""
    former = folder.parent / "former"
    if target.exists():
        target.rename(former)
    try:
        folder.rename(target)
    except OSError:
        if former.exists():
            former.rename(target)
        raise
