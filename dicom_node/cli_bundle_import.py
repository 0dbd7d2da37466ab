"""`dicom-node bundle import`: published checkpoints in, a bundle out."""

# ruff: noqa: PLC0415 - commands import what they need when they run
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from bundle_import.errors import ImportCode, ImportRefused
from dicom_node.terminal import say

FILES, LABELS, SIZES, WORDS = "Checkpoints", "Labels and decision", "Sizes that no shape tells", "Bundle"

Number = TypeVar("Number", int, float)


def import_bundle(  # noqa: PLR0917 - each is an option, passed by name
    name: Annotated[
        str, typer.Option(help="Name of the bundle: letters, digits, '.', '_', '-'.", rich_help_panel=WORDS)
    ],
    ctclip: Annotated[
        Path | None,
        typer.Option(
            help="CT-CLIP of either generation (CT-CLIP_v2.pt, CT_VocabFine_v2.pt): the zero-shot member.",
            rich_help_panel=FILES,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="Folder with config.json and vocab.txt of CT-CLIP's BERT (BiomedVLP-CXR-BERT-specialized)."
            " Needed with --ctclip; no BERT is kept in the bundle.",
            rich_help_panel=FILES,
        ),
    ] = None,
    supervised: Annotated[
        Path | None,
        typer.Option(
            help="A supervised head over CT-CLIP (supervised_model.pt) or ClassFine (CT_LiPro_v2.pt).",
            rich_help_panel=FILES,
        ),
    ] = None,
    slice_classifier: Annotated[
        Path | None,
        typer.Option(
            help="Slice classifier of the diffusion member (ct_classifier.pt).", rich_help_panel=FILES
        ),
    ] = None,
    unet: Annotated[
        Path | None,
        typer.Option(
            help="Diffusion UNet (diffusion_checkpoint_step_4000.pt); needs --slice-classifier.",
            rich_help_panel=FILES,
        ),
    ] = None,
    fusion: Annotated[
        Path | None,
        typer.Option(
            help="LightGBM model: text, or with --trust-pickle a joblib or pickle dump. Without one the"
            " probability is that of the highest finding.",
            rich_help_panel=FILES,
        ),
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Unpickle files that hold more than tensors. This runs code from the file: only for files of"
            " someone you trust.",
            rich_help_panel=FILES,
        ),
    ] = False,
    prompts: Annotated[
        str,
        typer.Option(
            help="What CT-CLIP is asked about: ct_rate_18, original_55, or a text file, one label a line.",
            rich_help_panel=LABELS,
        ),
    ] = "original_55",
    constant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE:REASON",
            help="Hold a fusion column that no member gives at a value; NAME may hold *. Every result"
            " says so. Repeatable.",
            rich_help_panel=LABELS,
        ),
    ] = None,
    operating_point: Annotated[
        float,
        typer.Option(
            help="From which probability on a study counts as pathological.", rich_help_panel=LABELS
        ),
    ] = 0.5,
    most_dangerous: Annotated[
        Literal["severity", "original_argmax"],
        typer.Option(
            help="severity: the highest-ranked present finding. original_argmax: the highest CT-CLIP column.",
            rich_help_panel=LABELS,
        ),
    ] = "severity",
    reconstruction: Annotated[
        bool,
        typer.Option(
            "--reconstruction",
            help="Reconstruct slices of every study with the UNet; minutes a study on a CPU.",
            rich_help_panel=LABELS,
        ),
    ] = False,
    schedule: Annotated[
        Literal["strided", "original"],
        typer.Option(
            help="strided: 50 distinct timesteps. original: the original's loop of 300.",
            rich_help_panel=LABELS,
        ),
    ] = "strided",
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="Z,X,Y",
            help="Voxels of the encoder input; else 240 square planes of the side that the weights tell.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    spacing: Annotated[
        str,
        typer.Option(
            metavar="Z,X,Y", help="Voxel spacing of the encoder input in mm.", rich_help_panel=SIZES
        ),
    ] = "1.5,0.75,0.75",
    slice_head_channels: Annotated[
        int,
        typer.Option(help="Channels of an attention head of the slice classifier.", rich_help_panel=SIZES),
    ] = 64,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, as every result states it.", rich_help_panel=WORDS),
    ] = None,
    intended_use: Annotated[
        str | None, typer.Option(help="What the bundle may be used for.", rich_help_panel=WORDS)
    ] = None,
    bundle_version: Annotated[
        str, typer.Option(help="Version of the bundle.", rich_help_panel=WORDS)
    ] = "1.0.0",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundles; else worker.bundles_folder.", rich_help_panel=WORDS),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a bundle of this name.", rich_help_panel=WORDS)
    ] = False,
) -> None:
    """Turn published checkpoints into a bundle.

    At least one of --ctclip, --supervised and --slice-classifier is needed.
    Checkpoints are read without running code from them. Missing tensors refuse
    the import by name; unexpected keys are listed and dropped. The bundle appears
    when it is whole and has read its own test volume; a failed import leaves
    nothing. See docs/bundles.md.
    """
    from bundle_import.assemble import import_bundle as run
    from bundle_import.fusion_model import ConstantRule
    from bundle_import.request import INTENDED_USE, LICENCE, ImportRequest
    from dicom_node.cli_settings import read_settings

    try:
        request = ImportRequest(
            name=name,
            bundles_folder=out if out is not None else read_settings(None).worker.bundles_folder,
            ctclip=ctclip,
            supervised=supervised,
            slice_classifier=slice_classifier,
            unet=unet,
            fusion=fusion,
            tokenizer=tokenizer,
            prompts=prompts,
            input_shape=None if input_shape is None else _three(input_shape, int),
            spacing_mm=_three(spacing, float),
            slice_head_channels=slice_head_channels,
            constants=tuple(ConstantRule.parse(words) for words in constant or ()),
            operating_point=operating_point,
            reconstruction=reconstruction,
            schedule=schedule,
            most_dangerous=most_dangerous,
            licence=licence or LICENCE,
            intended_use=intended_use or INTENDED_USE,
            version=bundle_version,
            replace=replace,
            trust_pickle=trust_pickle,
        )
        manifest = run(request, lambda words: say(words, err=True))
    except ImportRefused as refusal:
        say(str(refusal), err=True)
        raise typer.Exit(1) from refusal
    size = sum(file.bytes for file in manifest.files.values())
    say(f"{request.target}  {len(manifest.files)} files, {size / 1e6:.1f} MB")


def _three(words: str, number: Callable[[str], Number]) -> tuple[Number, Number, Number]:
    """Three numbers with commas between them; `ImportRefused` (`bad_option`) otherwise."""
    try:
        z, x, y = (number(word) for word in words.split(","))
    except ValueError as error:
        raise ImportRefused(ImportCode.BAD_OPTION, f"{words!r}: three numbers Z,X,Y are wanted") from error
    return z, x, y
