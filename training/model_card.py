"""The bundle's README: what it is, how it was made, what it measured."""

from __future__ import annotations

import textwrap
from typing import Any

from models.manifest import SIDES_RELIED_ON, BundleManifest, SaliencySpec
from training.calibration import BAND_SHARE, Believability, MeasuredCalibration
from training.metrics import CALIBRATION_BINS
from training.recipe import Recipe

_HISTORY = "\n## History\n"
_WHERE, _AFTER_WHERE = "## Where it looks\n", "## Calibration\n"


def kept_history(card: str) -> str:
    """What a card says under "History", its last section: written by a person, kept when figures change."""
    return card.partition(_HISTORY)[2].strip()


def with_saliency(card: str, version: str, saliency: SaliencySpec | None) -> str:
    """The card with another version in its title, and the section on saliency written anew."""
    title, rest = card.split("\n", maxsplit=1)
    before, _, after = rest.partition(_AFTER_WHERE)
    before = before.partition(_WHERE)[0]
    title = f"{title.rsplit(' ', maxsplit=1)[0]} {version}"
    return f"{title}\n{before}{_WHERE}{_where(saliency)}\n\n{_AFTER_WHERE}{after}"


def model_card(
    manifest: BundleManifest,
    recipe: Recipe,
    report: dict[str, Any],
    calibration: MeasuredCalibration,
    history: str = "",
) -> str:
    """Markdown with the figures of `report` (`evaluation.json`) and `calibration`, and the `history`."""
    pathology, cases, acquisitions = report["pathology"], recipe.cases, report["acquisitions"]
    size = sum(file.bytes for file in manifest.files.values()) / 1e6
    tower = recipe.tower
    rule = recipe.reconstruction
    findings = "\n".join(_finding_row(name, figures) for name, figures in report["findings"].items())
    past = f"{_HISTORY}{history}\n" if history else ""
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
thoraces train the networks, {cases.fusion} others the fusion, {cases.validation} set each finding's operating
point (greatest F1 score), {cases.calibration} the calibration and the study's operating point (greatest
sensitivity + specificity). Every case follows from its seed, and no two of these share a seed
(`phantom/cases.py`). On another processor the weights come out with other last digits, and the figures below
within their noise. `--stage calibration` measures calibration and figures anew for the weights as they are,
`--stage saliency` where they look.

## What it measured
On {report["cases"]} held-out cases, {report["abnormal"]} of them abnormal, with the weights as shipped:

**Normal against abnormal: AUROC {pathology["auroc"]:.3f}**, sensitivity {pathology["sensitivity"]:.2f} and \
specificity {pathology["specificity"]:.2f}
at the operating point {pathology["operating_point"]:.3f} ({pathology["true_positive"]} true positive, \
{pathology["false_positive"]} false positive,
{pathology["true_negative"]} true negative, {pathology["false_negative"]} false negative).
Cases are drawn abnormal one time in two.

| Finding | cases | AUROC | `supervised` | `ctclip` | operating point | sensitivity | specificity |
|---|---|---|---|---|---|---|---|
{findings}

Normal against abnormal by single columns, AUROC:

| Column | AUROC |
|---|---|
{members}

Training renders cases on the encoder's own grid. On {acquisitions["cases"]} of the held-out cases as whole
acquisitions (512 x 512 pixels, resampled by the node) the study's probability differs by
{acquisitions["mean_difference"]:.3f} on average and {acquisitions["greatest_difference"]:.3f} at most, and \
{acquisitions["same_decision"]} of {acquisitions["cases"]} decisions are the same.
AUROC there: {acquisitions["auroc"]:.3f}.

{_WHERE}{_where(manifest.saliency)}

{_AFTER_WHERE}{_calibration(calibration)}

{_band(report)}

