"""Each checkpoint turned into its member: weights written, tables of ``bundle.toml`` filled.

One checkpoint is open at a time, and of its tensors only those that inference uses are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from torch import Tensor

from bundle_import.checkpoint_file import Checkpoint, Say, read_checkpoint
from bundle_import.layouts import check_complete, split
from bundle_import.prompt_latents import bert_config, prompt_latents
from bundle_import.prompt_lists import CT_RATE_18, SUPERVISED_15, LabelList, head_labels, shipped_lists
from bundle_import.request import STEPS, ImportRequest
from bundle_import.sizes import patch_sizes, slice_classifier_config, tower_config, unet_config
from models.bundle import TEXT_LATENTS
from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.manifest import (
    CTCLIPSpec,
    DiffusionSpec,
    ReconstructionSpec,
    SliceClassifierSpec,
    SourceFile,
    SupervisedSpec,
    TowerSpec,
    UNetSpec,
)
from models.published import (
    PUBLISHED_DIM_LATENT,
    Layout,
    Part,
    PublishedParts,
)
from models.slice_classifier import SliceClassifier
from models.supervised import ClassFineHead, SupervisedHead
from models.tensor_files import TensorFileWriter
from models.text_tower import TextTower
from models.unet import UNet

_HEAD = "to_visual_latent.weight"
_FIRST_FRAME = "visual_transformer.to_patch_emb_first_frame.1.weight"


@dataclass
class MemberImport:
    """Writes members into ``folder``, one after another; equal tensors and image encoders are kept once."""

    request: ImportRequest
    folder: Path
    say: Say
    towers: dict[str, TowerSpec] = field(default_factory=dict)
    sources: dict[str, SourceFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._writer = TensorFileWriter(self.folder)

    def ctclip(self, path: Path, tokenizer: Path, prompts: LabelList) -> CTCLIPSpec:
        """The zero-shot member with the text latents of its prompts.

        Raises
        ------
        ImportRefused
            For everything that :mod:`bundle_import.errors` has a word for.
        """
        checkpoint, parts = self._open("ctclip", path, ("ctclip",))
        bert = bert_config(tokenizer, parts.states["text_tower"])
        config = self._tower_config(checkpoint, parts)
        dim_image, dim_latent = _head_sizes(parts.states["ctclip"], config)
        states = check_complete(
            checkpoint,
            "ctclip",
            {
                "tower": (partial(CTViT, config), parts.states["tower"]),
                "ctclip": (partial(CTCLIPHead, dim_image, dim_latent), parts.states["ctclip"]),
                "text_tower": (partial(TextTower, bert, dim_latent), parts.states["text_tower"]),
            },
            self.say,
        )
        tower = self._write_tower("ctclip", config, states["tower"])
        latents = prompt_latents(bert, states["text_tower"], tokenizer, prompts.names)
        self.say(f"text latents of {len(prompts.names)} labels computed; no BERT is kept")
        file = "ctclip.safetensors"
        self._writer.write(file, {**states["ctclip"], TEXT_LATENTS: latents})
        return CTCLIPSpec(tower, file, dim_latent, prompts.names)

    def supervised(self, path: Path) -> tuple[SupervisedSpec, LabelList]:
        """The trained member, of either head, and its labels.

        Raises
        ------
        ImportRefused
            As :meth:`ctclip`.
        """
        checkpoint, parts = self._open("supervised", path, ("supervised", "classfine"))
        is_classfine = parts.layout == "classfine"
        part: Part = "classfine" if is_classfine else "supervised"
        otherwise = CT_RATE_18 if is_classfine else SUPERVISED_15
        state = parts.states[part]
        classifier = state.get("classifier.weight" if is_classfine else "classifier.1.weight")
        classes = len(shipped_lists()[otherwise].names) if classifier is None else classifier.shape[0]
        build = ClassFineHead if is_classfine else SupervisedHead
        config = self._tower_config(checkpoint, parts)
        dim_image, dim_latent = _head_sizes(state, config)
        states = check_complete(
            checkpoint,
            parts.layout,
            {
                "tower": (partial(CTViT, config), parts.states["tower"]),
                part: (partial(build, dim_image, dim_latent, classes), state),
            },
            self.say,
        )
        labels = head_labels(classes, parts.labels, otherwise)
        self.say(f"{path.name}: {classes} labels from {labels.source}")
        tower = self._write_tower("supervised", config, states["tower"])
        file = "supervised.safetensors"
        self._writer.write(file, states[part])
        head = "classfine" if is_classfine else "layernorm"
        return SupervisedSpec(tower, file, head, dim_latent, labels.names), labels

    def diffusion(self, classifier_path: Path, unet_path: Path | None) -> DiffusionSpec:
        """The slice networks, and how they reconstruct.

        Raises
        ------
        ImportRefused
            As :meth:`ctclip`.
        """
        checkpoint, parts = self._open("slice_classifier", classifier_path, ("slice_classifier",))
        state = parts.states["slice_classifier"]
        config = slice_classifier_config(state, self.request.slice_head_channels)
        classifier = SliceClassifierSpec(**asdict(config), file="slice_classifier.safetensors")
        build = partial(SliceClassifier, config)
        states = check_complete(
            checkpoint, "slice_classifier", {"slice_classifier": (build, state)}, self.say
        )
        self._writer.write(classifier.file, states["slice_classifier"])
        if unet_path is None:
            return DiffusionSpec(config.image_size, classifier)
        rule = ReconstructionSpec(
            enabled=self.request.reconstruction,
            slices=16,
            steps=STEPS[self.request.schedule],
            schedule=self.request.schedule,
        )
        unet = self._unet(unet_path, config.image_size)
        return DiffusionSpec(config.image_size, classifier, unet, rule)

    def _unet(self, path: Path, image_size: int) -> UNetSpec:
        checkpoint, parts = self._open("unet", path, ("unet",))
        state = parts.states["unet"]
        config = unet_config(state, image_size)
        states = check_complete(checkpoint, "unet", {"unet": (partial(UNet, config), state)}, self.say)
        spec = UNetSpec(**asdict(config), file="unet.safetensors")
        self._writer.write(spec.file, states["unet"])
        return spec

    def _open(self, source: str, path: Path, wanted: tuple[Layout, ...]) -> tuple[Checkpoint, PublishedParts]:
        """Read a checkpoint and take it apart; enter it under `[sources]`."""
        checkpoint = read_checkpoint(path, trust_pickle=self.request.trust_pickle, say=self.say)
        parts = split(checkpoint, f"--{source.replace('_', '-')}", wanted, self.say)
        self.sources[source] = SourceFile(checkpoint.sha256, checkpoint.bytes, parts.layout)
        return checkpoint, parts

    def _tower_config(self, checkpoint: Checkpoint, parts: PublishedParts) -> CTViTConfig:
        tower, head = parts.states["tower"], parts.states[parts.layout].get(_HEAD)
        first_frame = next((key for key in parts.unused if key.endswith(_FIRST_FRAME)), None)
        plane = None if first_frame is None else checkpoint.tensors[first_frame].shape[0]
        shape = self.request.input_shape
        sides = None if shape is None else (shape[1], shape[2])
        dim_image = None if head is None else head.shape[1]
        return tower_config(tower, patch_sizes(tower, plane), dim_image, sides)

    def _write_tower(self, member: str, config: CTViTConfig, state: Mapping[str, Tensor]) -> str:
        """Name of the image encoder of these sizes and weights, which is written if it is new."""
        for name, spec in self.towers.items():
            if spec == TowerSpec(**asdict(config), file=spec.file) and self._writer.holds(spec.file, state):
                self.say(
                    f"the image encoder of {member} is that of {name}: stored once, one image pass for both"
                )
                return name
        name = member if self.towers else "main"
        spec = TowerSpec(
            **asdict(config), file="tower.safetensors" if name == "main" else f"tower_{name}.safetensors"
        )
        self._writer.write(spec.file, state)
        self.towers[name] = spec
        return name


def _head_sizes(state: Mapping[str, Tensor], config: CTViTConfig) -> tuple[int, int]:
    """Values that an image head takes, and those of its latent."""
    if _HEAD in state:
        return state[_HEAD].shape[1], state[_HEAD].shape[0]
    norm = state.get("pre_head_norm.weight")
    return math.prod(config.grid) * config.dim, PUBLISHED_DIM_LATENT if norm is None else norm.shape[0]
