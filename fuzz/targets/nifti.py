"""A NIfTI volume from a stranger, which the node parses in its own process."""

from __future__ import annotations

import numpy as np

from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_nifti
from fuzz.nifti_mutation import mutate_nifti
from fuzz.scratch import scratch_folder
from fuzz.seeds import volumes
from fuzz.target import Target
from fuzz.targets.series import SPEC
from inference.errors import Refusal
from inference.preparation import prepare_nifti
from inference.stages import Stages

LIMITS = HttpSettings(max_member_bytes=8 << 20, unpack_timeout_s=5)


def read_volume_file(content: bytes) -> str:
    """Unpack and read a volume, and prepare what the networks are given of it."""
    with scratch_folder() as scratch:
        received = scratch / "received"
        received.write_bytes(content)
        try:
            upload = receive_nifti(received, "volume.nii.gz", LIMITS, scratch / "files")
            study = prepare_nifti(upload.files[0], upload.name, SPEC, stages=Stages())
        except Refusal as refusal:
            return str(refusal.code)
        if not (np.isfinite(study.volume.voxels_hu).all() and np.isfinite(study.volume.affine).all()):
            raise AssertionError("the volume is not finite")
        if not bool(study.encoder_input.tensor.isfinite().all()):
            raise AssertionError("the encoder input is not finite")
        return "lungs" if study.lungs is not None else "no lungs"


TARGET = Target(
    name="nifti",
    run=read_volume_file,
    whole=read_volume_file,
    seeds=volumes,
    mutate=mutate_nifti,
    allowance_bytes=512 << 20,
)
