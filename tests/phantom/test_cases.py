from itertools import combinations

import numpy as np
import pytest

from phantom.cases import (
    DEMO_CASES,
    DEMO_SEEDS,
    FINDINGS,
    HELD_OUT_SEEDS,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    Case,
    draw_case,
)


def test_about_half_of_all_cases_are_normal_and_every_finding_is_as_frequent():
    cases = [draw_case(seed) for seed in range(3000)]
    abnormal = [case for case in cases if case.findings]
    assert 0.46 < len(abnormal) / len(cases) < 0.54
    assert {len(case.findings) for case in abnormal} == {1, 2, 3}
    counts = [sum(name in case.findings for case in cases) for name in FINDINGS]
    assert min(counts) > 0.8 * max(counts)


def test_the_same_seed_draws_the_same_case():
    assert draw_case(7) == draw_case(7)
    assert draw_case(7, abnormal=False) == Case(7, ())
    assert draw_case(7, abnormal=True).findings


def test_seed_ranges_share_no_seed():
    ranges = (TRAINING_SEEDS, VALIDATION_SEEDS, HELD_OUT_SEEDS, DEMO_SEEDS)
    for one, other in combinations(ranges, 2):
        assert max(one.start, other.start) >= min(one.stop, other.stop)


def test_the_demonstration_shows_a_normal_chest_and_all_six_findings_on_seeds_of_its_own():
    assert len(DEMO_CASES) == 6
    assert DEMO_CASES[0].findings == ()
    assert {name for case in DEMO_CASES for name in case.findings} == set(FINDINGS)
    assert all(case.seed in DEMO_SEEDS for case in DEMO_CASES)


def test_a_finding_more_leaves_the_other_streams_alone():
    plain, ill = Case(3, ()), Case(3, ("Emphysema",))
    assert np.array_equal(plain.stream("texture").random(4), ill.stream("texture").random(4))
    assert not np.array_equal(plain.stream("texture").random(4), plain.stream("vessels").random(4))


@pytest.mark.parametrize("findings", [("Fracture",), ("Emphysema", "Emphysema")])
def test_unknown_or_repeated_findings_are_refused(findings):
    with pytest.raises(ValueError, match="findings must be distinct"):
        Case(1, findings)
