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
    assert scores.event_f1(probs, true, 0, threshold) > 0.99 > scores.event_f1(probs, true, 0, 0.2)
