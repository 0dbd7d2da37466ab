"""One graphics card: seconds of each stage, fraction of its measured peak, memory.

Every function takes the device, so that the same code runs, and is tested, on a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from bench.flops import image_pass_flops, reconstruction_flops, stage_work
from bench.machine import Machine, Products, describe_machine, matmul_peak, product_type
from bench.stopwatch import Timing, time_work
from bench.tables import markdown_table
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.dicom_files import read_headers
from inference.encoder_input import reconstruction_planes, slice_images
from inference.exact_float32 import compute_exactly_in_float32
from inference.members import Ensemble
from inference.memory_use import peak_bytes, reset_peak
from inference.preparation import PreparedStudy, prepare_series
from inference.series import choose_series
from inference.slice_member import slice_noise
from inference.stages import Stages
from models.bundle import Bundle, load_bundle
from models.ddim import reconstruct
from models.manifest import InputSpec
from models.precision import Precision

COPY = "copy to the device"
PREPARATION = "preparation (processor)"
IMAGE_PASS = "image pass"  # noqa: S105 -- a stage, no password
ENSEMBLE = "ensemble without reconstruction"
RECONSTRUCTION = "guided reconstruction"


@dataclass(frozen=True)
class Effort:
    """How much is measured: runs that count, runs before them, and the size of the reconstruction."""

    repeats: int = 10
    warm_up: int = 3
    slices: int = 16
    steps: int = 50
    products: Products = field(default_factory=Products)


@dataclass(frozen=True)
class CardFigures:
    """What was measured of one bundle in one precision on one device.

    Attributes
    ----------
    first_s, median_s
        By stage: the very first run, in which kernels are chosen and compiled, and the median after the
        warm-up.
    share_of_peak
        By stage: operations a second over `matmul_flop_per_s`.
    matmul_flop_per_s
        The device's best product of two square matrices in the precision of the networks; TF32 is off.
    float32_flop_per_s
        The same in float32.
    weights_bytes, peak_bytes
        Memory with the networks loaded, and the most that was held while they computed.
    """

    machine: Machine
    bundle: str
    precision: Precision
    effort: Effort
    first_s: dict[str, float]
    median_s: dict[str, float]
    share_of_peak: dict[str, float]
    matmul_flop_per_s: float
    float32_flop_per_s: float
    weights_bytes: int
    peak_bytes: int

    def table(self) -> str:
        """The figures in Markdown."""
        rows = [
            (
                stage,
                f"{seconds * 1e3:.1f}",
                f"{self.share_of_peak[stage]:.0%}" if stage in self.share_of_peak else "",
                f"{self.first_s[stage] * 1e3:.0f}",
            )
            for stage, seconds in self.median_s.items()
        ]
        effort = self.effort
        title = f"{self.bundle}, {self.precision}, {self.machine.device_name}"
        counted = f"ms, median of {effort.repeats} after {effort.warm_up}"
        return markdown_table((title, counted, "of matmul peak", "first run, ms"), rows)

    def summary(self) -> str:
        """Peaks of speed and memory in a sentence each."""
        return (
            f"Best matrix product: {self.matmul_flop_per_s / 1e12:.3g} TFLOP/s in {self.precision}, "
            f"{self.float32_flop_per_s / 1e12:.3g} in float32. "
            f"Memory: {self.weights_bytes / 1e9:.2f} GB with the networks loaded, "
            f"{self.peak_bytes / 1e9:.2f} GB at most. "
            f"Reconstruction: {self.effort.slices} slices, {self.effort.steps} steps."
        )


def measure_card(
    archive: Path, bundle_folder: Path, device_name: str, precision: Precision, effort: Effort
) -> CardFigures:
    """Measure a bundle on the study in the ZIP `archive`; `device_name` is torch's name of the device."""
    compute_exactly_in_float32()
    device = torch.device(device_name)
    dtype = product_type(precision, device)
    peak = matmul_peak(dtype, device, effort.products)
    float32_peak = matmul_peak(torch.float32, device, effort.products)
    bundle = load_bundle(bundle_folder, device=device_name, precision=precision, every_network=True)
    ensemble = Ensemble(replace(bundle, unet=None), device=device_name)
    _reset_peak(device)
    weights_bytes = _peak_bytes(device)
    timings: dict[str, Timing] = {}

    def measure(stage: str, work: Callable[[], object]) -> None:
        timings[stage] = time_work(work, device, repeats=effort.repeats, warm_up=effort.warm_up)

    with TemporaryDirectory(dir=archive.parent) as folder:
        prepare = _preparation(archive, Path(folder), bundle.manifest.input)
        study = prepare()
        measure(PREPARATION, prepare)
    tensor = study.encoder_input.tensor
    volume = tensor.to(device)
    measure(COPY, lambda: tensor.to(device))
    with torch.inference_mode():
        tower = next(iter(bundle.towers.values()))
        measure(IMAGE_PASS, lambda: tower(volume[None, None]))
        measure(ENSEMBLE, lambda: ensemble.read(tensor, study.plane_sources))
    if bundle.unet is not None:
        measure(RECONSTRUCTION, _reconstruction(bundle, volume, study.plane_sources, effort))
    return CardFigures(
        machine=describe_machine(device_name),
        bundle=bundle.manifest.name,
        precision=precision,
        effort=effort,
        first_s={stage: timing.first_s for stage, timing in timings.items()},
        median_s={stage: timing.median_s for stage, timing in timings.items()},
        share_of_peak=_shares(bundle, timings, effort, peak),
        matmul_flop_per_s=peak,
        float32_flop_per_s=float32_peak,
        weights_bytes=weights_bytes,
        peak_bytes=_peak_bytes(device),
    )


