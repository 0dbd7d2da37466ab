"""From nothing to a bundle, stage by stage; a stage takes up what an earlier run left behind."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.bundle import Bundle, load_bundle, write_manifest
from models.manifest import FindingSpec, FusionSpec
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from phantom.cases import HELD_OUT_SEEDS, TRAINING_SEEDS, VALIDATION_SEEDS
from training.dataset import InputGrid, Thoraces, drawn_cases, enriched_cases
from training.diffusion import train_classifier, train_unet
from training.encoder import EncoderRun
from training.evaluation import evaluate
from training.fusion import fused, fusion_columns, save_fusion, train_fusion
from training.heads import train_heads
from training.joint_encoder import JointEncoder, new_encoder
from training.metrics import f1_score, operating_point, youden_index
from training.model_card import model_card
from training.patches import train_on_patches
from training.prompts import tokenised
from training.recipe import Recipe
from training.scoring import Columns, abnormal, finding_probabilities, scored
from training.slices import SlicePool
from training.weights import FUSION, write_members_manifest, write_networks

log = logging.getLogger(__name__)

# The fusion learns from member scores of cases that no member has seen.
_FUSION_START = TRAINING_SEEDS.start + len(TRAINING_SEEDS) // 2


class Pipeline:
    """The stages of one training, in the order in which they need each other.

    Parameters
    ----------
    recipe
        What to make.
    work
        Caches, checkpoints and journals; may be gigabytes.
    workers
        Processes that render.
    """

    def __init__(self, recipe: Recipe, work: Path, workers: int) -> None:
        self.recipe = recipe
        self.work = work
        self._workers = workers
        grid = InputGrid(recipe.spacing_mm, recipe.shape)
        cases = recipe.cases
        self.encoder_cases = Thoraces(
            work / "cases" / "encoder", enriched_cases(_seeds(TRAINING_SEEDS, cases.encoder)), grid
        )
        # Monitoring looks at the last validation seeds, which decide nothing.
        self.monitoring = Thoraces(
            work / "cases" / "monitoring", drawn_cases(VALIDATION_SEEDS[-cases.monitoring :]), grid
        )
        self.fusion = Thoraces(
            work / "cases" / "fusion", drawn_cases(range(_FUSION_START, _FUSION_START + cases.fusion)), grid
        )
        self.validation = Thoraces(
            work / "cases" / "validation", drawn_cases(_seeds(VALIDATION_SEEDS, cases.validation)), grid
        )
        self.held_out = Thoraces(
            work / "cases" / "held_out", drawn_cases(_seeds(HELD_OUT_SEEDS, cases.held_out)), grid
        )

    def train_encoder(self) -> JointEncoder:
        """Image encoder, heads and text tower."""
        self.encoder_cases.prepare(self._workers)
        self.monitoring.prepare(self._workers)
        log.info("encoder")
        recipe, data = self.recipe, self.encoder_cases
        network = new_encoder(recipe, tokenised(recipe.labels, self.work))
        train_on_patches(network, data, recipe, self.work)
        EncoderRun(recipe, network, data, self.monitoring, self.work).run()
        train_heads(network, data, recipe.head_training, self.work)
        return network

    def train_classifier(self) -> SliceClassifier:
        """Slice classifier of the diffusion member."""
        self.encoder_cases.prepare(self._workers)
        self.monitoring.prepare(self._workers)
        log.info("slice classifier")
        size = self.recipe.classifier.image_size
        pools = SlicePool(self.encoder_cases, size), SlicePool(self.monitoring, size)
        return train_classifier(self.recipe, *pools, self.work)

    def train_unet(self) -> UNet:
        """Diffusion UNet."""
        self.encoder_cases.prepare(self._workers)
        log.info("diffusion UNet")
        return train_unet(self.recipe, SlicePool(self.encoder_cases, self.recipe.unet.image_size), self.work)

    def make_bundle(self, out: Path) -> dict[str, Any]:
        """Networks, fusion, operating points, evaluation and model card into `out`; returns the evaluation.

        The networks must have been trained: their checkpoints are taken up as they stand at their last step.
        """
        recipe = self.recipe
        write_networks(out, self.train_encoder(), self.train_classifier(), self.train_unet())
        members = write_members_manifest(out, recipe)
        bundle = load_bundle(out)
        rows = {
            name: self._scored(bundle, name, data)
            for name, data in (
                ("fusion", self.fusion),
                ("validation", self.validation),
                ("held_out", self.held_out),
            )
        }
        columns = fusion_columns(recipe.labels)
        model = train_fusion(rows["fusion"], abnormal(self.fusion), columns, recipe.seed)
        save_fusion(model, out / FUSION)
        point = operating_point(
            abnormal(self.validation), fused(model, rows["validation"], columns), youden_index
        )
        manifest = write_manifest(
            out,
            replace(
                members,
                fallback=None,
                fusion=FusionSpec(FUSION, point, columns),
                findings=tuple(self._with_point(finding, rows["validation"]) for finding in members.findings),
            ),
        )
        report = evaluate(out, self.held_out, rows["held_out"], recipe.cases.acquisitions)
        (self.work / "evaluation.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        (out / "README.md").write_text(model_card(manifest, recipe, report), encoding="utf-8")
        return report

    def _scored(self, bundle: Bundle, name: str, data: Thoraces) -> list[Columns]:
        data.prepare(self._workers)
        return scored(bundle, data, self.work / "scores" / name)

    def _with_point(self, finding: FindingSpec, rows: list[Columns]) -> FindingSpec:
        present = [finding.name in case.findings for case in self.validation.cases]
        point = operating_point(present, finding_probabilities(rows, finding), f1_score)
        return replace(finding, operating_point=point)


def _seeds(seeds: range, count: int) -> range:
    return seeds[:count]


def use_threads(threads: int) -> None:
    """Threads of torch in this process; the same number gives the same bits on the same machine."""
    torch.set_num_threads(threads)
