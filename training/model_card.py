"""The bundle's README: what it is, how it was made, what it measured."""

from __future__ import annotations

from typing import Any

from models.manifest import BundleManifest
from training.recipe import Recipe


def model_card(manifest: BundleManifest, recipe: Recipe, report: dict[str, Any]) -> str:
    """Markdown with the figures of `report` (`evaluation.json`)."""
    pathology, cases, acquisitions = report["pathology"], recipe.cases, report["acquisitions"]
    size = sum(file.bytes for file in manifest.files.values()) / 1e6
    tower = recipe.tower
    rule = recipe.reconstruction
    findings = "\n".join(_finding_row(name, figures) for name, figures in report["findings"].items())
    members = "\n".join(f"| `{name}` | {value:.3f} |" for name, value in report["members"].items())
    return f"""# Bundle "{manifest.name}" {manifest.version}

**A demonstration. Not a medical device, not for diagnosis.** These networks have seen synthetic thoraces
only, made by `phantom/`. What they say about a real patient means nothing.

| | |
|---|---|
| Licence | {manifest.licence} |
| Size | {size:.1f} MB in {len(manifest.files)} files, weights in half precision |
| Input | {_by(recipe.shape)} voxels of {_by(recipe.spacing_mm)} mm, axes (z, x, y) |
| Image encoder | CT-ViT, dim {tower.dim}, depth {tower.spatial_depth} + {tower.temporal_depth}, \
patches of {_by((tower.patch_size, tower.patch_size, tower.temporal_patch_size))}, \
{tower.codebook_size} codes |
| `ctclip` | prompts "... is present." and "... is not present.", latents of {recipe.dim_latent} |
| `supervised` | LayerNorm head over its own latent of the same encoder pass |
| `diffusion` | slice classifier and guided DDIM of {rule.slices} slices x {rule.steps} steps at \
{recipe.classifier.image_size} x {recipe.classifier.image_size} |
| Fusion | LightGBM over {len(manifest.fusion.columns) if manifest.fusion else 0} named columns |

## How it was made
`python -m training --out best_models/demo --work var/training` makes it from nothing: {cases.encoder}
thoraces train the networks, {cases.fusion} others the fusion, {cases.validation} set the operating points
(greatest sensitivity + specificity for the whole, greatest F1 score for each finding). Every case follows
from its seed, and the ranges of seeds are disjoint (`phantom/cases.py`). On another processor the weights
come out with other last digits, and the figures below within their noise.

## What it measured
On {report["cases"]} held-out cases, {report["abnormal"]} of them abnormal, with the weights as shipped:

**Normal against abnormal: AUROC {pathology["auroc"]:.3f}**, sensitivity {pathology["sensitivity"]:.2f} and \
specificity {pathology["specificity"]:.2f}
at the operating point {pathology["operating_point"]:.3f} ({pathology["true_positive"]} true positive, \
{pathology["false_positive"]} false positive,
{pathology["true_negative"]} true negative, {pathology["false_negative"]} false negative). Brier score \
{pathology["brier"]:.3f}, expected calibration
error {pathology["calibration_error"]:.3f}, at a prevalence of one in two.

| Finding | cases | AUROC | `supervised` | `ctclip` | operating point | sensitivity | specificity |
|---|---|---|---|---|---|---|---|
{findings}

Normal against abnormal by single columns, AUROC:

| Column | AUROC |
|---|---|
{members}

Training renders cases on the encoder's own grid. On {acquisitions["cases"]} of the held-out cases as whole
acquisitions (512 x 512 pixels, resampled by the node) the fused probability differs by
{acquisitions["mean_difference"]:.3f} on average and {acquisitions["greatest_difference"]:.3f} at most, and \
{acquisitions["same_decision"]} of {acquisitions["cases"]} decisions are the same.
AUROC there: {acquisitions["auroc"]:.3f}.

## Limits
- The findings are idealised: six kinds, one to three in an abnormal case, nodules of 12 to 30 mm.
- Probabilities hold for the prevalence of the synthetic cases.
- The slice classifier and the reconstruction look at {recipe.classifier.image_size} pixels a side of an
  already coarse volume.
"""


def _finding_row(name: str, figures: dict[str, float]) -> str:
    cells = [name, f"{figures['true_positive'] + figures['false_negative']:.0f}"]
    cells += [f"{figures[key]:.3f}" for key in ("auroc", "supervised", "ctclip", "operating_point")]
    cells += [f"{figures[key]:.2f}" for key in ("sensitivity", "specificity")]
    return f"| {' | '.join(cells)} |"


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
