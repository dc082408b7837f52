"""`backend eval`: one checkpoint on one dataset, and training over folds of people; both end in JSON.

It decides which numbers are the headline of a dataset (whole clips where a recording is one decision, windows
elsewhere); how they are computed is `evaluate` and `scores`.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

import numpy as np

from backend.checkpoint import Checkpoint
from backend.data import DATASETS, Dataset
from backend.data.recording import Recording, Sequence
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS
from backend.train import scores
from backend.train.evaluate import Decided, cut_all, decide, measure, pooled
from broker.errors import DataError


def find_dataset(name: str) -> Dataset:
    """The dataset of that name; raises DataError for an unknown one."""
    if name not in DATASETS:
        raise DataError(f"dataset {name!r} is unknown; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]


def examine(name: str, root: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """The report on every recording under `root`, with a word on which people the checkpoint had seen."""
    dataset = find_dataset(name)
    recordings = (dataset.unseen or dataset.read)(root)
    roles = checkpoint.record.get("people", {}).get(name, {})
    seen, calibrated = set(roles.get("train", [])), set(roles.get("validation", []))
    people = {r.person for r in recordings}
    report = examine_recordings(name, recordings, Predictor(checkpoint))
    report["split"] = {
        "people": len(people),
        "seen_in_training": sorted(people & seen),
        "seen_in_calibration": sorted(people & calibrated),
        "note": "every recording under the root; people seen in training or calibration make the figures optimistic"
        if people & (seen | calibrated)
        else "every recording under the root; none of its people was in the training",
    }
    report["checkpoint"] = checkpoint.digest
    return report


def examine_recordings(name: str, recordings: Many[Recording], predictor: Predictor) -> dict[str, Any]:
    """One report: the first task's figures at the top, further tasks under `tasks`."""
    dataset, sequences = find_dataset(name), cut_all(recordings)
    tasks = [t for t in dataset.tasks if t in predictor.config.tasks]
    if not tasks:
        raise DataError(f"{name}: the checkpoint has none of its tasks ({', '.join(dataset.tasks)})")
    reports = {task: _task_report(dataset, predictor, sequences, task) for task in tasks}
    first, *others = tasks
    if not reports[first]["n"]:
        raise DataError(f"{name}: no labelled window of a second was found in {len(recordings)} recordings")
    result = {"dataset": name, "licence": dataset.licence, "unit": dataset.unit, **reports[first]}
    if others:
        result["tasks"] = {task: reports[task] for task in others}
    return result


def _task_report(dataset: Dataset, predictor: Predictor, sequences: list[Sequence], task: str) -> dict[str, Any]:
    windows = measure(predictor, sequences, task)
    if not dataset.pooled or not windows["n"]:
        return windows
    clips = pool_clips(predictor, sequences, task)
    said = scores.report(clips.probs, clips.true, clips.person, TASKS[task].labels)
    return {
        "task": task,
        "labels": windows["labels"],
        **said,
        "shuffled": windows["shuffled"],
        "event_detection": windows["event_detection"],
        "windows": windows,
    }


def pool_clips(predictor: Predictor, sequences: list[Sequence], task: str) -> Decided:
    """One decision per clip, whose label is the event that fills most of it."""
    none, truth = TASKS[task].none_index, {}
    for one in sequences:
        share = one.targets[task].sum(0).copy()
        if none is not None:
            share[none] = 0.0
        if share.sum() > 0:
            truth[one.name] = int(share.argmax())
    return pooled(decide(predictor, sequences, task), task, truth)


STUDENT_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""97.5 % quantiles of Student's t by degrees of freedom; beyond the table the normal one is near enough."""


def summary(name: str, folds: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of a cross-validation: mean over the folds' reports and its 95 % interval (Student's t)."""
    keys = ("accuracy", "balanced_accuracy", "macro_f1", "f1", "ece")
    mean = {k: round(float(np.mean([f[k] for f in folds])), 4) for k in keys}
    t = STUDENT_T.get(len(folds) - 1, 1.96)
    error = {k: t * float(np.std([f[k] for f in folds], ddof=1)) / len(folds) ** 0.5 for k in keys}
    result: dict[str, Any] = {
        "dataset": name,
        "task": folds[0]["task"],
        "labels": folds[0]["labels"],
        "split": {"kind": f"{len(folds)} folds, people left out", "folds": len(folds)},
        "n": sum(f["n"] for f in folds),
        **mean,
        "interval": {
            "level": 0.95,
            "units": len(folds),
            **{k: [round(mean[k] - error[k], 4), round(mean[k] + error[k], 4)] for k in keys},
        },
        "per_fold": [{k: f[k] for k in ("n", *keys)} for f in folds],
        "confusion": np.sum([f["confusion"] for f in folds], 0).tolist(),
    }
    people = {p: a for f in folds for p, a in f["by_person"]["accuracy"].items()}
    worst = min(people, key=lambda p: people[p])
    result["by_person"] = {
        "accuracy": people,
        "worst": {"person": worst, "accuracy": people[worst]},
        "spread": round(float(np.std(list(people.values()))), 4),
    }
    table = np.array(result["confusion"])
    result["by_class"] = scores.by_class(table, tuple(result["labels"]))
    result["majority"] = {"accuracy": round(float(table.sum(1).max() / table.sum()), 4)}
    result["shuffled"] = {"accuracy": round(float(np.mean([f["shuffled"]["accuracy"] for f in folds])), 4)}
    if "devices" in folds[0]:
        result["devices"] = {
            device: {
                k: round(float(np.mean([f["devices"][device][k] for f in folds])), 4)
                for k in ("accuracy", "balanced_accuracy", "macro_f1", "ece")
            }
            for device in folds[0]["devices"]
        }
    if "event_detection" in folds[0]:
        result["event_detection"] = {
            "f1": round(float(np.mean([f["event_detection"]["f1"] for f in folds])), 4),
            "thresholds": [f["event_detection"]["threshold"] for f in folds],
        }
    return result
