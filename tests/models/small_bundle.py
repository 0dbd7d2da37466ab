"""A whole bundle of tiny random networks, on disk in a moment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.manifest import (
    BundleManifest,
    ConstantColumn,
    CTCLIPSpec,
    DiffusionSpec,
    FindingSpec,
    FusionSpec,
    InputSpec,
    Members,
    ReconstructionSpec,
    SliceClassifierSpec,
    SupervisedSpec,
    TowerSpec,
    UNetSpec,
)
from models.manifest_file import write_manifest
from models.slice_classifier import SliceClassifier, SliceClassifierConfig
from models.supervised import SupervisedHead
from models.unet import UNet, UNetConfig

FILES = (
    "tower.safetensors",
    "ctclip.safetensors",
    "supervised.safetensors",
    "classifier.safetensors",
    "unet.safetensors",
    "fusion.txt",
)
LABELS = ("Lung nodule", "Emphysema")
DIM_IMAGE, DIM_LATENT = 2 * 3 * 24, 8

TOWER = CTViTConfig(
    dim=24,
    codebook_size=16,
    image_size=(32, 48),
    patch_size=16,
    temporal_patch_size=8,
    spatial_depth=1,
    temporal_depth=1,
    dim_head=8,
    heads=3,
)
CLASSIFIER = SliceClassifierConfig(
    image_size=16,
    model_channels=32,
    num_res_blocks=1,
    attention_resolutions=(2,),
    channel_mult=(1, 1),
    num_head_channels=32,
)
UNET = UNetConfig(
    image_size=16, model_channels=32, num_res_blocks=1, attention_resolutions=(), channel_mult=(1, 1)
)


def manifest() -> BundleManifest:
    return BundleManifest(
        name="small",
        version="1.0.0",
        demonstration=True,
        licence="Apache-2.0",
        intended_use='Tests; "not" a medical device, größer als 0 µm',
        input=InputSpec(spacing_mm=(4.5, 2.25, 2.25), shape=(24, 32, 48), minimum_slices=20),
        towers={"main": TowerSpec(**asdict(TOWER), file="tower.safetensors")},
        members=Members(
            ctclip=CTCLIPSpec("main", "ctclip.safetensors", DIM_LATENT, LABELS),
            supervised=SupervisedSpec("main", "supervised.safetensors", "layernorm", DIM_LATENT, LABELS),
            diffusion=DiffusionSpec(
                image_size=16,
                classifier=SliceClassifierSpec(**asdict(CLASSIFIER), file="classifier.safetensors"),
                unet=UNetSpec(**asdict(UNET), file="unet.safetensors"),
                reconstruction=ReconstructionSpec(enabled=True, slices=2, steps=3),
            ),
        ),
        findings=(
            FindingSpec("Lung nodule", ("supervised_Lung nodule", "ctclip_Lung nodule"), 0.5, 3),
            FindingSpec("Emphysema", ("supervised_Emphysema",), 0.4, 2),
        ),
        fusion=FusionSpec(
            file="fusion.txt",
            operating_point=0.37,
            columns=("supervised_Lung nodule", "diffusion_reconstruction_std"),
            constant_columns={"diffusion_reconstruction_std": ConstantColumn(0.0, "never computed")},
            groups={"airways": ("Emphysema",)},
        ),
    )


def networks() -> dict[str, nn.Module]:
    """The networks by the file that holds their weights, in eval mode."""
    torch.manual_seed(7)
    made = {
        "tower.safetensors": CTViT(TOWER),
        "ctclip.safetensors": CTCLIPHead(DIM_IMAGE, DIM_LATENT),
        "supervised.safetensors": SupervisedHead(DIM_IMAGE, DIM_LATENT, len(LABELS)),
        "classifier.safetensors": SliceClassifier(CLASSIFIER),
        "unet.safetensors": UNet(UNET),
    }
    return {file: network.eval() for file, network in made.items()}


def text_latents() -> Tensor:
    return normalize(
        torch.linspace(-1, 1, len(LABELS) * 2 * DIM_LATENT).view(len(LABELS), 2, DIM_LATENT), dim=-1
    )


def write_bundle(folder: Path) -> dict[str, nn.Module]:
    """Write the bundle and return the networks whose weights it holds."""
    made = networks()
    for file, network in made.items():
        state = dict(network.state_dict())
        if file == "ctclip.safetensors":
            state["text_latents"] = text_latents()
        save_file(state, folder / file)
    (folder / "fusion.txt").write_text("tree\n")
    write_manifest(folder, manifest())
    return made
