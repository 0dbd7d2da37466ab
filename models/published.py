"""Published checkpoints taken apart into the networks of this room.

Five layouts are known: CT-CLIP (``CT_VocabFine_v2.pt``, ``CT-CLIP_v2.pt``), the supervised head over it
(``ct_clip.`` prefix), ClassFine (``CT_LiPro_v2.pt``, ``trained_model.`` prefix), the slice classifier and the
UNet. A key that no network wants is reported; a key that a network misses is refused by name, because a
prefix mistake would otherwise leave random weights behind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from models.ctvit import CTViTConfig
from models.manifest import InputSpec
from models.slice_classifier import SliceClassifierConfig
from models.unet import UNetConfig

Layout = Literal["ctclip", "supervised", "classfine", "slice_classifier", "unet"]
Part = Literal["tower", "ctclip", "text_tower", "supervised", "classfine", "slice_classifier", "unet"]

# What the checkpoints hold and inference never uses, under the names of the CT-CLIP layout.
UNUSED = tuple(
    re.compile(pattern)
    for pattern in (
        r"to_(text|visual)_latent_extra\.weight",  # latents of the decoupled contrastive loss, 600 MB
        r"text_transformer\.pooler\.dense\.(weight|bias)",  # the state is read before the pooler
        r"text_transformer\.embeddings\.position_ids",  # 0, 1, 2 ...: BERT makes them itself
        r"visual_transformer\.to_patch_emb_first_frame\.[123]\.(weight|bias)",  # single images
        r"visual_transformer\.to_pixels(_first_frame)?\.0\.(weight|bias)",  # the decoder's last layer
        r"visual_transformer\.enc_\w+_transformer\.layers\.\d+\.1\.context_norm\.\w+",  # no cross-attention
        r"visual_transformer\.enc_\w+_transformer\.layers\.\d+\.1\.null_kv",  # empty
        r"visual_transformer\.vq\._codebook\.(initted|cluster_size)",  # the codebook's training state
        r"temperature",  # used by CT-CLIP itself, not by the heads trained over it
    )
)

# What inference uses: how a key of the CT-CLIP layout begins, its network, what the network's own name lacks.
_CTCLIP_PLACES: tuple[tuple[str, Part, str], ...] = (
    ("visual_transformer.spatial_rel_pos_bias.", "tower", "visual_transformer."),
    ("visual_transformer.to_patch_emb.", "tower", "visual_transformer."),
    ("visual_transformer.enc_spatial_transformer.", "tower", "visual_transformer."),
    ("visual_transformer.enc_temporal_transformer.", "tower", "visual_transformer."),
    ("visual_transformer.vq._codebook.embed", "tower", "visual_transformer."),
    ("text_transformer.", "text_tower", ""),
    ("to_text_latent.", "text_tower", ""),
)
_PREFIXES: dict[Layout, str] = {"ctclip": "", "supervised": "ct_clip.", "classfine": "trained_model."}
_HEADS: dict[Layout, tuple[str, ...]] = {
    "ctclip": ("to_visual_latent.", "temperature"),
    "supervised": ("pre_head_norm.", "classifier."),
    "classfine": ("classifier.",),
}

# The key that tells a layout; those with a prefix first.
SIGNS: tuple[tuple[str, Layout], ...] = (
    ("ct_clip.to_visual_latent.weight", "supervised"),
    ("trained_model.to_visual_latent.weight", "classfine"),
    ("to_visual_latent.weight", "ctclip"),
    ("out.2.positional_embedding", "slice_classifier"),
    ("label_emb.weight", "unet"),
)

# Sizes of the published networks, and the input that they were trained on.
PUBLISHED_INPUT = InputSpec(spacing_mm=(1.5, 0.75, 0.75), shape=(240, 480, 480), minimum_slices=20)
PUBLISHED_TOWER = CTViTConfig(
    dim=512,
    codebook_size=8192,
    image_size=(480, 480),
    patch_size=20,
    temporal_patch_size=10,
    spatial_depth=4,
    temporal_depth=4,
    dim_head=32,
    heads=8,
)
PUBLISHED_DIM_LATENT = 512
PUBLISHED_SLICE_CLASSIFIER = SliceClassifierConfig(
    image_size=256,
    model_channels=32,
    num_res_blocks=2,
    attention_resolutions=(8, 16, 32),
    channel_mult=(1, 1, 2, 2, 4, 4),
    num_head_channels=64,
)
PUBLISHED_UNET = UNetConfig(
    image_size=256,
    model_channels=128,
    num_res_blocks=2,
    attention_resolutions=(16,),  # a factor that four levels never reach: attention in the middle block only
    channel_mult=(1, 2, 4, 8),
)


@dataclass(frozen=True)
class PublishedParts:
    """A checkpoint's tensors by network, and what was left over.

    ``states`` maps a part to a state_dict under that network's own names. ``unused`` are the keys known to be
    of no use to inference; ``unexpected`` are those that no layout explains (the first CT-CLIP generation
    carries ``visual_transformer.discr.*`` and ``vgg`` keys), to be shown to whoever imports the checkpoint.
    ``labels`` are the class names that a training checkpoint brings, if it does.
    """

    layout: Layout
    states: dict[Part, dict[str, Tensor]]
    unused: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class MissingTensorsError(ValueError):
    """A network's tensors are absent from a checkpoint, or have another shape; ``keys`` names them."""

    def __init__(self, part: str, keys: Iterable[str]) -> None:
        self.part = part
        self.keys = tuple(keys)
        super().__init__(
            f"{part}: {len(self.keys)} tensors missing or of another shape: {', '.join(self.keys)}"
        )


