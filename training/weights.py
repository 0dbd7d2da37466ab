"""Trained networks as the files of a bundle, and the manifest that describes them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.bundle import TEXT_LATENTS, write_manifest
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
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from training.joint_encoder import JointEncoder
from training.recipe import SEVERITY, Recipe

TOWER, CTCLIP, SUPERVISED = "tower.safetensors", "ctclip.safetensors", "supervised.safetensors"
CLASSIFIER, UNET, FUSION = "slice_classifier.safetensors", "unet.safetensors", "fusion.txt"

VERSION = "1.2.0"
_NAME, _LICENCE = "demo", "Apache-2.0"
_INTENDED_USE = (
    "Demonstration and tests of the node on synthetic chest CT. Trained on synthetic thoraces only; not a "
    "medical device, not for diagnosis: what it says about a real patient means nothing."
)


def write_networks(folder: Path, encoder: JointEncoder, classifier: SliceClassifier, unet: UNet) -> None:
    """The weights as safetensors in half precision, which inference reads as float32: half the size to ship.

    Everything measured later, thresholds included, is measured on what is written here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        latents = encoder.eval().text_latents()
    _write(folder / TOWER, encoder.tower)
    _write(folder / CTCLIP, encoder.ctclip, {TEXT_LATENTS: latents})
    _write(folder / SUPERVISED, encoder.supervised)
    _write(folder / CLASSIFIER, classifier)
    _write(folder / UNET, unet)


def write_members_manifest(folder: Path, recipe: Recipe) -> BundleManifest:
    """A manifest without fusion, all operating points one half: enough to score cases."""
    tower = "main"
    labels, dim_latent = recipe.labels, recipe.dim_latent
    rule = recipe.reconstruction
    manifest = BundleManifest(
        name=_NAME,
        version=VERSION,
        demonstration=True,
        licence=_LICENCE,
        intended_use=_INTENDED_USE,
        input=InputSpec(recipe.spacing_mm, recipe.shape, recipe.minimum_slices),
        towers={tower: TowerSpec(**asdict(recipe.tower), file=TOWER)},
        members=Members(
            ctclip=CTCLIPSpec(tower, CTCLIP, dim_latent, labels),
            supervised=SupervisedSpec(tower, SUPERVISED, "layernorm", dim_latent, labels),
            diffusion=DiffusionSpec(
                image_size=recipe.classifier.image_size,
                classifier=SliceClassifierSpec(**asdict(recipe.classifier), file=CLASSIFIER),
                unet=UNetSpec(**asdict(recipe.unet), file=UNET),
                reconstruction=ReconstructionSpec(
                    enabled=True,
                    slices=rule.slices,
                    steps=rule.steps,
                    noise_level=rule.noise_level,
                    guidance_scale=rule.guidance_scale,
                    schedule="strided",
                ),
            ),
        ),
        findings=tuple(
            FindingSpec(label, (f"supervised_{label}", f"ctclip_{label}"), 0.5, SEVERITY[label])
            for label in labels
        ),
        fallback=FallbackSpec("highest_finding", 0.5),
    )
    return write_manifest(folder, manifest)


def _write(path: Path, network: nn.Module, further: dict[str, Tensor] | None = None) -> None:
    tensors = {**network.state_dict(), **(further or {})}
    save_file({name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}, path)
    # safetensors writes for its owner alone; what is shipped is for everyone to read.
    path.chmod(0o644)
