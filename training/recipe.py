"""The demonstration bundle in numbers: what is trained, on how much, for how long."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from models.ctvit import CTViTConfig
from models.slice_classifier import SliceClassifierConfig
from models.unet import UNetConfig

LABELS = ("Lung nodule", "Consolidation", "Pleural effusion", "Cardiomegaly", "Emphysema", "Pneumothorax")

# Which of two findings a physician must hear of first; ties of severity are settled by probability.
SEVERITY = {
    "Pneumothorax": 6,
    "Lung nodule": 5,
    "Consolidation": 4,
    "Pleural effusion": 3,
    "Cardiomegaly": 2,
    "Emphysema": 1,
}


@dataclass(frozen=True)
class Cases:
    """How many cases each part sees; `acquisitions` of the held-out ones are also rendered whole.

    On `located` of them sides are measured. `validation` sets the findings' operating points, `calibration`
    the meaning of the study's probability.
    """

    encoder: int = 1200
    monitoring: int = 64
    fusion: int = 240
    validation: int = 160
    calibration: int = 320
    held_out: int = 400
    acquisitions: int = 8
    located: int = 240


@dataclass(frozen=True)
class EncoderTraining:
    """Steps and rates of the image encoder with its two heads.

    The first `continuous_steps` run without the codebook, which then starts by k-means on what the encoder
    has learned so far. `token_weight` weighs the auxiliary loss that asks each token which findings lie in
    its patch.
    """

    steps: int = 700
    batch: int = 4
    continuous_steps: int = 200
    warmup_steps: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    token_weight: float = 4.0
    painted_share: float = 0.4
    commitment_weight: float = 0.25
    checkpoint_every: int = 50
    monitor_every: int = 100


@dataclass(frozen=True)
class PatchTraining:
    """Steps and rates of the patch-wise layers; a step sees `each` patches of each of `volumes` cases."""

    steps: int = 3000
    volumes: int = 6
    each: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02


@dataclass(frozen=True)
class HeadTraining:
    """Epochs and rates of the heads on the finished encoder; `moved` further views of every case."""

    epochs: int = 60
    batch: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    moved: int = 0


@dataclass(frozen=True)
class SliceTraining:
    """Steps and rates of one slice network; timesteps are drawn from 0 to `noise_limit` of 1000."""

    steps: int
    batch: int
    learning_rate: float
    noise_limit: int = 220
    weight_decay: float = 0.01
    checkpoint_every: int = 100


@dataclass(frozen=True)
class Reconstruction:
    """The guided reconstruction that the bundle asks for of every study."""

    slices: int = 3
    steps: int = 4
    noise_level: int = 200
    guidance_scale: float = 100.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome, besides the code and the seeds."""

    labels: tuple[str, ...] = LABELS
    seed: int = 20_260_101
    spacing_mm: tuple[float, float, float] = (4.5, 2.25, 2.25)
    shape: tuple[int, int, int] = (80, 160, 160)
    minimum_slices: int = 20
    dim_latent: int = 64
    tower: CTViTConfig = field(
        default_factory=lambda: CTViTConfig(
            dim=192,
            codebook_size=512,
            image_size=(160, 160),
            patch_size=16,
            temporal_patch_size=8,
            spatial_depth=3,
            temporal_depth=3,
            dim_head=32,
            heads=6,
        )
    )
    classifier: SliceClassifierConfig = field(
        default_factory=lambda: SliceClassifierConfig(
            image_size=96,
            model_channels=32,
            num_res_blocks=1,
            attention_resolutions=(8, 16),
            channel_mult=(1, 1, 2, 2, 4),
            num_head_channels=32,
        )
    )
    unet: UNetConfig = field(
        default_factory=lambda: UNetConfig(
            image_size=96,
            model_channels=32,
            num_res_blocks=1,
            attention_resolutions=(),
            channel_mult=(1, 1, 2, 2),
        )
    )
    cases: Cases = Cases()
    patch_training: PatchTraining = PatchTraining()
    encoder_training: EncoderTraining = EncoderTraining()
    head_training: HeadTraining = HeadTraining()
    classifier_training: SliceTraining = SliceTraining(steps=600, batch=16, learning_rate=1e-3)
    unet_training: SliceTraining = SliceTraining(steps=200, batch=8, learning_rate=1e-3, checkpoint_every=50)
    reconstruction: Reconstruction = Reconstruction()

    def scaled(self, share: float) -> Recipe:
        """The same with `share` of the cases and steps: a rehearsal that finds mistakes in minutes."""

        def part(number: int, least: int) -> int:
            return max(least, round(number * share))

        cases, encoder, heads = self.cases, self.encoder_training, self.head_training
        classifier, unet = self.classifier_training, self.unet_training
        return replace(
            self,
            cases=Cases(
                encoder=part(cases.encoder, 24),
                monitoring=part(cases.monitoring, 24),
                fusion=part(cases.fusion, 30),
                validation=part(cases.validation, 24),
                calibration=part(cases.calibration, 24),
                held_out=part(cases.held_out, 24),
                acquisitions=part(cases.acquisitions, 2),
                located=part(cases.located, 24),
            ),
            encoder_training=replace(
                encoder,
                steps=part(encoder.steps, 12),
                continuous_steps=part(encoder.continuous_steps, 4),
                warmup_steps=part(encoder.warmup_steps, 2),
                monitor_every=part(encoder.monitor_every, 6),
            ),
            patch_training=replace(self.patch_training, steps=part(self.patch_training.steps, 6)),
            head_training=replace(heads, epochs=part(heads.epochs, 2), batch=min(heads.batch, 8)),
            classifier_training=replace(classifier, steps=part(classifier.steps, 6)),
            unet_training=replace(unet, steps=part(unet.steps, 6)),
        )
