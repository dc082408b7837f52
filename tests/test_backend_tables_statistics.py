"""Figures of people: intervals, paired differences and what they say; and the paper's numbers, as they are printed."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from backend.train.tables.collect import reference
from backend.train.tables.columns import TASK_NAMES
from backend.train.tables.declared import DOMAIN, IOT_LM, MORE, MULTI_MT, STAGE_1, TAKEN_OUT, TOLD, UNIMODAL
from backend.train.tables.paper import PAPER, value
from backend.train.tables.statistics import (
    BETTER,
    SAME,
    UNKNOWN,
    WORSE,
    difference,
    figure,
    rank_correlation,
    spread,
    verdict,
)


def people(values: list[float], seed: int = 0) -> dict[str, float]:
    return {f"{seed}/p{n}": value for n, value in enumerate(values)}


def test_an_interval_lies_about_the_mean_and_few_people_have_none():
    many = figure(people(list(np.linspace(0.0, 1.0, 30))))
    assert many.mean == pytest.approx(0.5)
    assert many.low is not None and many.high is not None and many.low < 0.5 < many.high
    assert many.low > 0.3 and many.high < 0.7
    assert figure(people([0.1, 0.2, 0.3, 0.4])).low is None


def test_a_difference_is_person_by_person_and_a_verdict_needs_an_interval_without_zero():
    rng = np.random.default_rng(0)
    base = list(rng.random(20))  # people differ far more than rows do
    one, other = people([x + 0.02 + 0.005 * rng.random() for x in base]), people(base)
    gap = difference(one, other)
    assert gap is not None and gap.low is not None and gap.low > 0
    assert verdict(gap, higher_is_better=True) == BETTER
    assert verdict(gap, higher_is_better=False) == WORSE
    assert verdict(difference(other, one), higher_is_better=True) == WORSE
    assert verdict(difference(one, people(list(rng.permutation(base)))), higher_is_better=True) == SAME
    assert difference(one, people(base, seed=1)) is None
    assert verdict(difference(people([1.0, 2.0]), people([0.0, 0.0])), higher_is_better=True) == UNKNOWN


def test_one_training_that_went_badly_is_no_verdict():
    rng = np.random.default_rng(0)
    even = {k: v for seed in range(3) for k, v in people(list(0.05 + 0.01 * rng.random(14)), seed).items()}
    assert verdict(figure(even), higher_is_better=True) == BETTER
    lucky = people(list(0.3 + 0.01 * rng.random(14)), 0)
    lucky |= {k: v for seed in (1, 2) for k, v in people(list(-0.01 + 0.01 * rng.random(14)), seed).items()}
    assert figure(lucky).mean > 0.08 and verdict(figure(lucky), higher_is_better=True) == SAME


def test_a_difference_that_seeds_disagree_on_is_none():
    """A bootstrap of three seeds alone would find one in a fifth of such cases."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        luck = rng.normal(size=3)
        gaps = {k: v for seed in range(3) for k, v in people(list(rng.normal(luck[seed], 1, 14)), seed).items()}
        found += verdict(difference(gaps, dict.fromkeys(gaps, 0.0)), higher_is_better=True) != SAME
    assert found <= 11


def test_rows_are_compared_with_those_that_they_are_beside():
    rows = [DOMAIN, UNIMODAL, MULTI_MT, STAGE_1, IOT_LM]
    assert reference("1", UNIMODAL, rows) == reference("longer", UNIMODAL, rows) == IOT_LM
    assert reference("1", UNIMODAL, [UNIMODAL, MULTI_MT]) == MULTI_MT
    assert reference("steps", UNIMODAL + MORE, [UNIMODAL, UNIMODAL + MORE, IOT_LM]) == UNIMODAL
    assert reference("ablations", "late fusion", [STAGE_1, "late fusion", IOT_LM]) == STAGE_1
    assert reference("ablations", TOLD, [STAGE_1, TOLD, IOT_LM]) == IOT_LM
    assert reference("2", "25 %", ["25 %", "all"]) == "all"
    assert reference("5", "medium", ["small", "medium"]) == "small"
    assert reference("5", "medium" + TAKEN_OUT, ["small", "medium", "medium" + TAKEN_OUT]) == "medium"
    assert reference("4", "IoT-LM, 20 shots", ["IoT-LM, 0 shots", "IoT-LM, 20 shots"]) == "IoT-LM, 0 shots"


def test_seeds_spread_by_their_means():
    both = people([0.0, 1.0]) | people([1.0, 2.0], seed=1)
    assert spread(both) == pytest.approx(np.std([0.5, 1.5], ddof=1), abs=1e-4)
    assert spread(people([0.0, 1.0])) is None


def test_rank_correlation_is_scipys_with_ties_too():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 40).astype(float), rng.random(40)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-4)
    assert rank_correlation(np.ones(5), y[:5]) is None


def test_the_papers_rows_have_a_number_for_each_task():
    assert all(len(row) == len(TASK_NAMES) for rows in PAPER.values() for row in rows.values())
    assert value("1", "IoT-LM", "gaze-estimation") == 0.95
    assert value("1", "unimodal", "3d-reconstruction") == 22.2
    assert value("4", "IoT-LM, 5 shots", "touch-contact") == 92.5
    assert value("4", "IoT-LM, 5 shots", "pose-estimation") is None
    assert value("ablations", "early fusion", "touch-contact") is None
