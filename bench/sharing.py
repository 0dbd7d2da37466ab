"""What sharing the work saves, as ratios within one run.

The prototype that this project replaces prepared the volume anew for each member and encoded the image once
for each prompt.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bench.stopwatch import time_work
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.encoder_input import encoder_input
from inference.volume import read_volume
from models.bundle import Bundle, load_bundle

_CPU = torch.device("cpu")


def sharing_ratios(archive: Path, bundle_folder: Path, repeats: int) -> dict[str, float]:
    """How many times longer the work takes unshared, by what is not shared; `archive` holds one series."""
    bundle = load_bundle(bundle_folder)
    with TemporaryDirectory(dir=archive.parent) as folder:
        volume = read_volume(receive_zip(archive, HttpSettings(), Path(folder)).files)
    spec = bundle.manifest.input
    members = bundle.manifest.members
    count = sum(member is not None for member in (members.ctclip, members.supervised, members.diffusion))

    def prepare() -> None:
        encoder_input(volume, spec)

    def prepare_for_each() -> None:
        for _ in range(count):
            encoder_input(volume, spec)

    once = time_work(prepare, _CPU, repeats=repeats).median_s
    each = time_work(prepare_for_each, _CPU, repeats=repeats).median_s
    ratios = {f"preparation for each of {count} members": each / once}
    return ratios | _image_pass_ratio(bundle, encoder_input(volume, spec).tensor[None, None], repeats)


def _image_pass_ratio(bundle: Bundle, video: torch.Tensor, repeats: int) -> dict[str, float]:
    spec, head, latents = bundle.manifest.members.ctclip, bundle.ctclip, bundle.text_latents
    if spec is None or head is None or latents is None:
        return {}
    tower = bundle.towers[spec.tower]

    def one_pass() -> None:
        head(tower(video), latents)

    def a_pass_for_each() -> None:
        for pair in latents:
            head(tower(video), pair[None])

    with torch.inference_mode():
        once = time_work(one_pass, _CPU, repeats=repeats).median_s
        each = time_work(a_pass_for_each, _CPU, repeats=repeats).median_s
    return {f"image pass for each of {len(latents)} prompts": each / once}
