"""A bundle of weights from its folder: verified, loaded into the networks, ready to answer.

Weights are safetensors and the fusion model is text: nothing is unpickled. The bundle's digest covers every
file, because the manifest holds their sha256.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.ctclip import CTCLIPHead
from models.ctvit import CTViT
from models.manifest import BundleCode, BundleError, BundleManifest, TowerSpec
from models.manifest_file import MANIFEST, read_manifest, sha256_of, write_manifest
from models.precision import Precision, ready
from models.published import MissingTensorsError, fill
from models.slice_classifier import SliceClassifier
from models.supervised import ClassFineHead, SupervisedHead
from models.tensor_files import TensorFileReader
from models.unet import UNet

__all__ = [
    "Bundle",
    "BundleCode",
    "BundleError",
    "BundleManifest",
    "load_bundle",
    "read_manifest",
    "verify_files",
    "write_manifest",
]

TEXT_LATENTS = "text_latents"

NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle with its networks in eval mode and their parameters frozen.

    ``digest`` is the sha256 of ``bundle.toml``. ``text_latents`` (n, 2, dim_latent) are those of the CT-CLIP
    member's labels, [present, not present]. What the manifest does not have is None.
    """

    folder: Path
    manifest: BundleManifest
    digest: str
    towers: dict[str, CTViT]
    ctclip: CTCLIPHead | None
    text_latents: Tensor | None
    supervised: SupervisedHead | ClassFineHead | None
    slice_classifier: SliceClassifier | None
    unet: UNet | None
    fusion_path: Path | None


def load_bundle(
    folder: Path, *, device: str = "cpu", precision: Precision = "float32", every_network: bool = False
) -> Bundle:
    """Read, verify and load the bundle in ``folder`` onto ``device``, to compute in ``precision``.

    A UNet whose reconstruction is off takes no memory: it is left out unless ``every_network``.

    Raises
    ------
    BundleError
        As :func:`models.manifest_file.read_manifest`; ``missing_file`` and ``changed_file`` as
        :func:`verify_files`; ``unreadable_weights``, ``missing_tensor`` and ``unexpected_tensor`` for what a
        file of weights holds.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    load = _Loader(TensorFileReader(folder, manifest.files, device), precision)
    ctclip, text_latents = _ctclip(manifest, load)
    slice_classifier, unet = _slice_networks(manifest, load, every_network=every_network)
    return Bundle(
        folder=folder,
        manifest=manifest,
        digest=sha256_of(folder / MANIFEST),
        towers={
            name: load.network(partial(CTViT, spec), spec.file) for name, spec in manifest.towers.items()
        },
        ctclip=ctclip,
        text_latents=text_latents,
        supervised=_supervised(manifest, load),
        slice_classifier=slice_classifier,
        unet=unet,
        fusion_path=None if manifest.fusion is None else folder / manifest.fusion.file,
    )


def verify_files(folder: Path, manifest: BundleManifest) -> None:
    """Compare every listed file with its size and sha256.

    Raises
    ------
    BundleError
        ``missing_file`` or ``changed_file``, naming the file.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(BundleCode.MISSING_FILE, f"{name} is listed in {MANIFEST} and not in {folder}")
        if path.stat().st_size != expected.bytes or sha256_of(path) != expected.sha256:
            raise BundleError(BundleCode.CHANGED_FILE, f"{name} is not the file that {MANIFEST} describes")


class _Loader:
    """Files of one bundle into networks; tensors that two files share are one tensor in both networks."""

    def __init__(self, files: TensorFileReader, precision: Precision) -> None:
        self._files = files
        self._precision = precision

    def state(self, file: str) -> dict[str, Tensor]:
        """The tensors of a file, in float32 whatever they were stored as."""
        return self._files.read(file)

    def network(
        self, build: Callable[[], NetworkT], file: str, state: dict[str, Tensor] | None = None
    ) -> NetworkT:
        """The network with the tensors of ``file``, all of them and no others."""
        # Built without memory and given the file's tensors: random weights never exist, not even for a
        # moment.
        with torch.device("meta"):
            network = build()
        try:
            unexpected = fill(network, file, self.state(file) if state is None else state)
        except MissingTensorsError as error:
            raise BundleError(BundleCode.MISSING_TENSOR, str(error)) from error
        if unexpected:
            raise BundleError(BundleCode.UNEXPECTED_TENSOR, f"{file}: {', '.join(unexpected)}")
        return ready(network.eval().requires_grad_(False), self._precision)


def _dim_image(tower: TowerSpec) -> int:
    height, width = tower.grid
    return height * width * tower.dim


def _ctclip(manifest: BundleManifest, load: _Loader) -> tuple[CTCLIPHead | None, Tensor | None]:
    spec = manifest.members.ctclip
    if spec is None:
        return None, None
    state = load.state(spec.file)
    latents = state.pop(TEXT_LATENTS, None)
    shape = (len(spec.labels), 2, spec.dim_latent)
    if latents is None or tuple(latents.shape) != shape:
        message = f"{spec.file}: {TEXT_LATENTS} is missing or not of shape {shape}"
        raise BundleError(BundleCode.MISSING_TENSOR, message)
    build = partial(CTCLIPHead, _dim_image(manifest.towers[spec.tower]), spec.dim_latent)
    return load.network(build, spec.file, state), latents


def _supervised(manifest: BundleManifest, load: _Loader) -> SupervisedHead | ClassFineHead | None:
    spec = manifest.members.supervised
    if spec is None:
        return None
    sizes = (_dim_image(manifest.towers[spec.tower]), spec.dim_latent, len(spec.labels))
    if spec.head == "layernorm":
        return load.network(partial(SupervisedHead, *sizes), spec.file)
    return load.network(partial(ClassFineHead, *sizes), spec.file)


def _slice_networks(
    manifest: BundleManifest, load: _Loader, *, every_network: bool
) -> tuple[SliceClassifier | None, UNet | None]:
    spec = manifest.members.diffusion
    if spec is None:
        return None, None
    classifier = load.network(partial(SliceClassifier, spec.classifier), spec.classifier.file)
    if spec.unet is None or not (every_network or spec.reconstructs):
        return classifier, None
    return classifier, load.network(partial(UNet, spec.unet), spec.unet.file)
