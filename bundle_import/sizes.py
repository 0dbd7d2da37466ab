"""The sizes of the networks, read from the shapes of a checkpoint's tensors.

Where the tensor that tells a size is absent the published size stands in, so that all that is missing can be
named at once. What no shape tells is an option of the import, with the published value as default:

- the spacing and the number of planes of the encoder input, and its sides where a plane is not square;
- the channels of an attention head of the slice classifier.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from bundle_import.errors import ImportCode, ImportRefused
from models.ctvit import CTViTConfig
from models.published import PUBLISHED_SLICE_CLASSIFIER, PUBLISHED_TOWER, PUBLISHED_UNET
from models.slice_classifier import SliceClassifierConfig
from models.unet import UNetConfig

PUBLISHED_HEAD_CHANNELS = PUBLISHED_SLICE_CLASSIFIER.num_head_channels

_PATCH = "to_patch_emb.1.weight"

# Tensors whose last axis is the width of the image encoder.
_WIDTHS = ("to_patch_emb.3.weight", "enc_spatial_transformer.norm_out.gamma", "vq._codebook.embed")

State = Mapping[str, Tensor]


def patch_sizes(tower: State, first_frame_values: int | None) -> tuple[int, int]:
    """Side of a patch in voxels and its planes.

    Parameters
    ----------
    first_frame_values
        Values of a patch of the unused single-plane embedding: the square of the side. None if the checkpoint
        has none; the published side is then taken.

    Raises
    ------
    ImportRefused
        ``sizes_unknown`` if a patch is no whole number of such planes.
    """
    plane = first_frame_values or PUBLISHED_TOWER.patch_size**2
    values = _size(tower, _PATCH, 0, plane * PUBLISHED_TOWER.temporal_patch_size)
    side = math.isqrt(plane)
    if side * side != plane or values % plane:
        raise ImportRefused(
            ImportCode.SIZES_UNKNOWN, f"a patch of {values} values is no number of planes of {plane} values"
        )
    return side, values // plane


def tower_config(
    tower: State, patch: tuple[int, int], dim_image: int | None, sides: tuple[int, int] | None
) -> CTViTConfig:
    """Sizes of the image encoder.

    Parameters
    ----------
    tower
        Its tensors under its own names.
    patch
        As :func:`patch_sizes` gives it.
    dim_image
        Values that the image head takes, h * w * dim of the token grid; None if that is not known.
    sides
        Sides of a plane of the encoder input, as given; None for a square plane, whose side follows.

    Raises
    ------
    ImportRefused
        ``sizes_unknown`` if the plane is not square, or not the one given.
    """
    published = PUBLISHED_TOWER
    dim = next((tower[key].shape[-1] for key in _WIDTHS if key in tower), None)
    if dim is None or dim_image is None:
        dim, sides = dim or published.dim, sides or published.image_size
    else:
        side = math.isqrt(dim_image // dim) * patch[0]
        sides = sides or (side, side)
        if math.prod(sides) * dim != dim_image * patch[0] ** 2:
            raise ImportRefused(
                ImportCode.SIZES_UNKNOWN,
                f"the image head takes {dim_image} values, which are no {dim} for each patch of {patch[0]} x"
                f" {patch[0]} voxels in a plane of {sides[0]} x {sides[1]}; give --input-shape",
            )
    if any(side % patch[0] for side in sides):
        raise ImportRefused(
            ImportCode.SIZES_UNKNOWN, f"planes of {sides[0]} x {sides[1]} are no whole patches of {patch[0]}"
        )
    # Layers that are absent at the end look like a shorter transformer. One of the published width is taken
    # to have the published depth, so that they are missed by name.
    least = (published.spatial_depth, published.temporal_depth) if dim == published.dim else (1, 1)
    return CTViTConfig(
        dim=dim,
        codebook_size=_size(tower, "vq._codebook.embed", 1, published.codebook_size),
        image_size=sides,
        patch_size=patch[0],
        temporal_patch_size=patch[1],
        spatial_depth=max(_depth(tower, "enc_spatial_transformer"), least[0]),
        temporal_depth=max(_depth(tower, "enc_temporal_transformer"), least[1]),
        dim_head=_size(tower, "enc_spatial_transformer.layers.0.1.q_scale", 0, published.dim_head),
        heads=_size(tower, "spatial_rel_pos_bias.net.2.weight", 0, published.heads),
    )


def slice_classifier_config(state: State, head_channels: int) -> SliceClassifierConfig:
    """Sizes of the slice classifier; ``head_channels`` are those of an attention head.

    A block that halves the resolution looks like any other of its width, so the levels are found by trying:
    blocks of a level have one width and all or none of them attention, the first of the next level, which
    halves, has neither attention nor a change of width.

    Raises
    ------
    ImportRefused
        ``sizes_unknown`` if several numbers of levels fit and none is the published one.
    """
    published = replace(PUBLISHED_SLICE_CLASSIFIER, num_head_channels=head_channels)
    blocks = _blocks(state)
    if "time_embed.0.weight" not in state or "out.2.positional_embedding" not in state:
        return published
    channels = state["time_embed.0.weight"].shape[1]
    side = math.isqrt(state["out.2.positional_embedding"].shape[1] - 1)
    fitting = [
        SliceClassifierConfig(
            image_size=side * 2 ** (len(levels) - 1),
            model_channels=channels,
            num_res_blocks=len(levels[0]),
            attention_resolutions=_attention(levels),
            channel_mult=tuple(level[0][0] // channels for level in levels),
            num_head_channels=head_channels,
        )
        for levels in _classifier_levels(blocks)
    ]
    preferred = [config for config in fitting if config.image_size == published.image_size]
    if not fitting:
        return published
    if len(fitting) > 1 and len(preferred) != 1:
        found = " and ".join(str(len(config.channel_mult)) for config in fitting)
        raise ImportRefused(
            ImportCode.SIZES_UNKNOWN, f"the slice classifier's blocks fit {found} levels alike"
        )
    return (preferred or fitting)[0]


def unet_config(state: State, image_size: int) -> UNetConfig:
    """Sizes of the UNet over slices of ``image_size`` pixels; it has one attention head, as published."""
    published = PUBLISHED_UNET
    blocks = _blocks(state)
    if "time_embed.0.weight" not in state or not all(width for width, _ in blocks):
        return published
    channels = state["time_embed.0.weight"].shape[1]
    levels: list[list[tuple[int, bool]]] = [[]]
    for number, block in list(enumerate(blocks))[1:]:
        if f"input_blocks.{number}.0.op.weight" in state:
            levels.append([])
        else:
            levels[-1].append(block)
    if not all(levels):
        return published
    return UNetConfig(
        image_size=image_size,
        model_channels=channels,
        num_res_blocks=max(len(level) for level in levels),
        attention_resolutions=_attention(levels),
        channel_mult=tuple(level[0][0] // channels for level in levels),
        num_classes=_size(state, "label_emb.weight", 0, published.num_classes),
        num_heads=published.num_heads,
    )


def _size(state: State, key: str, axis: int, otherwise: int) -> int:
    return state[key].shape[axis] if key in state and state[key].ndim > axis else otherwise


def _depth(state: State, transformer: str) -> int:
    """Number of layers of a transformer."""
    return _count(state, rf"{transformer}\.layers\.(\d+)\.")


def _count(keys: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern finds at the beginning of a key; 0 for none."""
    found = (re.match(pattern, key) for key in keys)
    return max((int(match.group(1)) + 1 for match in found if match), default=0)


