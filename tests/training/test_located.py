"""Where the bundle looks: a threshold that finds what is there, sides that are counted strictly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.bundle import load_bundle
from models.manifest import SaliencySpec
from phantom.cases import HELD_OUT_SEEDS, Case
from tests.training.conftest import PROJECT
from training.dataset import InputGrid
from training.located import LocatedFinding, best_threshold, located_findings, measured_sides, piece_f1
from training.model_card import with_saliency


@pytest.fixture(scope="module")
def effusion() -> LocatedFinding:
    """What the shipped bundle says of a collapsed lung."""
    bundle = load_bundle(PROJECT / "best_models" / "demo")
    spec = bundle.manifest.input
    cases = [Case(HELD_OUT_SEEDS[1], ()), Case(HELD_OUT_SEEDS[3], ("Pneumothorax",))]
    (found,) = located_findings(bundle, cases, InputGrid(spec.spacing_mm, spec.shape))
    return found


def looking(at: LocatedFinding, where: np.ndarray, side: str | None) -> LocatedFinding:
    """The same finding, had the networks looked there, and had it that side."""
    saliency = replace(at.saliency, values=where.astype(np.float32))
    return replace(at, saliency=saliency, side=side)  # type: ignore[arg-type]


def test_a_finding_knows_its_places_and_its_side(effusion: LocatedFinding) -> None:
    assert effusion.name == "Pneumothorax"
    assert effusion.truth.shape == effusion.saliency.values.shape == (10, 10, 10)
    assert 0 < effusion.truth.sum() < 200
    assert effusion.side in {"left", "right"}
    # Places further along the second axis lie further to the left.
    across = np.argwhere(effusion.truth)[:, 1].mean()
    assert (across > 4.5) == (effusion.side == "left")


def test_looking_at_the_finding_scores_1_and_elsewhere_0(effusion: LocatedFinding) -> None:
    truth = effusion.truth.astype(float)
    assert piece_f1(looking(effusion, truth, None), 0.5) == 1.0
    assert piece_f1(looking(effusion, 1 - truth, None), 0.5) == 0.0
    assert piece_f1(looking(effusion, truth, None), 1.5) == 0.0  # nothing reaches the threshold


def test_the_threshold_parts_the_finding_from_what_surrounds_it(effusion: LocatedFinding) -> None:
    values = np.where(effusion.truth, 1.0, 0.3)
    threshold = best_threshold([looking(effusion, values, None)])
    assert threshold is not None
    assert 0.3 < threshold <= 1.0
    assert best_threshold([looking(effusion, np.zeros_like(values), None)]) is None


def test_a_side_counts_as_right_only_if_the_finding_lies_on_it_alone(effusion: LocatedFinding) -> None:
    assert effusion.side is not None
    other = "left" if effusion.side == "right" else "right"
    truth = effusion.truth.astype(float)
    # Right, wrong, named although it lies on both, not named because the networks look at both.
    items = [looking(effusion, truth, side) for side in (effusion.side, other, None)]
    items.append(looking(effusion, np.ones_like(truth), effusion.side))
    spec = measured_sides(items, 0.5)
    assert (spec.side_cases, spec.side_agreement) == (3, pytest.approx(1 / 3))
    assert "4 located findings" in spec.cohort
    assert not spec.tells_sides
    assert measured_sides([replace(items[0], name="Cardiomegaly")], 0.5).side_agreement is None


def test_the_card_s_section_is_written_anew_and_nothing_else() -> None:
    card = '# Bundle "demo" 1.0.0\n\nText.\n\n## Calibration\nNone.\n\n## History\nOld.\n'
    once = with_saliency(card, "1.2.0", SaliencySpec(0.03, 0.61, 40, "cases"))
    assert once.startswith('# Bundle "demo" 1.2.0\n\nText.\n\n## Where it looks\n')
    assert "61 % of those sides were right" in once.replace("\n", " ")
    assert once.endswith("\n\n## Calibration\nNone.\n\n## History\nOld.\n")
    again = with_saliency(once, "1.2.1", SaliencySpec(0.04, 0.95, 40, "cases"))
    assert again.count("## Where it looks") == 1
    assert "sides are told" in again.replace("\n", " ")