def _preparation(archive: Path, folder: Path, spec: InputSpec) -> Callable[[], PreparedStudy]:
    """The work of making the study ready, its files unpacked and its series chosen beforehand."""
    files = read_headers(receive_zip(archive, HttpSettings(), folder).files)
    choice = choose_series(files.headers)
    paths = files.series(choice)
    workers = max(torch.get_num_threads(), 1)
    return lambda: prepare_series(paths, choice, spec, workers=workers, stages=Stages())


def _reconstruction(
    bundle: Bundle, volume: Tensor, plane_sources: tuple[str, ...], effort: Effort
) -> Callable[[], Tensor]:
    unet, classifier, spec = bundle.unet, bundle.slice_classifier, bundle.manifest.members.diffusion
    if unet is None or classifier is None or spec is None:
        raise ValueError("the bundle has no networks to reconstruct with")
    planes = reconstruction_planes(len(volume), effort.slices)
    images = slice_images(volume, spec.image_size, planes)
    noise = torch.cat([slice_noise(plane_sources[plane], spec.image_size) for plane in planes])
    noise = noise.to(volume.device)
    return lambda: reconstruct(unet, classifier, images, noise, steps=effort.steps, schedule="strided")


def _shares(bundle: Bundle, timings: dict[str, Timing], effort: Effort, peak: float) -> dict[str, float]:
    manifest = bundle.manifest
    tower = next(iter(manifest.towers.values()))
    flop = {
        IMAGE_PASS: image_pass_flops(tower, manifest.input.shape),
        ENSEMBLE: sum(work.total - work.reconstruction for work in stage_work(manifest).values()),
    }
    if manifest.members.diffusion is not None:
        flop[RECONSTRUCTION] = reconstruction_flops(manifest.members.diffusion, effort.slices, effort.steps)
    return {stage: flop[stage] / timing.median_s / peak for stage, timing in timings.items() if stage in flop}


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what the matrix products left there
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_peak()


def _peak_bytes(device: torch.device) -> int:
    """What the allocator has reserved counts on a card: no one else can have it."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_bytes()
