"""How many floating-point operations each stage of a bundle takes, counted on its own networks.

The networks are built on the meta device, where shapes are computed and numbers are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inference.columns import CTCLIP, DIFFUSION, SUPERVISED
from inference.encoder_input import reconstruction_planes, slice_planes
from models.ctclip import CTCLIPHead
from models.ctvit import CTViT
from models.manifest import BundleManifest, CTCLIPSpec, DiffusionSpec, SupervisedSpec, TowerSpec
from models.slice_classifier import SliceClassifier
from models.supervised import ClassFineHead, SupervisedHead
from models.unet import UNet


@dataclass(frozen=True)
class StageWork:
    """Floating-point operations of a stage, by network; a multiplication and an addition are two."""

    image_pass: int = 0
    head: int = 0
    slice_classifier: int = 0
    reconstruction: int = 0

    @property
    def total(self) -> int:
        """Of the whole stage."""
        return self.image_pass + self.head + self.slice_classifier + self.reconstruction


def stage_work(manifest: BundleManifest) -> dict[str, StageWork]:
    """Operations of each member of a study; an encoder that two share counts to the first."""
    members = manifest.members
    work: dict[str, StageWork] = {}
    encoded: set[str] = set()
    labelling: tuple[tuple[str, CTCLIPSpec | SupervisedSpec | None], ...] = (
        (CTCLIP, members.ctclip),
        (SUPERVISED, members.supervised),
    )
    for name, spec in labelling:
        if spec is not None:
            tower = manifest.towers[spec.tower]
            image_pass = 0 if spec.tower in encoded else image_pass_flops(tower, manifest.input.shape)
            work[name] = StageWork(image_pass, _head_flops(spec, tower, manifest.input.shape))
            encoded.add(spec.tower)
    if members.diffusion is not None:
        work[DIFFUSION] = _diffusion_work(members.diffusion, manifest.input.shape[0])
    return work


def image_pass_flops(tower: TowerSpec, shape: tuple[int, int, int]) -> int:
    """Operations of one pass of the image encoder over a volume (z, x, y)."""
    network = _on_meta(lambda: CTViT(tower))
    return _count(lambda: network(_meta(1, 1, *shape)))


def unet_flops(spec: DiffusionSpec) -> int:
    """Operations of one forward of the UNet over one slice; 0 without one."""
    config, size = spec.unet, spec.image_size
    if config is None:
        return 0
    network = _on_meta(lambda: UNet(config))
    return _count(lambda: network(_meta(1, 1, size, size), _zeros(1), _zeros(1)))


def reconstruction_flops(spec: DiffusionSpec, slices: int, steps: int) -> int:
    """Operations of a guided reconstruction, the classifier's gradients included; 0 without a UNet."""
    return (unet_flops(spec) + _guidance_flops(spec)) * slices * steps if spec.unet is not None else 0


def _guidance_flops(spec: DiffusionSpec) -> int:
    """Operations of the classifier's gradient by one slice."""
    classifier, size = _on_meta(lambda: SliceClassifier(spec.classifier)), spec.image_size

    def gradient() -> None:
        with torch.enable_grad():
            # The counter follows modules by hooks, which a leaf as their input would break.
            leaf = _meta(1, 1, size, size).requires_grad_()
            torch.autograd.grad(classifier(leaf * 1, _zeros(1)).sum(), leaf)

    return _count(gradient)


def _diffusion_work(spec: DiffusionSpec, planes: int) -> StageWork:
    classifier, size = _on_meta(lambda: SliceClassifier(spec.classifier)), spec.image_size
    one = _count(lambda: classifier(_meta(1, 1, size, size), _zeros(1)))
    rule, reconstructed = spec.reconstruction, 0
    if rule is not None and rule.enabled:
        count = len(reconstruction_planes(planes, rule.slices))
        reconstructed = reconstruction_flops(spec, count, rule.steps)
    return StageWork(slice_classifier=one * len(slice_planes(planes)), reconstruction=reconstructed)


def _head_flops(spec: CTCLIPSpec | SupervisedSpec, tower: TowerSpec, shape: tuple[int, int, int]) -> int:
    height, width = tower.grid
    tokens = _meta(1, shape[0] // tower.temporal_patch_size, height, width, tower.dim)
    dim_image = height * width * tower.dim
    if isinstance(spec, CTCLIPSpec):
        ctclip = _on_meta(lambda: CTCLIPHead(dim_image, spec.dim_latent))
        return _count(lambda: ctclip(tokens, _meta(len(spec.labels), 2, spec.dim_latent)))
    build = SupervisedHead if spec.head == "layernorm" else ClassFineHead
    head = _on_meta(lambda: build(dim_image, spec.dim_latent, len(spec.labels)))
    return _count(lambda: head(tokens))


def _on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build().eval().requires_grad_(False)


def _meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def _zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long, device="meta")


def _count(work: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
