"""The diffusion member: a classifier of axial slices, and the reconstruction of some towards "normal"."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.columns import mean_max_std
from inference.encoder_input import reconstruction_planes, slice_images, slice_planes
from inference.memory import MemorySteps
from models.ddim import reconstruct, slice_errors
from models.manifest import DiffusionSpec, ReconstructionSpec
from models.slice_classifier import SliceClassifier
from models.unet import UNet


@dataclass(frozen=True)
class AnomalyMaps:
    """What the reconstruction towards "normal" changed.

    `maps` is float32 (n, x, y), |reconstruction - input| in HU / 1000, of the planes `planes` of the encoder
    input; `scores` their means.
    """

    planes: tuple[int, ...]
    maps: NDArray[np.float32]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class SliceReading:
    """What the member says about one study.

    Attributes
    ----------
    scores
        Features by name.
    probabilities
        Probability of abnormality of each plane that the classifier looked at.
    anomaly
        The reconstruction's maps, None where it is off.
    """

    scores: dict[str, float]
    probabilities: dict[int, float]
    anomaly: AnomalyMaps | None


@dataclass(frozen=True)
class SliceMember:
    """The member's networks and the memory that they may take."""

    spec: DiffusionSpec
    classifier: SliceClassifier
    unet: UNet | None
    memory: MemorySteps

    @property
    def reconstructs(self) -> bool:
        """Whether the bundle asks for the reconstruction of every study and has what it takes."""
        return self.spec.reconstructs and self.unet is not None

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of its features."""
        return feature_names(reconstructs=self.reconstructs)

    def read(self, volume: Tensor, plane_sources: Sequence[str]) -> SliceReading:
        """Look at the planes of an encoder input (z, x, y) on the networks' device.

        `plane_sources` are lasting names of each plane's source: seeds of the reconstruction's noise.
        """
        planes = slice_planes(len(volume))
        images = slice_images(volume, self.spec.image_size)
        probabilities = self.probabilities(images).tolist()
        anomaly = self._anomaly(volume, plane_sources)
        return SliceReading(
            scores=_features(probabilities, anomaly.scores if anomaly is not None else None),
            probabilities=dict(zip(planes, probabilities, strict=True)),
            anomaly=anomaly,
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Probability of abnormality (n,) of slices (n, 1, s, s), HU / 1000."""
        no_noise = torch.zeros(1, dtype=torch.long, device=images.device)

        def classify(batch: slice) -> Tensor:
            self.memory.bring(self.classifier)
            logits: Tensor = self.classifier(images[batch], no_noise)
            return logits.softmax(dim=-1)[:, 1]

        return self.memory.batches(classify, len(images))

    def _anomaly(self, volume: Tensor, plane_sources: Sequence[str]) -> AnomalyMaps | None:
        rule, unet = self.spec.reconstruction, self.unet
        if rule is None or unet is None or not self.reconstructs:
            return None
        planes = reconstruction_planes(len(volume), rule.slices)
        images = slice_images(volume, self.spec.image_size, planes)
        noise = torch.cat([slice_noise(plane_sources[plane], self.spec.image_size) for plane in planes])
        restored = self._reconstruction(images, noise.to(images.device), rule, unet)
        maps: NDArray[np.float32] = (restored - images).abs()[:, 0].cpu().numpy()
        return AnomalyMaps(tuple(planes), maps, tuple(slice_errors(restored, images).tolist()))

    def _reconstruction(self, images: Tensor, noise: Tensor, rule: ReconstructionSpec, unet: UNet) -> Tensor:
        def restore(batch: slice) -> Tensor:
            self.memory.bring(unet, self.classifier)
            return reconstruct(
                unet,
                self.classifier,
                images[batch],
                noise[batch],
                noise_level=rule.noise_level,
                steps=rule.steps,
                schedule=rule.schedule,
                guidance_scale=rule.guidance_scale,
            )

        return self.memory.batches(restore, len(images))


def feature_names(*, reconstructs: bool) -> tuple[str, ...]:
    """Names of the features that the member gives, with a reconstruction or without."""
    return tuple(_features([0.0], [0.0] if reconstructs else None))


def slice_noise(source: str, image_size: int) -> Tensor:
    """Standard normal noise (1, 1, s, s) that belongs to a source image: the same wherever and whenever."""
    seed = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8]) >> 1
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 1, image_size, image_size), generator=generator)


def _features(probabilities: Sequence[float], anomaly_scores: Sequence[float] | None) -> dict[str, float]:
    """The member's scores: figures over the slices of the classifier and of the reconstruction."""
    figures = {
        f"classifier_{name}": value for name, value in mean_max_std(probabilities, "_probability").items()
    }
    if anomaly_scores is not None:
        figures |= {f"reconstruction_{name}": value for name, value in mean_max_std(anomaly_scores).items()}
    return figures
