"""The reference data as tensors and networks, and how close an answer must come to the original's."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.ctclip import CTCLIPHead
from models.ctvit import CTViT, CTViTConfig
from models.published import (
    PUBLISHED_DIM_LATENT,
    PUBLISHED_SLICE_CLASSIFIER,
    PUBLISHED_TOWER,
    PUBLISHED_UNET,
    UNUSED,
    PublishedParts,
    fill,
    split_checkpoint,
)
from models.slice_classifier import SliceClassifier, SliceClassifierConfig
from models.supervised import ClassFineHead, SupervisedHead
from models.text_tower import TextTower
from models.unet import UNet, UNetConfig

TOLERANCE = 2e-5  # of the largest value of each tensor


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    difference = (actual - expected).abs().max().item()
    scale = expected.abs().max().item()
    assert difference <= tolerance * scale, f"{difference:.3g} of {scale:.3g}: {difference / scale:.2g}"


def tensors(parity: Path, name: str) -> dict[str, Tensor]:
    return load_file(parity / f"{name}.safetensors")


def config(parity: Path, name: str) -> dict[str, Any]:
    return json.loads((parity / name / "config.json").read_text())


def tower_config(table: dict[str, Any]) -> CTViTConfig:
    size = table["image_size"]
    return CTViTConfig(**{**table, "image_size": (size, size) if isinstance(size, int) else tuple(size)})


def key_list(parity: Path, name: str) -> dict[str, Tensor]:
    """The state_dict that a key list describes, without memory."""
    state = {}
    for line in (parity / "keys" / f"{name}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            key, shape, dtype = line.split("\t")
            state[key] = torch.empty(ast.literal_eval(shape), dtype=getattr(torch, dtype), device="meta")
    return state


def full_recipe(parity: Path) -> ModuleType:
    """The reference's own program that draws full-size checkpoints and a volume."""
    spec = importlib.util.spec_from_file_location("full_recipe", parity / "full_recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def full_checkpoint(parity: Path, name: str, without: str = "never") -> dict[str, Tensor]:
    """A full-size checkpoint by the recipe, seed 0, without what inference never uses: a gigabyte.

    Keys that hold the word ``without`` are left out, too.
    """
    recipe, state = full_recipe(parity), {}
    for key, tensor in key_list(parity, f"{name}_full").items():
        inner = key.removeprefix("ct_clip.").removeprefix("trained_model.")
        used = inner == "temperature" or not any(rule.fullmatch(inner) for rule in UNUSED)
        if used and without not in key:
            dtype = str(tensor.dtype).removeprefix("torch.")
            state[key] = torch.from_numpy(recipe.tensor(key, tuple(tensor.shape), dtype))
    return state


def filled(network: nn.Module, part: str, state: dict[str, Tensor]) -> Any:
    """The network in eval mode; every tensor of `state` must have found its place."""
    assert fill(network, part, state) == ()
    return network.eval()


def ctclip_parts(parity: Path) -> PublishedParts:
    return split_checkpoint(tensors(parity, "ctclip_small/weights"))


def small_tower(parity: Path) -> CTViT:
    sizes = tower_config(config(parity, "ctclip_small")["ctvit"])
    return filled(CTViT(sizes), "tower", ctclip_parts(parity).states["tower"])


def small_ctclip(parity: Path) -> CTCLIPHead:
    sizes = config(parity, "ctclip_small")
    head = CTCLIPHead(sizes["dim_image"], sizes["dim_latent"])
    return filled(head, "ctclip", ctclip_parts(parity).states["ctclip"])


def small_text_tower(parity: Path) -> TextTower:
    sizes = config(parity, "ctclip_small")
    tower = TextTower(sizes["bert"], sizes["dim_latent"])
    return filled(tower, "text_tower", ctclip_parts(parity).states["text_tower"])


def small_supervised_checkpoint(parity: Path) -> dict[str, Tensor]:
    """The supervised checkpoint in the layout in which it is published."""
    inner = tensors(parity, "ctclip_small/weights")
    return {f"ct_clip.{key}": value for key, value in inner.items()} | tensors(
        parity, "supervised_small/weights_head"
    )


def small_supervised(parity: Path) -> SupervisedHead:
    parts = split_checkpoint(small_supervised_checkpoint(parity))
    sizes = config(parity, "ctclip_small")
    classes = config(parity, "supervised_small")["num_classes"]
    head = SupervisedHead(sizes["dim_image"], sizes["dim_latent"], classes)
    return filled(head, "supervised", parts.states["supervised"])


def small_slice_classifier(parity: Path) -> SliceClassifier:
    sizes = config(parity, "diffusion_classifier_small")["kwargs"]
    network = SliceClassifier(
        SliceClassifierConfig(
            image_size=sizes["image_size"],
            model_channels=sizes["model_channels"],
            num_res_blocks=sizes["num_res_blocks"],
            attention_resolutions=tuple(sizes["attention_resolutions"]),
            channel_mult=tuple(sizes["channel_mult"]),
            num_head_channels=sizes["num_head_channels"],
        )
    )
    return filled(network, "slice_classifier", tensors(parity, "diffusion_classifier_small/weights"))


def small_unet(parity: Path) -> UNet:
    sizes = config(parity, "diffusion_unet_small")["kwargs"]
    network = UNet(
        UNetConfig(
            image_size=sizes["image_size"],
            model_channels=sizes["model_channels"],
            num_res_blocks=sizes["num_res_blocks"],
            attention_resolutions=tuple(sizes["attention_resolutions"]),
            channel_mult=tuple(sizes["channel_mult"]),
            num_classes=sizes["num_classes"],
            num_heads=sizes["num_heads"],
        )
    )
    return filled(network, "unet", tensors(parity, "diffusion_unet_small/weights"))


DIM_IMAGE = 24 * 24 * 512


def full_size_network(part: str, parity: Path, device: str = "meta") -> Any:
    """A network of the published sizes; on the meta device, where it takes no memory until it is filled."""
    bert = json.loads((parity.parent / "tokenizer" / "cxr-bert" / "config.json").read_text())
    build = {
        "tower": lambda: CTViT(PUBLISHED_TOWER),
        "ctclip": lambda: CTCLIPHead(DIM_IMAGE, PUBLISHED_DIM_LATENT),
        "supervised": lambda: SupervisedHead(DIM_IMAGE, PUBLISHED_DIM_LATENT, 15),
        "classfine": lambda: ClassFineHead(DIM_IMAGE, PUBLISHED_DIM_LATENT, 18),
        "text_tower": lambda: TextTower(bert, PUBLISHED_DIM_LATENT),
        "slice_classifier": lambda: SliceClassifier(PUBLISHED_SLICE_CLASSIFIER),
        "unet": lambda: UNet(PUBLISHED_UNET),
    }[part]
    with torch.device(device):
        return build()
