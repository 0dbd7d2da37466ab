"""A bundle of random networks of the published sizes: nobody's weights, the published amount of work.

Norm gains lie near 1, biases near 0, matrices are scaled by fan-in ** -0.5 and codes have length 1, so that
activations keep the size that they have in trained networks. What such networks answer means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from models.bundle import TEXT_LATENTS, read_manifest, write_manifest
from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.manifest import (
    BundleManifest,
    CTCLIPSpec,
    DiffusionSpec,
    FallbackSpec,
    FindingSpec,
    InputSpec,
    Members,
    ReconstructionSpec,
    SliceClassifierSpec,
    SupervisedSpec,
    TowerSpec,
    UNetSpec,
)
from models.manifest_file import MANIFEST
from models.published import (
    PUBLISHED_DIM_LATENT,
    PUBLISHED_INPUT,
    PUBLISHED_SLICE_CLASSIFIER,
    PUBLISHED_TOWER,
    PUBLISHED_UNET,
)
from models.slice_classifier import SliceClassifier, SliceClassifierConfig
from models.supervised import SupervisedHead
from models.unet import UNet, UNetConfig

_CTCLIP = "ctclip.safetensors"
_GAIN_SPREAD, _OFFSET_SPREAD, _TEMPERATURE = 0.1, 0.05, 1.3
# Goes up when other weights are drawn, so that a folder of old ones is not taken for new.
_VERSION = "1"


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of all networks of a bundle, those of the published ones by default.

    ``prompts`` and ``supervised_labels`` are numbers of labels; ``input`` is the encoder input.
    """

    tower: CTViTConfig = PUBLISHED_TOWER
    dim_latent: int = PUBLISHED_DIM_LATENT
    slice_classifier: SliceClassifierConfig = PUBLISHED_SLICE_CLASSIFIER
    unet: UNetConfig = PUBLISHED_UNET
    input: InputSpec = PUBLISHED_INPUT
    prompts: int = 55
    supervised_labels: int = 15

    @property
    def dim_image(self) -> int:
        """Length of the pooled tokens."""
        height, width = self.tower.grid
        return height * width * self.tower.dim


PUBLISHED_SIZES = NetworkSizes()


def full_size_bundle(
    folder: Path, *, two_towers: bool = False, sizes: NetworkSizes = PUBLISHED_SIZES, seed: int = 0
) -> Path:
    """The bundle in ``folder``, drawn and written if it is not there yet.

    Parameters
    ----------
    folder : Path
        Takes 2.2 GB.
    two_towers : bool
        The supervised member has an image encoder of its own, as where two checkpoints were trained apart;
        otherwise the members share one and it runs once.
    sizes : NetworkSizes
        Smaller ones make a test.
    seed : int
        The same seed draws the same weights.
    """
    manifest = full_size_manifest(two_towers=two_towers, sizes=sizes, seed=seed)
    if (folder / MANIFEST).is_file() and read_manifest(folder).version == manifest.version:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for file, build in _networks(sizes, two_towers=two_towers).items():
        # Built without memory: one network's weights at a time are enough.
        with torch.device("meta"):
            network = build()
        state = {key: draw_weights(key, tensor, generator) for key, tensor in network.state_dict().items()}
        if file == _CTCLIP:
            latents = torch.randn(sizes.prompts, 2, sizes.dim_latent, generator=generator)
            state[TEXT_LATENTS] = F.normalize(latents, dim=-1)
        save_file(state, folder / file)
    # Written last: a folder with a manifest is complete.
    write_manifest(folder, manifest)
    return folder


def full_size_manifest(
    *, two_towers: bool = False, sizes: NetworkSizes = PUBLISHED_SIZES, seed: int = 0
) -> BundleManifest:
    """The manifest of :func:`full_size_bundle`, whose files need not exist."""
    labels = tuple(f"Pathology {number:02d}" for number in range(1, sizes.prompts + 1))
    supervised = labels[: sizes.supervised_labels]
    towers = {"main": TowerSpec(**asdict(sizes.tower), file="tower.safetensors")}
    if two_towers:
        towers["supervised"] = TowerSpec(**asdict(sizes.tower), file="supervised_tower.safetensors")
    return BundleManifest(
        name="full-size-two-towers" if two_towers else "full-size",
        version=f"{_VERSION}.{seed}",
        demonstration=True,
        licence="Apache-2.0",
        intended_use="Random weights: measures speed and memory; what it says means nothing.",
        input=sizes.input,
        towers=towers,
        members=Members(
            ctclip=CTCLIPSpec("main", _CTCLIP, sizes.dim_latent, labels),
            supervised=SupervisedSpec(
                "supervised" if two_towers else "main",
                "supervised.safetensors",
                "layernorm",
                sizes.dim_latent,
                supervised,
            ),
            diffusion=DiffusionSpec(
                image_size=sizes.slice_classifier.image_size,
                classifier=SliceClassifierSpec(
                    **asdict(sizes.slice_classifier), file="slice_classifier.safetensors"
                ),
                unet=UNetSpec(**asdict(sizes.unet), file="unet.safetensors"),
                reconstruction=ReconstructionSpec(enabled=False, slices=16, steps=50),
            ),
        ),
        findings=tuple(
            FindingSpec(
                label,
                (f"ctclip_{label}", *((f"supervised_{label}",) if label in supervised else ())),
                operating_point=0.5,
                severity=severity,
            )
            for severity, label in enumerate(labels, start=1)
        ),
        fallback=FallbackSpec("highest_finding", 0.5),
    )


def draw_weights(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Random values for the tensor ``key`` of a network, of the shape of ``like``."""
    if key.endswith("temperature"):
        return torch.full(like.shape, _TEMPERATURE)
    if key.endswith(".beta"):  # a buffer that is zero in every checkpoint
        return torch.zeros(like.shape)
    values = torch.randn(like.shape, generator=generator)
    if key.endswith("_codebook.embed"):
        return F.normalize(values, dim=-1)
    if like.ndim <= 1:
        is_gain = key.endswith(("weight", ".gamma", "q_scale", "k_scale"))
        return 1 + _GAIN_SPREAD * values if is_gain else _OFFSET_SPREAD * values
    fan_in = like[0].numel()
    return values / math.sqrt(fan_in)


def _networks(sizes: NetworkSizes, *, two_towers: bool) -> dict[str, Callable[[], nn.Module]]:
    """How to build the network of each file."""
    build: dict[str, Callable[[], nn.Module]] = {
        "tower.safetensors": lambda: CTViT(sizes.tower),
        _CTCLIP: lambda: CTCLIPHead(sizes.dim_image, sizes.dim_latent),
        "supervised.safetensors": lambda: SupervisedHead(
            sizes.dim_image, sizes.dim_latent, sizes.supervised_labels
        ),
        "slice_classifier.safetensors": lambda: SliceClassifier(sizes.slice_classifier),
        "unet.safetensors": lambda: UNet(sizes.unet),
    }
    if two_towers:
        build["supervised_tower.safetensors"] = lambda: CTViT(sizes.tower)
    return build
