"""The members of the ensemble: one prepared volume in, named scores out, each network run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inference.columns import CTCLIP, DIFFUSION, SUPERVISED
from inference.memory import MemorySteps
from inference.memory_use import MemoryMeter
from inference.slice_member import AnomalyMaps, SliceMember, SliceReading
from inference.stages import Stages
from models.bundle import Bundle


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
    """The members that a bundle has, on one device; one thread at a time."""

    def __init__(self, bundle: Bundle, *, device: str = "cpu") -> None:
        self.bundle = bundle
        self.device = torch.device(device)
        self.memory = MemorySteps(self.device, _networks(bundle))
        spec, classifier = bundle.manifest.members.diffusion, bundle.slice_classifier
        self._slices: SliceMember | None = None
        if spec is not None and classifier is not None:
            self._slices = SliceMember(spec, classifier, bundle.unet, self.memory)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members that the bundle has, in the order in which they run."""
        specs = self.bundle.manifest.members
        present = {CTCLIP: specs.ctclip, SUPERVISED: specs.supervised, DIFFUSION: specs.diffusion}
        return tuple(name for name, spec in present.items() if spec is not None)

    def read(
        self,
        tensor: Tensor,
        plane_sources: Sequence[str],
        stages: Stages | None = None,
        meter: MemoryMeter | None = None,
    ) -> Reading:
        """Every member's scores.

        Parameters
        ----------
        tensor
            Encoder input (z, x, y).
        plane_sources
            SOP Instance UID (or another lasting name) of each plane's source: seeds of the diffusion's noise.
        stages
            Where the seconds of each member go; a shared encoder counts to the first member that needs it.
        meter
            Measures the memory of each member, where it is asked for.

        Raises
        ------
        torch.OutOfMemoryError, MemoryError, RuntimeError
            If the memory does not suffice after every step of `MemorySteps`.
        """
        stages = stages or Stages()
        scores: dict[str, dict[str, float]] = {}
        tokens: dict[str, Tensor] = {}
        slices: SliceReading | None = None
        with torch.inference_mode():
            volume = self.memory.whole(lambda: tensor.to(self.device))
            for member in self.members:
                with ExitStack() as clocks:
                    clocks.enter_context(stages.measure(member))
                    if meter is not None:
                        clocks.enter_context(meter.measure(member))
                    if member == DIFFUSION and self._slices is not None:
                        slices = self._slices.read(volume, plane_sources)
                        scores[member] = slices.scores
                    else:
                        scores[member] = self._label(member, volume, tokens)
        return Reading(
            scores=scores,
            tokens=tokens,
            slice_probabilities=slices.probabilities if slices is not None else {},
            anomaly=slices.anomaly if slices is not None else None,
            warnings=self.memory.take_warnings(),
        )

    def logits(self, member: str) -> Callable[[Tensor], Tensor]:
        """The function from quantised tokens (1, t, h, w, d) to the logits (1, n) of a member's labels."""
        if member == SUPERVISED and self.bundle.supervised is not None:
            return self._brought(self.bundle.supervised, self.bundle.supervised)
        head, latents = self.bundle.ctclip, self.bundle.text_latents
        if head is None or latents is None:
            raise KeyError(member)
        # Of [present, not present] the softmax is the sigmoid of the difference.
        return self._brought(
            head, lambda tokens: head.logits(head.image_latents(tokens), latents).diff(dim=-1)[..., 0].neg()
        )

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
        return self._slices.score_names if self._slices is not None else ()

    @property
    def reconstructs(self) -> bool:
        """Whether the bundle asks for the reconstruction of every study and has what it takes."""
        return self._slices is not None and self._slices.reconstructs

    def _labelling(self, member: str) -> tuple[str, tuple[str, ...]]:
        specs = self.bundle.manifest.members
        spec = specs.supervised if member == SUPERVISED else specs.ctclip
        if spec is None:
            raise KeyError(member)
        return spec.tower, spec.labels

    def _brought(self, head: nn.Module, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def on_device(tokens: Tensor) -> Tensor:
            self.memory.bring(head)
            return logits(tokens)

        return on_device

    def _label(self, member: str, volume: Tensor, tokens: dict[str, Tensor]) -> dict[str, float]:
        """A labelling member's probabilities; its encoder runs unless `tokens` has what it gives."""
        name, labels = self._labelling(member)
        tower, logits = self.bundle.towers[name], self.logits(member)

        def encode() -> Tensor:
            self.memory.bring(tower)
            encoded: Tensor = tower(volume[None, None])
            return encoded

        if name not in tokens:
            tokens[name] = self.memory.whole(encode)
        probabilities = self.memory.whole(lambda: logits(tokens[name]).sigmoid()[0]).tolist()
        return dict(zip(labels, probabilities, strict=True))


def _networks(bundle: Bundle) -> list[nn.Module]:
    """Every network of a bundle."""
    others = (bundle.ctclip, bundle.supervised, bundle.slice_classifier, bundle.unet)
    return [*bundle.towers.values(), *(network for network in others if network is not None)]
