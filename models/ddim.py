"""Guided DDIM: a slice is noised, then denoised towards "normal"; what changes on the way is an anomaly.

Song et al., "Denoising Diffusion Implicit Models" (2021); Dhariwal and Nichol (2021) for classifier guidance;
Wolleb et al., "Diffusion Models for Medical Anomaly Detection" (2022) for reconstruction towards health.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NORMAL = 0  # the class that guidance leads to
_GRADIENT_SCALE = 1024.0  # keeps small gradients from vanishing in fp16; a power of two changes no digit

Step = tuple[int, float]
"""A timestep to denoise from, and the alpha-bar to arrive at."""


@dataclass(frozen=True)
class DiffusionSchedule:
    """Noise schedule; ``alphas_cumprod[t]`` (alpha-bar) is the share of the signal's variance left at t."""

    betas: NDArray[np.float64]

    @staticmethod
    def linear(timesteps: int = 1000) -> DiffusionSchedule:
        """Ho et al. (2020): beta from 1e-4 to 0.02 over 1000 timesteps, scaled for other numbers of them."""
        scale = 1000 / timesteps
        return DiffusionSchedule(np.linspace(scale * 1e-4, scale * 0.02, timesteps))

    @property
    def alphas_cumprod(self) -> NDArray[np.float64]:
        """alpha-bar, (timesteps,), falling."""
        return np.cumprod(1.0 - self.betas, dtype=np.float64)

    def q_sample(self, slices: Tensor, t: int, noise: Tensor) -> Tensor:
        """Slices (b, 1, s, s) with the noise that belongs to timestep ``t``."""
        alpha_bar = self.alphas_cumprod[t]
        return _float32(alpha_bar**0.5) * slices + _float32((1 - alpha_bar) ** 0.5) * noise


@dataclass(frozen=True)
class DenoisedStep:
    """One DDIM step: the less noisy slices and the estimate of the clean ones, both (b, 1, s, s)."""

    sample: Tensor
    pred_xstart: Tensor


Guidance = Callable[[Tensor, int], Tensor]


def classifier_guidance(classifier: nn.Module, scale: float, target: int = NORMAL) -> Guidance:
    """The gradient of ``scale * log p(target)`` by noisy slices, a function of (slices (b, 1, s, s), t)."""

    def gradient(x: Tensor, t: int) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            log_p = classifier(x, _timesteps(x, t)).log_softmax(dim=-1)[:, target].sum()
            (slope,) = torch.autograd.grad(log_p * _GRADIENT_SCALE, x)
        return slope * (scale / _GRADIENT_SCALE)

    return gradient


def ddim_step(
    unet: nn.Module,
    x: Tensor,
    step: Step,
    schedule: DiffusionSchedule,
    *,
    guidance: Guidance | None = None,
    target: int = NORMAL,
) -> DenoisedStep:
    """One deterministic (eta 0) step of noisy slices (b, 1, s, s).

    The estimate of the clean slices is held within [-1, 1] before guidance and not after, as in the original.
    """
    t, alpha_bar_next = step
    alpha_bar = schedule.alphas_cumprod[t]
    # The original guards its divisions with 1e-8; the published numbers hold it.
    recip = _float32((1 / (alpha_bar + 1e-8)) ** 0.5)
    recipm1 = _float32((1 / (alpha_bar + 1e-8) - 1) ** 0.5)
    labels = torch.full((1,), target, device=x.device)
    eps = unet(x, _timesteps(x, t), labels)[:, :1]
    pred_xstart = (recip * x - recipm1 * eps).clamp(-1, 1)
    eps = (recip * x - pred_xstart) / recipm1
    if guidance is not None:
        eps = eps - _noise_share(alpha_bar) * guidance(x, t)
        pred_xstart = recip * x - recipm1 * eps
        eps = (recip * x - pred_xstart) / recipm1
    sample = pred_xstart * _float32(alpha_bar_next) ** 0.5 + _noise_share(alpha_bar_next) * eps
    return DenoisedStep(sample, pred_xstart)


def strided_steps(schedule: DiffusionSchedule, noise_level: int, steps: int) -> list[Step]:
    """``steps`` distinct timesteps from ``noise_level`` to 0, each arriving at the next, the last at 1."""
    visited = np.unique(np.linspace(noise_level, 0, min(steps, noise_level + 1)).round().astype(int))[::-1]
    arrivals = [*schedule.alphas_cumprod[visited[1:]], 1.0]
    return [(int(t), float(alpha_bar)) for t, alpha_bar in zip(visited, arrivals, strict=True)]


def original_steps(schedule: DiffusionSchedule, noise_level: int, steps: int) -> list[Step]:
    """The original's ``steps`` - 1 steps: timesteps repeat when there are many, and each arrives at t - 1."""
    visited = np.linspace(noise_level - 1, 0, steps).astype(int)[:-1]
    alphas = np.append(1.0, schedule.alphas_cumprod)
    return [(int(t), float(alphas[t])) for t in visited]


def reconstruct(
    unet: nn.Module,
    classifier: nn.Module,
    slices: Tensor,
    noise: Tensor,
    *,
    noise_level: int = 200,
    steps: int,
    schedule: Literal["strided", "original"],
    guidance_scale: float = 100.0,
) -> Tensor:
    """What the slices would look like without an abnormality.

    Parameters
    ----------
    unet, classifier : nn.Module
        The diffusion UNet, called (x, t, y), and the slice classifier, called (x, t).
    slices, noise : Tensor
        (b, 1, s, s), HU / 1000, and standard normal noise of the same shape.
    noise_level : int
        Timestep of the schedule (of 1000) to which the slices are noised.
    steps : int
        Denoising steps; the original schedule runs one less.
    schedule : {"strided", "original"}
        ``strided`` visits distinct timesteps and ends without noise; ``original`` is the published loop.

    Returns
    -------
    Tensor
        (b, 1, s, s), HU / 1000
    """
    diffusion = DiffusionSchedule.linear()
    choose = strided_steps if schedule == "strided" else original_steps
    guidance = classifier_guidance(classifier, guidance_scale)
    with torch.no_grad():
        x = diffusion.q_sample(slices, noise_level, noise)
        for step in choose(diffusion, noise_level, steps):
            x = ddim_step(unet, x, step, diffusion, guidance=guidance).sample
    return x


def slice_errors(reconstruction: Tensor, slices: Tensor) -> Tensor:
    """Mean absolute difference of each slice, (b,), HU / 1000: the reconstruction's anomaly score."""
    return (reconstruction - slices).abs().flatten(1).mean(dim=1)


def _timesteps(x: Tensor, t: int) -> Tensor:
    return torch.full((1,), t, device=x.device)


def _float32(value: float) -> float:
    return float(np.float32(value))


def _noise_share(alpha_bar: float) -> float:
    """sqrt(1 - alpha-bar), the tables being float32 before the subtraction, as in the original."""
    return float(np.sqrt(np.float32(1) - np.float32(alpha_bar)))
