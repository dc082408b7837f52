"""Scores: as scikit-learn has them, and a threshold that keeps silence silent."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from backend.train import scores


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 4, 500), rng.integers(0, 4, 500)
    said = np.where(rng.random(500) < 0.6, true, said)
    table = scores.confusion(said, true, 4)
    assert np.array_equal(table, confusion_matrix(true, said))
    assert scores.macro_f1(table) == pytest.approx(f1_score(true, said, average="macro"))
    assert scores.balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(true, said))
    person = np.array([f"p{n % 7}" for n in range(500)])
    limits = scores.intervals(said, true, person, 4)
    assert limits["accuracy"][0] < scores.accuracy(table) < limits["accuracy"][1]
    assert limits["units"] == 7


def test_the_event_threshold_keeps_silence_silent():
    rng = np.random.default_rng(2)
    true = rng.integers(0, 3, 600)
    sure = np.where(true == 0, rng.uniform(0.34, 0.6, 600), rng.uniform(0.65, 1.0, 600))
    said = np.where(true == 0, 1, true)
    probs = np.stack([(1 - sure) / 2] * 3, -1)
    probs[np.arange(600), said] = sure
    threshold = scores.best_threshold(probs, true, 0)
    assert 0.55 <= threshold <= 0.66
    sure, rash = (scores.window_f1(scores.found(probs, true, 0, t).sum(0)) for t in (threshold, 0.2))
    assert sure > 0.99 > rash


@pytest.mark.parametrize("none", [0, None])
def test_the_f1_of_windows_is_that_of_scikit_learn_over_what_is_told_of(none):
    """Below the threshold nothing is told of: an answer that is no label."""
    rng = np.random.default_rng(3)
    probs, true, person = rng.dirichlet([0.4] * 4, 500), rng.integers(0, 4, 500), rng.integers(0, 9, 500).astype(str)
    kept = np.where(probs.max(-1) >= 0.7, probs.argmax(-1), 4 if none is None else none)
    events = [label for label in range(4) if label != none]
    found = scores.found(probs, true, none, 0.7)
    expected = f1_score(true, kept, labels=events, average="micro")
    report = scores.report(probs, true, person, ("a", "b", "c", "d"), found)
    assert report["window_f1"] == pytest.approx(expected, abs=1e-4)
    low, high = report["interval"]["window_f1"]
    assert low < expected < high
    assert report["macro_f1"] != report["window_f1"]
    assert "window_f1" not in scores.report(probs, true, person, ("a", "b", "c", "d"))
