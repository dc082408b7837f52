"""`backend eval`: one checkpoint on one dataset, and training over folds of people; both end in JSON.

It decides which numbers are the headline of a dataset (whole clips where a recording is one decision, windows
elsewhere); how they are computed is `evaluate` and `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Many
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from backend.checkpoint import Checkpoint
from backend.data import DATASETS, Dataset
from backend.data.aloud import counted
from backend.data.inspect import dataset as find_dataset
from backend.data.inspect import read
from backend.data.recording import Recording, Sequence, sequence
from backend.model.history import StreamTokens
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS, Classification
from backend.train import scores
from backend.train.evaluate import Decided, Encoded, decide, encode, measure, measure_mask, pooled
from backend.train.spoken import measure_text
from broker.errors import DataError

SKIPPED_NAMES = 10
"""Of what was skipped, a report names as many."""


def examine(name: str, root: Path | None, checkpoint: Checkpoint, console: Console | None = None) -> dict[str, Any]:
    """The report on every recording under `root`, with a word on which people the checkpoint had seen.

    Simulated sets need no `root`.
    """
    dataset = find_dataset(name)
    if not dataset.tasks and not dataset.masks:
        measured = ", ".join(one for one, row in DATASETS.items() if row.tasks or row.masks)
        raise DataError(f"{name}: has no task to be measured by; choose one of {measured}")
    recordings = read(name, root, console, unseen=True)
    roles = checkpoint.record.get("people", {}).get(name, {})
    seen, calibrated = set(roles.get("train", [])), set(roles.get("validation", []))
    people = {r.person for r in recordings}
    report = examine_recordings(
        name, recordings, Predictor(checkpoint), recordings.skipped, speak=True, console=console
    )
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


def examine_recordings(
    name: str,
    recordings: Many[Recording],
    predictor: Predictor,
    skipped: Many[str] = (),
    *,
    speak: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """One report: the first task's figures at the top, further tasks under `tasks`.

    With `speak` a language model's answers in words are measured, too, under `text`. The `console` hears how far it is.

    `skipped` names what the set's reader left out; recordings without a whole window are added to that.
    """
    dataset = find_dataset(name)
    masks = [m for m in dataset.masks if m in predictor.config.masks]
    known = [t for t in dataset.tasks if t in predictor.tasks]
    tasks = [t for t in known if {*(dataset.tasks[t] or TASKS[t].outputs)} & {*predictor.tasks[t].outputs}]
    if not tasks + masks:
        every = ", ".join((*dataset.tasks, *dataset.masks))
        lacking = (
            f"knows none of its labels or points of {', '.join(known)}" if known else f"has none of its tasks ({every})"
        )
        raise DataError(f"{name}: the checkpoint {lacking}")
    whole: set[str] = set()

    def cut() -> Iterator[Sequence]:
        with counted(f"{name}, measured,", len(recordings), console or Console(quiet=True)) as done:
            for recording in recordings:
                if (one := sequence(recording)) is not None:
                    whole.add(one.name)
                    yield one
                done()

    encoded = encode(predictor, cut() if tasks else ())
    reports = {task: _task_report(dataset, predictor, encoded, task, dataset.tasks[task]) for task in tasks}
    if speak and predictor.model.language is not None:
        reports = {task: {**one, "text": measure_text(predictor, encoded, task)} for task, one in reports.items()}
    reports |= {mask: measure_mask(predictor, cut(), mask) for mask in masks}
    reports = {task: report for task, report in reports.items() if report["n"]}
    if not reports:
        raise DataError(f"{name}: no labelled window of a second was found in {len(recordings)} recordings")
    first, *others = reports
    left_out = [*skipped, *(f"{r.name} (shorter than a window)" for r in recordings if r.name not in whole)]
    result = {
        "dataset": name,
        "licence": dataset.licence,
        "unit": dataset.unit,
        "skipped": {"count": len(left_out), "first": left_out[:SKIPPED_NAMES]},
        **reports[first],
    }
    if others:
        result["tasks"] = {task: reports[task] for task in others}
    return result


def _task_report(
    dataset: Dataset, predictor: Predictor, encoded: Encoded, task: str, outputs: tuple[str, ...]
) -> dict[str, Any]:
    windows = measure(predictor, encoded, task, outputs)
    if not dataset.pooled or not windows["n"] or not isinstance(predictor.tasks[task], Classification):
        return windows
    result: dict[str, Any] = {"task": task, "metric": windows["metric"], "labels": windows["labels"]}
    result |= _clip_scores(pool_clips(predictor, encoded, task, outputs))
    sensors = {}
    for name, senses in dataset.sensors.items():
        clips = pool_clips(predictor, encoded, task, outputs, keep=partial(_senses, frozenset(senses)))
        if len(clips.true):
            sensors[name] = {k: v for k, v in _clip_scores(clips).items() if k in HEADLINE or k in ("n", "interval")}
    result |= {"sensors": sensors} if sensors else {}
    result |= {key: windows[key] for key in ("shuffled", "window_f1", "threshold") if key in windows}
    return {**result, "windows": windows}


def _clip_scores(clips: Decided) -> dict[str, Any]:
    return scores.report(clips.said, clips.true, clips.person, clips.outputs)


def _senses(wanted: frozenset[str], window: StreamTokens) -> bool:
    return window.modality in wanted


def pool_clips(
    predictor: Predictor,
    encoded: Encoded,
    task: str,
    outputs: tuple[str, ...] = (),
    *,
    keep: Callable[[StreamTokens], bool] = lambda window: True,
) -> Decided:
    """One decision per clip, whose label is what fills most of it (of events: the event), from the streams kept.

    `outputs` as in `decide`. A clip about which nothing is decided is left out.
    """
    asked = TASKS[task].only(outputs or predictor.tasks[task].outputs)
    assert isinstance(asked, Classification)
    none, columns, truth = asked.none_index, TASKS[task].columns(asked.labels), {}
    for one in encoded.sequences:
        share = one.targets[task].sum(0)[columns]
        if none is not None:
            share[none] = 0.0
        if share.sum() > 0:
            truth[one.name] = int(share.argmax())
    decided = decide(predictor, encoded, task, outputs, keep=keep)
    heard = set(decided.recording.tolist())
    return pooled(decided, none, {name: label for name, label in truth.items() if name in heard})


STUDENT_T = {
    1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23,
    11: 2.20, 12: 2.18, 13: 2.16, 14: 2.14, 15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10, 19: 2.09, 20: 2.09,
    21: 2.08, 22: 2.07, 23: 2.07, 24: 2.06, 25: 2.06, 26: 2.06, 27: 2.05, 28: 2.05, 29: 2.05, 30: 2.04,
}  # fmt: skip
"""97.5 % quantiles of Student's t by degrees of freedom; beyond the table its last one, which is a little wide."""


HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "window_f1", "ece", "iou", "error_cm", "mae_mm", "epe_mm")
"""What a report may have to say; a classification has the first ones, a mask or a regression one of the others."""


def figures(report: dict[str, Any]) -> str:
    """The headline of a report, of one evaluation or of many folds, on one line."""
    keys = [key for key in ("accuracy", "macro_f1", "window_f1") if key in report] or [report["metric"]]
    words = {
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "window_f1": "window F1",
        "iou": "IoU",
        "error_cm": "error (cm)",
        "mae_mm": "MAE (mm)",
        "epe_mm": "end-point error (mm)",
    }
    said = [f"{words.get(key, key)} {_with(report[key], report['interval'].get(key))}" for key in keys]
    return f"{report['task']}: {', '.join(said)}, n {report['n']}"


def in_words(report: dict[str, Any]) -> str | None:
    """The headline of the answers in words to a report's task, on one line; None where nothing was asked."""
    text = report.get("text")
    if not text or not text["n"]:
        return None
    right, other = (
        f"accuracy {one['accuracy']:.4f}" if "accuracy" in one else f"off by {_each(one['off'])}"
        for one in (text, text["shuffled"])
    )
    more = {"majority": "the commonest label {:.4f}", "as_head": "as the head {:.4f}", "readable": "readable {:.4f}"}
    said = [right, f"with the sensors of other moments {other.removeprefix('accuracy ')}"]
    said += [words.format(text[key]) for key, words in more.items() if key in text]
    none = f", {text['cannot_tell']:.4f} where nothing can" if "cannot_tell" in text else ""
    said.append(f"cannot tell {text['refused']:.4f} where sensors can{none}")
    return f"{report['task']} in words: {', '.join(said)}, n {text['n']}"


def _each(off: Mapping[str, float]) -> str:
    return " and ".join(f"{what} {value:g}" for what, value in off.items()) or "no number"


def optimistic(report: dict[str, Any]) -> str | None:
    """In words, whom `examine` measured on that the checkpoint knew; None if it knew nobody."""
    split, many = report["split"], "people" if report["unit"] == "person" else f"{report['unit']}s"
    roles = {"training": split["seen_in_training"], "calibration": split["seen_in_calibration"]}
    known = [f"{len(seen)} of {split['people']} {many} were in the {role}" for role, seen in roles.items() if seen]
    return f"figures are optimistic: {' and '.join(known)} of the checkpoint" if known else None


def _with(value: float, limits: list[float] | None) -> str:
    return f"{value:.4f} [{limits[0]:.4f}, {limits[1]:.4f}]" if limits else f"{value:.4f}"


