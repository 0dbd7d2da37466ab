"""A checkpoint read from its file without running anything that it holds.

A ``.pt`` file is a pickle, and a pickle is a program. torch's ``weights_only`` reader runs none: it builds
tensors and plain containers and refuses all else. Tensors stay mapped, so that what is not used is not read.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bundle_import.errors import ImportCode, ImportRefused
from models.manifest_file import sha256_of

Say = Callable[[str], None]
"""Told a sentence for whoever imports."""

_ZIP = b"PK\x03\x04"
_WRAPPERS = ("model_state_dict", "state_dict")
_DATA_PARALLEL = "module."
_GLOBAL = re.compile(r"(?:GLOBAL|global|class|function) ([A-Za-z_][\w.]{0,99})")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint under its own names, and the class names that it brings, if any.

    ``sha256`` in hex and ``bytes`` are those of the file.
    """

    path: Path
    tensors: dict[str, Tensor]
    labels: tuple[str, ...]
    sha256: str
    bytes: int


def read_checkpoint(path: Path, *, trust_pickle: bool, say: Say) -> Checkpoint:
    """The state_dict in a ``.pt``, ``.pth`` or ``.safetensors`` file.

    It may lie under ``model_state_dict`` or ``state_dict``, and its keys may all begin with ``module.``, as
    DataParallel saves them.

    Raises
    ------
    ImportRefused
        ``no_such_file``, ``not_a_file``, ``empty_file``, ``truncated``, ``not_a_checkpoint``,
        ``needs_pickle``
    """
    size = checked_size(path)
    if path.suffix == ".safetensors":
        content: Any = _safetensors(path)
    else:
        content = _torch_file(path, trust_pickle=trust_pickle, say=say)
    tensors, labels = _unwrapped(path, content)
    if tensors and all(key.startswith(_DATA_PARALLEL) for key in tensors):
        say(f"{path.name}: every key begins with {_DATA_PARALLEL!r}, which DataParallel adds: taken off")
        tensors = {key.removeprefix(_DATA_PARALLEL): value for key, value in tensors.items()}
    return Checkpoint(path, tensors, labels, sha256_of(path), size)


def checked_size(path: Path) -> int:
    """Size of a file in bytes; refused (``no_such_file``, ``not_a_file``, ``empty_file``) if it has none."""
    if not path.exists():
        raise ImportRefused(ImportCode.NO_SUCH_FILE, f"there is no {path}")
    if not path.is_file():
        raise ImportRefused(ImportCode.NOT_A_FILE, f"{path} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise ImportRefused(ImportCode.EMPTY_FILE, f"{path} is empty")
    return size


def trusted(path: Path, say: Say) -> None:
    """The warning that stands before a pickle is read as one."""
    say(
        f"WARNING: {path.name} is unpickled because of --trust-pickle. A pickle is a program: whoever made"
        " the file can run anything on this machine with your rights. Do this only with a file that you or"
        " someone you trust made, and on a machine without patient data."
    )


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ImportRefused(
            ImportCode.NOT_A_CHECKPOINT, f"{path} is not a safetensors file, or it was cut short"
        ) from error


def _torch_file(path: Path, *, trust_pickle: bool, say: Say) -> Any:
    with path.open("rb") as stream:
        # Files of torch before 1.6 are no ZIP archives and cannot be mapped.
        is_zip = stream.read(len(_ZIP)) == _ZIP
    try:
        return torch.load(path, map_location="cpu", mmap=is_zip, weights_only=True)
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        if found is None:
            raise _no_checkpoint(path, is_zip) from error
        if not trust_pickle:
            raise ImportRefused(
                ImportCode.NEEDS_PICKLE,
                f"{path.name} holds more than tensors: it asks for {found.group(1)}. Reading that runs code"
                " from the file. Ask for a file with the state_dict alone, or, if you trust whoever made this"
                " one, import it with --trust-pickle, which runs that code.",
            ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        # What torch raises for bytes that are no checkpoint depends on where in them it gives up.
        raise _no_checkpoint(path, is_zip) from error
    trusted(path, say)
    try:
        return torch.load(path, map_location="cpu", mmap=is_zip, weights_only=False)
    except Exception as error:  # a pickle runs anything and so raises anything
        raise ImportRefused(
            ImportCode.NOT_A_CHECKPOINT, f"{path.name} cannot be unpickled here ({type(error).__name__})"
        ) from error


def _no_checkpoint(path: Path, is_zip: bool) -> ImportRefused:
    if is_zip:
        return ImportRefused(
            ImportCode.TRUNCATED,
            f"{path.name} begins as a checkpoint and cannot be read to its end: it was cut short or damaged."
            " Compare its size and sha256 with the publisher's.",
        )
    return ImportRefused(ImportCode.NOT_A_CHECKPOINT, f"{path.name} is not a checkpoint that torch saved")


def _unwrapped(path: Path, content: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors by name, and the class names beside them."""
    labels = content.get("target_pathologies") if isinstance(content, Mapping) else None
    state = content
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            state = content[wrapper]
            break
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        raise ImportRefused(
            ImportCode.NOT_A_CHECKPOINT,
            f"{path.name} holds no state_dict, neither by itself nor under {' or '.join(_WRAPPERS)}",
        )
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    names = tuple(str(label) for label in labels) if isinstance(labels, list | tuple) else ()
    return tensors, names
