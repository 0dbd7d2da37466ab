"""What an import is asked for, and whether that can be done at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.fusion_model import ConstantRule
from bundle_import.prompt_lists import ORIGINAL_55
from bundle_import.sizes import PUBLISHED_HEAD_CHANNELS
from models.published import PUBLISHED_INPUT

LICENCE = (
    "Unknown: ask whoever published the weights. CT-CLIP's published weights are CC-BY-NC-SA, as their"
    " authors state."
)
INTENDED_USE = "Research. Not a medical device, not for diagnosis."

Schedule = Literal["strided", "original"]
STEPS: dict[Schedule, int] = {"strided": 50, "original": 300}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The files and the decisions.

    Attributes
    ----------
    input_shape
        Voxels of the encoder input (z, x, y); None for 240 square planes of the side that the weights tell.
    spacing_mm
        Of its voxels (z, x, y).
    slice_head_channels
        Channels of an attention head of the slice classifier.
    prompts
        A list that comes with the node, or a text file of labels.
    operating_point
        Of the study's probability, with a fusion model or without.
    """

    name: str
    bundles_folder: Path
    ctclip: Path | None = None
    supervised: Path | None = None
    slice_classifier: Path | None = None
    unet: Path | None = None
    fusion: Path | None = None
    tokenizer: Path | None = None
    prompts: str = ORIGINAL_55
    input_shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] = PUBLISHED_INPUT.spacing_mm
    slice_head_channels: int = PUBLISHED_HEAD_CHANNELS
    constants: tuple[ConstantRule, ...] = ()
    operating_point: float = 0.5
    reconstruction: bool = False
    schedule: Schedule = "strided"
    most_dangerous: Literal["severity", "original_argmax"] = "severity"
    licence: str = LICENCE
    intended_use: str = INTENDED_USE
    version: str = "1.0.0"
    replace: bool = False
    trust_pickle: bool = False

    @property
    def target(self) -> Path:
        """The bundle's folder."""
        return self.bundles_folder / self.name


def check_request(request: ImportRequest) -> None:
    """Refuse what cannot be done before anything large is read.

    Raises
    ------
    ImportRefused
        ``no_member``, ``bad_option``, ``name_taken``
    """
    if request.ctclip is None and request.supervised is None and request.slice_classifier is None:
        raise ImportRefused(
            ImportCode.NO_MEMBER, "at least one of --ctclip, --supervised and --slice-classifier is needed"
        )
    contradictions = {
        f"--name {request.name!r}: letters, digits, '.', '_' and '-' are allowed, 64 at most": (
            _NAME.fullmatch(request.name) is None
        ),
        "--ctclip needs --tokenizer, the folder of its BERT's config.json and vocab.txt": (
            request.ctclip is not None and request.tokenizer is None
        ),
        "--unet needs --slice-classifier, which guides it": (
            request.unet is not None and request.slice_classifier is None
        ),
        "--reconstruction needs --unet": request.reconstruction and request.unet is None,
        "--most-dangerous original_argmax needs --ctclip, whose columns it compares": (
            request.most_dangerous == "original_argmax" and request.ctclip is None
        ),
        "--constant needs --fusion, whose columns it declares": bool(request.constants)
        and request.fusion is None,
        "--operating-point lies between 0 and 1": not 0 < request.operating_point < 1,
        "--slice-head-channels is a positive number": request.slice_head_channels < 1,
        "--input-shape and --spacing are three positive numbers": (
            min(request.input_shape or (1,)) <= 0 or min(request.spacing_mm) <= 0
        ),
    }
    for words, holds in contradictions.items():
        if holds:
            raise ImportRefused(ImportCode.BAD_OPTION, words)
    if request.target.exists() and not request.replace:
        raise ImportRefused(
            ImportCode.NAME_TAKEN, f"{request.target} exists; choose another --name, or --replace it"
        )
