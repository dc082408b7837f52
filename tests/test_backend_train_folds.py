"""Folds and seeds: every person tested once, the interval of their mean, and folds that are done already."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from backend.train.examine import HEADLINE, STUDENT_T, summary
from backend.train.run import train_folds
from broker.errors import CheckpointError, ConfigError
from tests.small_runs import ACTIVITY, QUIET, motion_alone
from tests.small_sets import write_sp_sw_har


def test_folds_report_mean_interval_and_every_person(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    config = motion_alone("validation=0.4", "folds=2")
    result = train_folds(config, tmp_path / "data", tmp_path / "cv", QUIET)["sp_sw_har"]
    assert set(result["by_person"]["accuracy"]) == {"s01", "s02", "s03", "s04"}
    assert len(result["per_fold"]) == result["split"]["folds"] == 2
    low, high = result["interval"]["accuracy"]
    assert low <= result["accuracy"] <= high
    again = train_folds(config, tmp_path / "data", tmp_path / "cv", QUIET, resume=True)["sp_sw_har"]
    assert again["accuracy"] == result["accuracy"]


def fold_report(accuracy: float, person: str) -> dict:
    """What `summary` needs of a fold's report."""
    return {
        "task": ACTIVITY,
        "metric": "balanced_accuracy",
        "labels": ["A", "B"],
        "n": 10,
        **dict.fromkeys(HEADLINE[:5], accuracy),
        "confusion": [[4, 1], [2, 3]],
        "shuffled": {"accuracy": 0.5},
        "by_person": {"accuracy": {person: accuracy}},
    }


def test_students_t_is_what_it_should_be():
    assert [STUDENT_T[n] for n in range(1, 31)] == pytest.approx(t.ppf(0.975, np.arange(1, 31)), abs=0.006)
    row = np.linspace(0.5, 0.9, 40)
    error = t.ppf(0.975, 39) * row.std(ddof=1) / 40**0.5
    said = summary("esc10", {0: [fold_report(a, f"p{i}") for i, a in enumerate(row.tolist())]})
    assert error <= said["interval"]["accuracy"][1] - row.mean() < 1.02 * error
    assert said["split"]["kind"] == "40 folds, source recordings left out"


def test_seeds_are_no_units_of_the_interval():
    """Three folds and two seeds: Student's t has two degrees of freedom, and n counts a window once."""
    table_SF = np.array([[0.90, 0.80, 0.70], [0.94, 0.82, 0.70]])
    seeds = {s: [fold_report(a, f"p{i}") for i, a in enumerate(row)] for s, row in enumerate(table_SF.tolist())}
    said = summary("sp_sw_har", seeds)
    means_F = table_SF.mean(0)
    error = STUDENT_T[2] * means_F.std(ddof=1) / 3**0.5
    assert said["accuracy"] == pytest.approx(table_SF.mean(), abs=1e-4)
    assert said["interval"]["accuracy"] == pytest.approx([means_F.mean() - error, means_F.mean() + error], abs=2e-4)
    assert said["interval"]["units"] == said["split"]["folds"] == 3
    assert (said["split"]["kind"], said["split"]["seeds"]) == ("3 folds, people left out", 2)
    assert said["seeds"]["per_seed"][1]["accuracy"] == pytest.approx(0.82)
    assert said["seeds"]["spread"]["accuracy"] == pytest.approx(table_SF.mean(1).std(ddof=1), abs=1e-4)
    assert [row["accuracy"] for row in said["per_fold"]] == pytest.approx(means_F.tolist())
    assert said["by_person"]["accuracy"] == {"p0": 0.92, "p1": 0.81, "p2": 0.7}
    assert (said["n"], np.sum(said["confusion"])) == (30, 60)
    assert summary("sp_sw_har", {0: seeds[0]})["seeds"]["spread"] is None


def test_folds_of_other_seeds_are_taken_as_they_are(tmp_path):
    write_sp_sw_har(tmp_path / "data", people=4)
    config, out = motion_alone("validation=0.4", "folds=2"), tmp_path / "cv"
    apart = train_folds(replace(config, seed=1), tmp_path / "data", out / "seed-1", QUIET)["sp_sw_har"]
    tested = {path: path.stat().st_mtime_ns for path in (out / "seed-1").rglob("test.json")}
    result = train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)["sp_sw_har"]
    assert len(tested) == 2
    (out / "fold-1" / "test.json").write_text('{"sp_sw')
    with pytest.raises(CheckpointError, match=r"fold-1/test\.json: damaged .*; remove it, and --resume"):
        train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)
    (out / "fold-1" / "test.json").unlink()
    train_folds(config, tmp_path / "data", out, QUIET, seeds=2, resume=True)
    assert all(path.stat().st_mtime_ns == when for path, when in tested.items())
    assert {path.parent.name for path in out.glob("*/test.json")} == {"fold-0", "fold-1"}
    assert [(one["seed"], one["fold"]) for one in result["folds"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert result["seeds"]["per_seed"][1]["accuracy"] == apart["accuracy"]
    assert json.loads((out / "folds.json").read_text())["sp_sw_har"] == result
    with pytest.raises(ConfigError, match=f"steps differ from the run in {out}/fold-0"):
        train_folds(replace(config, steps=4), tmp_path / "data", out, QUIET, seeds=2, resume=True)
