"""Files of tensors in which equal tensors are stored once and loaded once.

A bundle's networks share much: CT-CLIP and the heads trained over it may have the same image encoder, and
many small tensors are equal anyway. The first file that holds a tensor stores it; every later one says in its
safetensors metadata where it lies: ``equal:<name>`` = ``<file>:<name there>``. Read through one
:class:`TensorFileReader`, both names are the same tensor in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.manifest import BundleCode, BundleError

EQUAL = "equal:"

Place = tuple[str, str]
"""File and name of a tensor."""


def tensor_digest(tensor: Tensor) -> str:
    """sha256 over type, shape and bytes of a tensor on the CPU, in hex."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat = tensor.detach().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass
class TensorFileWriter:
    """Writes the files of one folder; remembers what lies where."""

    folder: Path
    _places: dict[str, Place] = field(default_factory=dict)
    _written: dict[str, dict[str, str]] = field(default_factory=dict)

    def write(self, file: str, tensors: Mapping[str, Tensor]) -> None:
        """Write ``file``, without the tensors that an earlier one, or an earlier name of this one, holds."""
        stored: dict[str, Tensor] = {}
        metadata: dict[str, str] = {"format": "pt"}
        digests = self._written[file] = {}
        for name, tensor in tensors.items():
            digest = digests[name] = tensor_digest(tensor)
            if digest in self._places:
                metadata[EQUAL + name] = ":".join(self._places[digest])
            else:
                self._places[digest] = (file, name)
                stored[name] = tensor.detach().contiguous()
        save_file(stored, self.folder / file, metadata)
        # The library leaves it readable for its owner alone; the node may run as somebody else.
        (self.folder / file).chmod(0o644)

    def holds(self, file: str, tensors: Mapping[str, Tensor]) -> bool:
        """Whether ``file`` was written with tensors of these names and this content, and no others."""
        digests = self._written[file]
        return digests.keys() == tensors.keys() and all(
            digests[name] == tensor_digest(tensor) for name, tensor in tensors.items()
        )


class TensorFileReader:
    """Reads the files of one folder; every stored tensor is loaded once, however many names it has.

    Tensors are float32 whatever they were stored as. On the CPU what is stored in float32 stays mapped to its
    file. Names may refer to ``files`` alone: those are the ones whose digests were compared.
    """

    def __init__(self, folder: Path, files: Collection[str], device: str = "cpu") -> None:
        self._folder = folder
        self._files = frozenset(files)
        self._device = device
        self._loaded: dict[Place, Tensor] = {}
        self._references: dict[str, dict[str, Place]] = {}
        self._stored: dict[str, dict[str, Tensor]] = {}

    def read(self, file: str) -> dict[str, Tensor]:
        """All tensors of ``file`` by name, those that lie elsewhere too.

        Raises
        ------
        BundleError
            ``unreadable_weights`` if the file is no safetensors file or a reference goes in a circle;
            ``missing_tensor`` if one points nowhere.
        """
        self._open(file)
        return {name: self._resolve((file, name)) for name in (*self._stored[file], *self._references[file])}

    def _resolve(self, place: Place) -> Tensor:
        way = list(self._way(place))
        if way[-1] not in self._loaded:
            file, name = way[-1]
            self._loaded[way[-1]] = self._stored[file][name].float()
        return self._loaded[way[-1]]

    def _way(self, place: Place) -> Iterator[Place]:
        """From a name to where its tensor is stored, reference by reference."""
        start, seen = place, set[Place]()
        while True:
            file, name = place
            if place in seen:
                raise BundleError(
                    BundleCode.UNREADABLE_WEIGHTS, f"{':'.join(start)} refers to itself in a circle"
                )
            seen.add(place)
            if file not in self._files:
                raise BundleError(
                    BundleCode.MISSING_TENSOR, f"{':'.join(start)} refers to {file}, no file of the bundle"
                )
            self._open(file)
            yield place
            if name in self._stored[file]:
                return
            if name not in self._references[file]:
                raise BundleError(
                    BundleCode.MISSING_TENSOR,
                    f"{':'.join(start)} refers to {':'.join(place)}, which is not there",
                )
            place = self._references[file][name]

    def _open(self, file: str) -> None:
        if file in self._stored:
            return
        try:
            with safe_open(self._folder / file, framework="pt", device=self._device) as stream:
                metadata = stream.metadata() or {}
                self._stored[file] = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BundleError(BundleCode.UNREADABLE_WEIGHTS, f"{file}: {error}") from error
        self._references[file] = {
            key.removeprefix(EQUAL): _place(file, value)
            for key, value in metadata.items()
            if key.startswith(EQUAL)
        }


def _place(file: str, reference: str) -> Place:
    target, colon, name = reference.partition(":")
    if not colon or not name:
        raise BundleError(BundleCode.UNREADABLE_WEIGHTS, f"{file}: {reference!r} names no tensor of a file")
    return target, name