## Limits
- The findings are idealised: six kinds, one to three in an abnormal case, nodules of 12 to 30 mm.
- Probabilities hold for the prevalence of the synthetic cases.
- The slice classifier and the reconstruction look at {recipe.classifier.image_size} pixels a side of an
  already coarse volume.
{past}"""


def _where(saliency: SaliencySpec | None) -> str:
    """From which value on a finding is located, and whether sides are told."""
    if saliency is None:
        return "No threshold was found from which on the saliency locates a finding."
    located = (
        f"Saliency (gradient x token) locates a finding from {saliency.voxel_threshold:g} on, the threshold"
        " of the greatest F1 score of places on the cases that set the findings' operating points. It shows"
        " where the networks looked, in places as large as a token, and outlines nothing."
    )
    if saliency.side_agreement is None:
        return _filled(located)
    told = "sides are told" if saliency.tells_sides else "no side is told in results and reports"
    return _filled(
        f"{located} On {saliency.cohort}, it named a side for {saliency.side_cases}, and"
        f" {100 * saliency.side_agreement:.0f} % of those sides were right (a side of a finding on both is"
        f" wrong; {100 * SIDES_RELIED_ON:.0f} % are needed): {told}."
    )


def _calibration(measured: MeasuredCalibration) -> str:
    """What was fitted on which cases, what it did to others, and whether it is shipped."""
    low, high = measured.brier_change
    changes = (
        f"Brier score {measured.after.brier - measured.before.brier:+.4f}, calibration error"
        f" {measured.after.ece - measured.before.ece:+.4f}"
    )
    outcome = (
        f"Both fall ({changes}), so the bundle ships it."
        if measured.helps
        else f"It would have to keep the order of studies and lower both, and does not ({changes}):"
        " the bundle does not ship it, its method is `none`, and the probability stays as the fusion gives"
        " it."
    )
    certainty = "the interval lies below 0" if high < 0 else "the interval is not all below 0"
    fitted = _filled(
        "Platt scaling, sigmoid(slope x log-odds + intercept), was fitted by maximum likelihood to the"
        f" fusion's probabilities of {measured.fitted_on} cases that trained neither members nor fusion:"
        f" slope {measured.platt.slope:.3f}, intercept {measured.platt.intercept:.3f}. Measured on"
        f" {measured.measured_on} other cases ({measured.cohort}), which decide only whether it is shipped:"
    )
    found = _filled(
        f"{outcome} By bootstrap over the cases the Brier score changes by {low:+.4f} to {high:+.4f} (95 %;"
        f" {certainty}). The calibration error is that of Naeini et al. (2015) over {CALIBRATION_BINS} bins"
        " of equally many cases; with so few cases a bin it is above 0 for a perfect probability too."
    )
    return f"""{fitted}

| | Brier score | expected calibration error |
|---|---|---|
{_believability_row("before", measured.before)}
{_believability_row("after Platt scaling", measured.after)}

{found}"""


def _believability_row(name: str, figures: Believability) -> str:
    return f"| {name} | {figures.brier:.4f} | {figures.ece:.4f} |"


def _band(report: dict[str, Any]) -> str:
    """How the indeterminate band was made and what it holds, or why there is none."""
    share = f"{100 * BAND_SHARE:g} %"
    figures = report["indeterminate"]
    if figures is None:
        return _filled(
            "There is no indeterminate band: on the cases that set the operating point, one threshold reaches"
            f" {share} sensitivity and {share} specificity."
        )
    return _filled(
        f"Probabilities of {figures['low']:.3f} to {figures['high']:.3f} are called indeterminate: on the"
        f" cases that set the operating point, from the highest threshold of {share} sensitivity to the"
        f" lowest of {share} specificity, extended to the operating point. Of the {report['cases']} held-out"
        f" cases {figures['cases']} lie in it, {figures['abnormal']} of them abnormal; of the others"
        f" {figures['wrong_outside']} are called wrongly."
    )


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, width=110, break_long_words=False, break_on_hyphens=False)


def _finding_row(name: str, figures: dict[str, float]) -> str:
    cells = [name, f"{figures['true_positive'] + figures['false_negative']:.0f}"]
    cells += [f"{figures[key]:.3f}" for key in ("auroc", "supervised", "ctclip", "operating_point")]
    cells += [f"{figures[key]:.2f}" for key in ("sensitivity", "specificity")]
    return f"| {' | '.join(cells)} |"


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
