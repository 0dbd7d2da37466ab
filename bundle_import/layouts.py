"""Which layout a checkpoint has, and whether all of its tensors are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from bundle_import.checkpoint_file import Checkpoint, Say
from bundle_import.errors import ImportCode, ImportRefused
from models.published import SIGNS, Layout, Part, PublishedParts, checkpoint_key, layout_of, split_checkpoint

KEYS_SHOWN = 20

_NAMES: dict[Layout, str] = {
    "ctclip": "CT-CLIP (zero-shot)",
    "supervised": "supervised head over CT-CLIP",
    "classfine": "ClassFine (CT_LiPro)",
    "slice_classifier": "slice classifier of the diffusion member",
    "unet": "UNet of the diffusion member",
}
# What only this layout has, whatever went wrong with the prefix of the rest.
_HEAD_SIGNS: dict[str, Layout] = {"pre_head_norm.weight": "supervised", "classifier.weight": "classfine"}


def split(checkpoint: Checkpoint, option: str, wanted: tuple[Layout, ...], say: Say) -> PublishedParts:
    """Take a checkpoint apart; tell which keys nothing explains.

    Parameters
    ----------
    option
        The command's option that named the file, for the sentences.
    wanted
        Layouts that the option takes.

    Raises
    ------
    ImportRefused
        ``wrong_layout``, ``unknown_layout``
    """
    layout = _layout(checkpoint, option, wanted)
    parts = split_checkpoint(
        {"model_state_dict": checkpoint.tensors, "target_pathologies": checkpoint.labels}, layout
    )
    say(
        f"{checkpoint.path.name}: {_NAMES[layout]}, {len(checkpoint.tensors)} tensors,"
        f" {len(parts.unused)} of them known and never used"
    )
    tell_unexpected(checkpoint.path, parts.unexpected, say)
    return parts


def tell_unexpected(path: Path, keys: tuple[str, ...], say: Say) -> None:
    """One line for each key that no network wants, up to a cap, and how many there are."""
    if not keys:
        return
    say(f"{path.name}: {len(keys)} unexpected keys, dropped:")
    for key in keys[:KEYS_SHOWN]:
        say(f"  {key}")
    if len(keys) > KEYS_SHOWN:
        say(f"  ... and {len(keys) - KEYS_SHOWN} more")


def check_complete(
    checkpoint: Checkpoint,
    layout: Layout,
    needed: Mapping[Part, tuple[Callable[[], nn.Module], Mapping[str, Tensor]]],
    say: Say,
) -> dict[Part, dict[str, Tensor]]:
    """The tensors of each part that its network takes, all of them.

    Parameters
    ----------
    needed
        For every part how its network is built and the tensors that the checkpoint has for it.

    Raises
    ------
    ImportRefused
        ``missing_tensors``, naming every absent tensor of every part, and every one of another shape, as the
        checkpoint would call it.
    """
    absent: list[str] = []
    reshaped: list[str] = []
    unexpected: list[str] = []
    complete: dict[Part, dict[str, Tensor]] = {}
    for part, (build, state) in needed.items():
        key = partial(checkpoint_key, layout, part)
        with torch.device("meta"):
            own = build().state_dict()
        absent += [key(name) for name in own if name not in state]
        reshaped += [
            f"{key(name)} {tuple(state[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in own.items()
            if name in state and state[name].shape != tensor.shape
        ]
        unexpected += [key(name) for name in state if name not in own]
        complete[part] = {name: state[name] for name in own if name in state}
    if absent or reshaped:
        raise ImportRefused(
            ImportCode.MISSING_TENSORS, " ".join(_missing_words(checkpoint, layout, absent, reshaped))
        )
    tell_unexpected(checkpoint.path, tuple(unexpected), say)
    return complete


def _layout(checkpoint: Checkpoint, option: str, wanted: tuple[Layout, ...]) -> Layout:
    """The layout among those wanted that the keys tell, or that a head tells where a prefix went wrong."""
    keys = checkpoint.tensors
    layout = layout_of(keys)
    if layout in wanted:
        return layout
    head = next((named for key, named in _HEAD_SIGNS.items() if key in keys and named in wanted), None)
    if head is not None:
        return head
    if layout is not None:
        raise ImportRefused(
            ImportCode.WRONG_LAYOUT,
            f"{checkpoint.path.name} has the layout {layout}, a {_NAMES[layout]}; {option} takes"
            f" {' or '.join(f'{name} ({_NAMES[name]})' for name in wanted)}",
        )
    signs = {key: named for key, named in SIGNS if named in wanted}
    for sign, named in signs.items():
        if _prefixes(keys, sign) is not None:
            return named
    raise ImportRefused(
        ImportCode.UNKNOWN_LAYOUT,
        f"{checkpoint.path.name} has no known layout. Its first keys are {', '.join(list(keys)[:5])};"
        f" {option} looks for {' or '.join(signs)}",
    )


def _prefixes(keys: Mapping[str, Tensor], sign: str) -> tuple[str, str] | None:
    """The beginning that keys have and that they should have, where one ends as ``sign`` does."""
    tail = ".".join(sign.rsplit(".", 2)[-2:])
    found = next((key for key in keys if key == tail or key.endswith(f".{tail}")), None)
    if found is None or found == sign:
        return None
    return found.removesuffix(tail), sign.removesuffix(tail)


def _missing_words(
    checkpoint: Checkpoint, layout: Layout, absent: list[str], reshaped: list[str]
) -> Iterator[str]:
    yield f"{checkpoint.path.name} lacks what a {_NAMES[layout]} needs."
    sign = next(key for key, named in SIGNS if named == layout)
    prefixes = _prefixes(checkpoint.tensors, sign) if sign in absent else None
    if prefixes is not None:
        yield f"Its keys begin with {prefixes[0]!r} where {prefixes[1]!r} was expected."
    if absent:
        yield f"{len(absent)} tensors are missing: {', '.join(absent)}."
    if reshaped:
        yield f"{len(reshaped)} tensors are of another shape: {', '.join(reshaped)}."
    yield f"The file's first keys are {', '.join(list(checkpoint.tensors)[:5])}."
