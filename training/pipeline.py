"""From nothing to a bundle, stage by stage; a stage takes up what an earlier run left behind."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.fusion import Fusion
from inference.self_test import record_self_test
from models.bundle import Bundle, load_bundle, write_manifest
from models.manifest import FindingSpec, FusionSpec, SaliencySpec
from models.manifest_file import MODEL_CARD
from models.slice_classifier import SliceClassifier
from models.unet import UNet
from phantom.cases import HELD_OUT_SEEDS, TRAINING_SEEDS, VALIDATION_SEEDS
from phantom.self_test_volume import SELF_TEST_VOLUME, write_self_test_volume
from training.calibration import FusedCases, calibrated_all, indeterminate_band, measured
from training.dataset import InputGrid, Thoraces, drawn_cases, enriched_cases
from training.diffusion import train_classifier, train_unet
from training.encoder import EncoderRun
from training.evaluation import evaluate
from training.fusion import fusion_columns, save_fusion, train_fusion
from training.heads import train_heads
from training.joint_encoder import JointEncoder, new_encoder
from training.located import measured_saliency
from training.metrics import f1_score, operating_point, youden_index
from training.model_card import kept_history, model_card, with_saliency
from training.patches import train_on_patches
from training.prompts import tokenised
from training.recipe import Recipe
from training.scoring import Columns, abnormal, finding_probabilities, scored
from training.slices import SlicePool
from training.weights import FUSION, VERSION, write_members_manifest, write_networks

log = logging.getLogger(__name__)

# The fusion learns from member scores of cases that no member has seen.
_FUSION_START = TRAINING_SEEDS.start + len(TRAINING_SEEDS) // 2

# The study's operating point until `calibrate` has measured where it lies.
_UNDECIDED = 0.5


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
        # Neither the members nor the fusion nor the findings' operating points come from these.
        calibration = VALIDATION_SEEDS[cases.validation : cases.validation + cases.calibration]
        self.calibration = Thoraces(work / "cases" / "calibration", drawn_cases(calibration), grid)
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
        """Networks, fusion, findings' operating points, and what `calibrate` adds; returns the evaluation.

        The networks must have been trained: their checkpoints are taken up as they stand at their last step.
        """
        recipe = self.recipe
        write_networks(out, self.train_encoder(), self.train_classifier(), self.train_unet())
        members = write_members_manifest(out, recipe)
        bundle = load_bundle(out)
        columns = fusion_columns(recipe.labels)
        rows = self._scored(bundle, "fusion", self.fusion)
        save_fusion(train_fusion(rows, abnormal(self.fusion), columns, recipe.seed), out / FUSION)
        rows = self._scored(bundle, "validation", self.validation)
        findings = tuple(self._with_point(finding, rows) for finding in members.findings)
        fusion = FusionSpec(FUSION, _UNDECIDED, columns)
        write_manifest(out, replace(members, fallback=None, fusion=fusion, findings=findings))
        (out / MODEL_CARD).unlink(missing_ok=True)
        self.record_self_test(out)
        self.locate(out)
        return self.calibrate(out)

    def record_self_test(self, out: Path) -> None:
        """Add the synthetic volume and what the bundle in `out` says of it; `calibrate` changes neither."""
        write_self_test_volume(out / SELF_TEST_VOLUME)
        record_self_test(out, out / SELF_TEST_VOLUME)

    def locate(self, out: Path) -> SaliencySpec | None:
        """From which value on the saliency of the bundle in `out` locates a finding, and if sides are right.

        Measured anew and written into manifest and model card; all else stays as it is.
        """
        bundle = load_bundle(out)
        target = InputGrid(self.recipe.spacing_mm, self.recipe.shape)
        log.info("saliency")
        cases = self.held_out.cases[: self.recipe.cases.located]
        saliency = measured_saliency(bundle, self.validation.cases, cases, target)
        write_manifest(out, replace(bundle.manifest, version=VERSION, saliency=saliency))
        card = out / MODEL_CARD
        if card.exists():
            text = with_saliency(card.read_text(encoding="utf-8"), VERSION, saliency)
            card.write_text(text, encoding="utf-8")
        return saliency

    def calibrate(self, out: Path) -> dict[str, Any]:
        """What the study's probability means in the bundle in `out`; returns the evaluation.

        Calibration, operating point and indeterminate band are measured anew, evaluation and model card are
        written anew; networks, fusion and the findings' operating points stay as they are.
        """
        bundle = load_bundle(out)
        spec, path = bundle.manifest.fusion, bundle.fusion_path
        if spec is None or path is None:
            raise ValueError(f"the bundle in {out} has no fusion, whose probability could be calibrated")
        fusion = Fusion(path, spec)
        fit = _fused(fusion, self.calibration, self._scored(bundle, "calibration", self.calibration))
        rows = self._scored(bundle, "held_out", self.held_out)
        unseen = _fused(fusion, self.held_out, rows)
        cohort = f"synthetic thoraces, held out, {unseen.truth.sum()} of them abnormal"
        calibration = measured(fit, unseen, cohort, self.recipe.seed)
        probabilities = calibrated_all(fit.probabilities, calibration.shipped)
        point = operating_point(fit.truth, probabilities, youden_index)
        manifest = write_manifest(
            out,
            replace(
                bundle.manifest,
                version=VERSION,
                calibration=calibration.shipped,
                fusion=replace(spec, operating_point=point),
                indeterminate=indeterminate_band(fit.truth, probabilities, point),
            ),
        )
        report = evaluate(out, self.held_out, rows, self.recipe.cases.acquisitions)
        report["calibration"] = asdict(calibration) | {
            "platt": {"slope": calibration.platt.slope, "intercept": calibration.platt.intercept},
            "shipped": calibration.shipped.method,
        }
        (self.work / "evaluation.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        card = out / MODEL_CARD
        history = kept_history(card.read_text(encoding="utf-8")) if card.exists() else ""
        card.write_text(model_card(manifest, self.recipe, report, calibration, history), encoding="utf-8")
        return report

    def _scored(self, bundle: Bundle, name: str, data: Thoraces) -> list[Columns]:
        data.prepare(self._workers)
        return scored(bundle, data, self.work / "scores" / name)

    def _with_point(self, finding: FindingSpec, rows: list[Columns]) -> FindingSpec:
        present = [finding.name in case.findings for case in self.validation.cases]
        point = operating_point(present, finding_probabilities(rows, finding), f1_score)
        return replace(finding, operating_point=point)


def _fused(fusion: Fusion, data: Thoraces, rows: list[Columns]) -> FusedCases:
    """The fusion's own probabilities, before any calibration."""
    return FusedCases(abnormal(data), np.array([fusion.fuse(row).probability for row in rows]))


def _seeds(seeds: range, count: int) -> range:
    return seeds[:count]


def use_threads(threads: int) -> None:
    """Threads of torch in this process; the same number gives the same bits on the same machine."""
    torch.set_num_threads(threads)
