"""The members of the ensemble: one prepared volume in, named scores out, each network run once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.columns import CTCLIP, DIFFUSION, SUPERVISED, mean_max_std
from inference.encoder_input import reconstruction_planes, slice_images, slice_planes
from inference.stages import Stages
from models.bundle import Bundle
from models.ddim import reconstruct, slice_errors
from models.precision import Precision

SLICE_BATCH = 16


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
class Reading:
    """What the members say about one study.

    Attributes
    ----------
    scores
        `{member: {name: value}}`; probabilities 0 to 1 by label, and the features of the diffusion member.
    tokens
        Quantised tokens (1, t, h, w, d) of each image encoder.
    slice_probabilities
        Probability of abnormality of each plane that the slice classifier looked at.
    anomaly
        The reconstruction's maps, None where it is off.
    warnings
        What is to be said about how the members computed.
    """

    scores: dict[str, dict[str, float]]
    tokens: dict[str, Tensor] = field(default_factory=dict)
    slice_probabilities: dict[int, float] = field(default_factory=dict)
    anomaly: AnomalyMaps | None = None
    warnings: tuple[str, ...] = ()


class Ensemble:
    """The members that a bundle has."""

    def __init__(self, bundle: Bundle, *, device: str = "cpu", precision: Precision = "float32") -> None:
        self.bundle = bundle
        self.device = torch.device(device)
        self.precision = precision

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members that the bundle has, in the order in which they run."""
        specs = self.bundle.manifest.members
        present = {CTCLIP: specs.ctclip, SUPERVISED: specs.supervised, DIFFUSION: specs.diffusion}
        return tuple(name for name, spec in present.items() if spec is not None)

    def read(self, tensor: Tensor, plane_sources: Sequence[str], stages: Stages | None = None) -> Reading:
        """Every member's scores.

        Parameters
        ----------
        tensor
            Encoder input (z, x, y).
        plane_sources
            SOP Instance UID (or another lasting name) of each plane's source: seeds of the diffusion's noise.
        stages
            Where the seconds of each member go; a shared encoder counts to the first member that needs it.
        """
        stages = stages or Stages()
        volume = tensor.to(self.device)
        reading = Reading({})
        with torch.inference_mode():
            for member in self.members:
                with stages.measure(member):
                    if member == DIFFUSION:
                        reading = self._diffusion(volume, plane_sources, reading)
                    else:
                        self._label(member, volume, reading)
        return reading

    def logits(self, member: str) -> Callable[[Tensor], Tensor]:
        """The function from quantised tokens (1, t, h, w, d) to the logits (1, n) of a member's labels."""
        if member == SUPERVISED and self.bundle.supervised is not None:
            return self.bundle.supervised
        head, latents = self.bundle.ctclip, self.bundle.text_latents
        if head is None or latents is None:
            raise KeyError(member)
        # Of [present, not present] the softmax is the sigmoid of the difference.
        return lambda tokens: head.logits(head.image_latents(tokens), latents).diff(dim=-1)[..., 0].neg()

    def tower(self, member: str) -> str:
        """Name of the image encoder of a labelling member."""
        return self._labelling(member)[0]

    def labels(self, member: str) -> tuple[str, ...]:
        """The labels of a member, in the order of its logits."""
        return self._labelling(member)[1]

    def score_names(self, member: str) -> tuple[str, ...]:
        """Names of the scores that a member gives."""
        if member != DIFFUSION:
            return self.labels(member)
        names = [f"classifier_{name}" for name in mean_max_std([0.0], "_probability")]
        return (*names, *(f"reconstruction_{name}" for name in mean_max_std([0.0]) if self.reconstructs))

    @property
    def reconstructs(self) -> bool:
        """Whether the bundle asks for the reconstruction of every study and has what it takes."""
        spec = self.bundle.manifest.members.diffusion
        rule = spec.reconstruction if spec is not None else None
        return rule is not None and rule.enabled and self.bundle.unet is not None

    def _labelling(self, member: str) -> tuple[str, tuple[str, ...]]:
        specs = self.bundle.manifest.members
        spec = specs.supervised if member == SUPERVISED else specs.ctclip
        if spec is None:
            raise KeyError(member)
        return spec.tower, spec.labels

    def _label(self, member: str, volume: Tensor, reading: Reading) -> None:
        tower, labels = self._labelling(member)
        if tower not in reading.tokens:
            reading.tokens[tower] = self.bundle.towers[tower](volume[None, None])
        probabilities = self.logits(member)(reading.tokens[tower]).sigmoid()[0].tolist()
        reading.scores[member] = dict(zip(labels, probabilities, strict=True))

    def _diffusion(self, volume: Tensor, plane_sources: Sequence[str], reading: Reading) -> Reading:
        spec, classifier = self.bundle.manifest.members.diffusion, self.bundle.slice_classifier
        if spec is None or classifier is None:
            return reading
        planes = slice_planes(len(volume))
        images = slice_images(volume, spec.image_size)
        answers = [
            classifier(batch, torch.zeros(len(batch), dtype=torch.long, device=self.device)).softmax(dim=-1)[
                :, 1
            ]
            for batch in torch.split(images, SLICE_BATCH)
        ]
        probabilities = dict(zip(planes, torch.cat(answers).tolist(), strict=True))
        features = {
            f"classifier_{name}": value
            for name, value in mean_max_std(list(probabilities.values()), "_probability").items()
        }
        anomaly = self._reconstruction(volume, plane_sources)
        if anomaly is not None:
            figures = mean_max_std(anomaly.scores)
            features |= {f"reconstruction_{name}": value for name, value in figures.items()}
        scores = {**reading.scores, DIFFUSION: features}
        return Reading(scores, reading.tokens, probabilities, anomaly)

    def _reconstruction(self, volume: Tensor, plane_sources: Sequence[str]) -> AnomalyMaps | None:
        spec, unet = self.bundle.manifest.members.diffusion, self.bundle.unet
        classifier = self.bundle.slice_classifier
        if spec is None or unet is None or classifier is None:
            return None
        rule = spec.reconstruction
        if rule is None or not rule.enabled:
            return None
        planes = reconstruction_planes(len(volume), rule.slices)
        images = slice_images(volume, spec.image_size, planes)
        noise = torch.cat([slice_noise(plane_sources[plane], spec.image_size) for plane in planes])
        restored = torch.cat(
            [
                reconstruct(
                    unet, classifier, batch, batch_noise.to(self.device),
                    noise_level=rule.noise_level, steps=rule.steps, schedule=rule.schedule,
                    guidance_scale=rule.guidance_scale,
                )
                for batch, batch_noise in zip(
                    torch.split(images, SLICE_BATCH), torch.split(noise, SLICE_BATCH), strict=True
                )
            ]
        )  # fmt: skip
        maps: NDArray[np.float32] = (restored - images).abs()[:, 0].cpu().numpy()
        return AnomalyMaps(tuple(planes), maps, tuple(slice_errors(restored, images).tolist()))


def slice_noise(source: str, image_size: int) -> Tensor:
    """Standard normal noise (1, 1, s, s) that belongs to a source image: the same wherever and whenever."""
    seed = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8]) >> 1
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 1, image_size, image_size), generator=generator)