def _blocks(state: State) -> list[tuple[int, bool]]:
    """Width of every input block's result, and whether it has attention."""
    blocks = []
    for number in range(_count(state, r"input_blocks\.(\d+)\.")):
        stem = f"input_blocks.{number}."
        names = ("0.weight", "0.in_layers.2.weight", "0.op.weight")
        width = next((state[stem + name].shape[0] for name in names if stem + name in state), 0)
        blocks.append((width, f"{stem}1.qkv.weight" in state))
    return blocks


def _attention(levels: list[list[tuple[int, bool]]]) -> tuple[int, ...]:
    """Downsampling factors at which there is attention."""
    return tuple(2**number for number, level in enumerate(levels) if any(has for _, has in level))


def _classifier_levels(blocks: list[tuple[int, bool]]) -> Iterator[list[list[tuple[int, bool]]]]:
    """Every way to cut the input blocks, of which the first is a plain convolution, into levels."""
    for step in range(2, len(blocks) + 1):
        if len(blocks) % step:
            continue
        levels = [blocks[start + 1 : start + step] for start in range(0, len(blocks), step)]
        uniform = all(len(set(level)) == 1 for level in levels)
        halving = [(blocks[start - 1][0], blocks[start]) for start in range(step, len(blocks), step)]
        if (
            all(width for width, _ in blocks)
            and uniform
            and all(block == (width, False) for width, block in halving)
        ):
            yield levels
