"""What `dicom-node bundle show` prints: a bundle's manifest in words, one line for each thing to know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inference.calibration import calibration_words
from inference.self_test import recorded_precisions
from models.manifest import BundleManifest, ConstantColumn, CTCLIPSpec, SourceFile

_RULES = {
    "severity": "of the findings that are present that of the highest severity, then probability",
    "original_argmax": "the label of the highest CT-CLIP score, as in the original",
}
_DIGITS = 12


def describe_bundle(folder: Path, manifest: BundleManifest) -> Iterator[tuple[str, str]]:
    """Pairs of a word and what is to be said of it.

    Raises
    ------
    SelfTestError
        If the file of expected scores cannot be read.
    """
    members = manifest.members
    present = [name for name in ("ctclip", "supervised", "diffusion") if getattr(members, name) is not None]
    size = sum(file.bytes for file in manifest.files.values())
    yield "name", f"{manifest.name} {manifest.version}"
    yield "folder", str(folder)
    yield "demonstration", "yes: not for diagnosis" if manifest.demonstration else "no"
    yield "licence", manifest.licence
    yield "intended use", manifest.intended_use
    yield "input", f"{manifest.input.shape} voxels of {manifest.input.spacing_mm} mm (z, y, x)"
    yield "members", ", ".join(present)
    yield "prompts", _prompts(members.ctclip)
    yield "decision", _decision(manifest)
    band = manifest.indeterminate
    yield "indeterminate", f"from {band.low:g} to {band.high:g}" if band is not None else "no such band"
    yield "calibration", calibration_words(manifest.calibration)
    yield "findings", ", ".join(finding.name for finding in manifest.findings)
    yield "most dangerous", _RULES[manifest.most_dangerous]
    constants = manifest.fusion.constant_columns if manifest.fusion is not None else {}
    yield from _each("constant", (_constant(name, column) for name, column in constants.items()))
    yield from _each("source", (_source(name, source) for name, source in manifest.sources.items()))
    recorded = recorded_precisions(folder, manifest)
    yield "self-test", f"scores recorded in {', '.join(recorded)}" if recorded else "none"
    yield "files", f"{len(manifest.files)}, {size / 1e6:.1f} MB"


def _each(word: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Every line beside the word, or "none"."""
    first = next(lines, "none")
    yield word, first
    for line in lines:
        yield word, line


def _prompts(ctclip: CTCLIPSpec | None) -> str:
    if ctclip is None:
        return "none"
    present, absent = ctclip.prompts
    return f"{2 * len(ctclip.labels)}: {present!r} and {absent!r} of {len(ctclip.labels)} labels"


def _decision(manifest: BundleManifest) -> str:
    if manifest.fusion is not None:
        return f"fusion (LightGBM), operating point {manifest.fusion.operating_point:g}"
    rule = manifest.fallback
    return f"{rule.rule}, operating point {rule.operating_point:g}" if rule is not None else "none"


def _constant(name: str, column: ConstantColumn) -> str:
    return f"{name} = {column.value:g}: {column.reason}"


def _source(name: str, source: SourceFile) -> str:
    return f"{name}: {source.layout}, {source.bytes / 1e6:.1f} MB, sha256 {source.sha256[:_DIGITS]}..."
