"""The README.md of an imported bundle."""

from __future__ import annotations

from collections.abc import Iterator

from models.manifest import BundleManifest


def model_card(manifest: BundleManifest) -> str:
    """What the bundle is made of and what is not known about it, in Markdown."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: BundleManifest) -> Iterator[str]:
    members = manifest.members
    yield f"# Bundle {manifest.name!r} {manifest.version}"
    yield ""
    yield f"Imported by `dicom-node bundle import`. Intended use: {manifest.intended_use}"
    yield ""
    yield f"Licence: {manifest.licence}"
    yield ""
    yield "| Source | Layout | Size | sha256 |"
    yield "|---|---|---|---|"
    for name, source in manifest.sources.items():
        yield f"| {name} | {source.layout} | {source.bytes} bytes | `{source.sha256}` |"
    yield ""
    yield "## Members"
    spacing = " x ".join(f"{step:g}" for step in manifest.input.spacing_mm)
    shape = " x ".join(map(str, manifest.input.shape))
    yield f"- Encoder input: {shape} voxels of {spacing} mm, axes (z, x, y)."
    yield f"- Image encoders: {len(manifest.towers)}."
    if members.ctclip is not None:
        yield f"- `ctclip`: zero-shot over {len(members.ctclip.labels)} labels, text latents stored."
    if members.supervised is not None:
        yield f"- `supervised`: {members.supervised.head} head over {len(members.supervised.labels)} labels."
    if members.diffusion is not None:
        yield (
            f"- `diffusion`: slice classifier at {members.diffusion.image_size} pixels;"
            f" {_reconstruction(manifest)}."
        )
    yield ""
    yield "## Decision"
    if manifest.fusion is not None:
        yield (
            f"LightGBM over {len(manifest.fusion.columns)} columns, operating point"
            f" {manifest.fusion.operating_point:g}."
        )
        for name, constant in manifest.fusion.constant_columns.items():
            yield f"- `{name}` is held at {constant.value:g}: {constant.reason}"
    elif manifest.fallback is not None:
        yield (
            "No fusion model: the probability is that of the highest finding, operating point"
            f" {manifest.fallback.operating_point:g}."
        )
    yield ""
    yield "## Not known"
    yield "- How well it does on your patients: nothing was measured here."
    yield "- Operating points: those of the findings are 0.5, tuned on nothing."
    yield "- Probabilities are not calibrated."
    yield (
        "- Severities are the judgement of this project, see `docs/bundles.md`; they only choose the finding"
        " that is named as the most dangerous."
    )


def _reconstruction(manifest: BundleManifest) -> str:
    diffusion = manifest.members.diffusion
    rule = diffusion.reconstruction if diffusion is not None else None
    if rule is None:
        return "no reconstruction"
    state = "on" if rule.enabled else "off"
    return f"reconstruction {state} ({rule.slices} slices, {rule.steps} steps, {rule.schedule} schedule)"