def split_checkpoint(checkpoint: Mapping[str, Any], layout: Layout | None = None) -> PublishedParts:
    """Take a published checkpoint apart.

    Parameters
    ----------
    checkpoint : Mapping
        A state_dict, or a training checkpoint that holds one under ``model_state_dict`` (and, in the
        supervised layout, its class names under ``target_pathologies``).
    layout : Layout, optional
        Which layout it is; by default the one that its keys tell.

    Returns
    -------
    PublishedParts
        ``ctclip`` and ``supervised`` / ``classfine`` each have their own ``to_visual_latent.weight``.

    Raises
    ------
    ValueError
        The keys are of no known layout.
    """
    state = checkpoint.get("model_state_dict", checkpoint)
    labels = tuple(str(label) for label in checkpoint.get("target_pathologies") or ())
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if layout is None:
        layout = _layout(tensors)
    if layout in {"slice_classifier", "unet"}:
        return PublishedParts(layout, {layout: tensors})
    states: dict[Part, dict[str, Tensor]] = {"tower": {}, "text_tower": {}, layout: {}}
    unused, unexpected = [], []
    for key, tensor in tensors.items():
        place = _place(key, layout)
        if place is not None:
            part, name = place
            states[part][name] = tensor
        elif _is_unused(key, layout):
            unused.append(key)
        else:
            unexpected.append(key)
    return PublishedParts(layout, states, tuple(unused), tuple(unexpected), labels)


def fill(network: nn.Module, part: str, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load the tensors of ``part`` into its network; returns the keys that the network did not want.

    The network takes the tensors themselves, not copies, and with them their device and precision. It may
    have been built on the meta device, except the text tower: BERT has buffers that no checkpoint holds.
    ``part`` is what an error calls the tensors.

    Raises
    ------
    MissingTensorsError
        A tensor of the network is absent or has another shape. The network is then left as it was.
    """
    own = network.state_dict()
    missing = [key for key, tensor in own.items() if key not in state or state[key].shape != tensor.shape]
    if missing:
        raise MissingTensorsError(part, missing)
    network.load_state_dict({key: state[key] for key in own}, strict=True, assign=True)
    return tuple(key for key in state if key not in own)


def layout_of(keys: Collection[str]) -> Layout | None:
    """The layout that a checkpoint's keys tell; None if it is none of those known."""
    return next((layout for key, layout in SIGNS if key in keys), None)


def checkpoint_key(layout: Layout, part: Part, name: str) -> str:
    """What a checkpoint calls the tensor that the network of ``part`` calls ``name``."""
    if part in {"slice_classifier", "unet"} or name.startswith(_HEADS[layout]):
        return name
    cut = "visual_transformer." if part == "tower" else ""
    return f"{_PREFIXES[layout]}{cut}{name}"


def _is_unused(key: str, layout: Layout) -> bool:
    prefix = _PREFIXES[layout]
    return key.startswith(prefix) and any(rule.fullmatch(key, len(prefix)) for rule in UNUSED)


def _place(key: str, layout: Layout) -> tuple[Part, str] | None:
    """The network that a key belongs to and its name there; None if no network uses it."""
    prefix = _PREFIXES[layout]
    if key.startswith(_HEADS[layout]):
        return layout, key
    if not key.startswith(prefix) or _is_unused(key, layout):
        return None
    inner = key.removeprefix(prefix)
    if inner.startswith("to_visual_latent."):
        return layout, inner
    for beginning, part, cut in _CTCLIP_PLACES:
        if inner.startswith(beginning):
            return part, inner.removeprefix(cut)
    return None


def _layout(tensors: Mapping[str, Tensor]) -> Layout:
    layout = layout_of(tensors)
    if layout is None:
        signs = ", ".join(key for key, _ in SIGNS)
        raise ValueError(f"no known layout: none of {signs} among {len(tensors)} tensors")
    return layout