def summary(name: str, seeds: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """The figures of a cross-validation: by seed, the report of every fold (the same people in every seed).

    Figures are means over all reports. Their 95 % interval is Student's t over the folds' means over seeds: seeds share
    people and are no units of their own. What seeds alone change is the standard deviation of the seeds' means. `n`
    counts every window once; the confusion matrix and `by_class` count it once per seed. Further tasks of the set
    stand under `tasks`.
    """
    unit = find_dataset(name).unit
    result = {"dataset": name, **_summary(seeds, unit)}
    if more := next(iter(seeds.values()))[0].get("tasks"):
        result["tasks"] = {
            task: _summary({seed: [fold["tasks"][task] for fold in folds] for seed, folds in seeds.items()}, unit)
            for task in more
        }
    return result


def _summary(seeds: Mapping[int, list[dict[str, Any]]], unit: str) -> dict[str, Any]:
    """`summary` of one task of a set whose "people" are of that unit."""
    reports = [report for folds in seeds.values() for report in folds]
    first = next(iter(seeds.values()))
    keys = [key for key in HEADLINE if key in first[0]]
    table_SFK = np.array([[[report[k] for k in keys] for report in folds] for folds in seeds.values()])
    fold_FK, seed_SK = table_SFK.mean(0), table_SFK.mean(1)
    t = STUDENT_T[min(len(fold_FK) - 1, max(STUDENT_T))]
    mean, error = _rounded(keys, fold_FK.mean(0)), t * fold_FK.std(0, ddof=1) / len(fold_FK) ** 0.5
    result: dict[str, Any] = {
        "task": first[0]["task"],
        "metric": first[0]["metric"],
        "split": {
            "kind": f"{len(first)} folds, {'people' if unit == 'person' else f'{unit}s'} left out",
            "folds": len(first),
            "seeds": len(seeds),
        },
        "n": sum(report["n"] for report in first),
        **mean,
        "interval": {
            "level": 0.95,
            "units": len(first),
            **{k: [round(mean[k] - e, 4), round(mean[k] + e, 4)] for k, e in zip(keys, error, strict=True)},
        },
        "per_fold": [{"n": one["n"], **_rounded(keys, row)} for one, row in zip(first, fold_FK, strict=True)],
        "seeds": {
            "per_seed": [{"seed": seed, **_rounded(keys, row)} for seed, row in zip(seeds, seed_SK, strict=True)],
            "spread": _rounded(keys, seed_SK.std(0, ddof=1)) if len(seeds) > 1 else None,
        },
        "by_person": _by_person(reports),
        "shuffled": {k: _mean(report["shuffled"][k] for report in reports) for k in first[0]["shuffled"]},
    }
    if "confusion" in first[0]:
        confusion = np.sum([report["confusion"] for report in reports], 0)
        labels = first[0]["labels"]
        result |= {"labels": labels, "confusion": confusion.tolist()}
        result["by_class"] = scores.by_class(confusion, tuple(labels))
        result["majority"] = {"accuracy": round(float(confusion.sum(1).max() / confusion.sum()), 4)}
    else:
        for floor in ("constant", "bicubic", "majority"):
            if floor in first[0]:
                result[floor] = {k: _mean(report[floor][k] for report in reports) for k in first[0][floor]}
    for by in ("devices", "modalities", "views", "sensors"):
        if by in first[0]:
            result[by] = _means(by, reports)
    if "threshold" in first[0]:
        result["thresholds"] = [report["threshold"] for report in reports]
    return result


def _means(by: str, reports: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means of the headline scores of each device, modality or view, over the reports that have it."""
    names = dict.fromkeys(name for report in reports for name in report.get(by, {}))
    having = {name: [report[by][name] for report in reports if name in report.get(by, {})] for name in names}
    return {
        name: {k: _mean(one[k] for one in found) for k in HEADLINE if all(k in one for one in found)}
        for name, found in having.items()
    }


def _by_person(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline of every person of all folds (mean over seeds), the worst of them and their spread."""
    key = "accuracy" if "accuracy" in reports[0] else reports[0]["metric"]
    found: dict[str, list[float]] = {}
    for report in reports:
        for person, value in report["by_person"][key].items():
            found.setdefault(person, []).append(value)
    people = {person: _mean(values) for person, values in found.items()}
    worst = (min if key in ("accuracy", "iou") else max)(people, key=lambda person: people[person])
    return {
        key: people,
        "worst": {"person": worst, key: people[worst]},
        "spread": round(float(np.std(list(people.values()))), 4),
    }


def _rounded(keys: Many[str], row_K: NDArray[np.floating]) -> dict[str, float]:
    return {k: round(float(value), 4) for k, value in zip(keys, row_K, strict=True)}


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)
