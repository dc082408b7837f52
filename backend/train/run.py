"""`backend train`: from a configuration and a folder of data to a checkpoint, or to the figures of every fold.

Prepares the sources, shows progress, resumes, calibrates, measures and draws. What a step is, is `loop`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from backend.checkpoint import Checkpoint, save_checkpoint
from backend.data import DATASETS
from backend.model.sensorlm import Predictor, SensorModel
from backend.recipes import TrainConfig, config_from_json
from backend.tasks import TASKS
from backend.train.card import model_card
from backend.train.evaluate import calibrate, cut_all
from backend.train.examine import examine_recordings, summary
from backend.train.loop import State, load_state, new_state, run_steps
from backend.train.pictures import draw_confusion, draw_curves
from backend.train.source import Mixture, Source, Split, check_folds, read_splits
from broker.errors import ConfigError, DataError


def train(config: TrainConfig, root: Path, out: Path, resume: bool, console: Console) -> Checkpoint | None:
    """One run into the folder `out`; None when it was interrupted (and saved). Measures on validation people."""
    config = _agreed(config, out, resume)
    splits = read_splits(config, root)
    checkpoint = fit(config, splits, out, resume, console)
    if checkpoint is None:
        return None
    validation = {name: s.validation for name, s in splits.items() if s.validation}
    reports = {}
    for name, recordings in validation.items():
        reports[name] = examine_recordings(name, recordings, Predictor(checkpoint))
        for report in (reports[name], *reports[name].get("tasks", {}).values()):
            draw_confusion(report, out / f"confusion-{name}-{report['task']}.png")
        console.print(f"validation {name}: {_figures(reports[name])}")
    checkpoint.record["validation"] = {name: _headline(r) for name, r in reports.items()}
    save_checkpoint(checkpoint, out)
    (out / "MODEL_CARD.md").write_text(model_card(checkpoint, reports))
    (out / "validation.json").write_text(json.dumps(reports, indent=1) + "\n")
    draw_curves(out / "metrics.jsonl", out / "curves.png")
    console.print(f"checkpoint {out}: {checkpoint.digest[:12]}")
    return checkpoint


def train_folds(config: TrainConfig, root: Path, out: Path, resume: bool, console: Console) -> dict[str, Any] | None:
    """Train and test once per fold of people; `out`/folds.json holds mean, interval and every fold's report.

    With `resume`, folds that are done are kept. None when interrupted.
    """
    check_folds(config, root)
    reports: dict[str, list[dict[str, Any]]] = {name: [] for name in config.datasets if _measurable(name)}
    for fold in range(config.folds):
        folder = out / f"fold-{fold}"
        found = folder / "test.json"
        if not (resume and found.is_file()):
            one = _agreed(TrainConfig(**{**vars(config), "fold": fold}), folder, resume)
            splits = read_splits(one, root)
            unfinished = resume and (folder / "state.safetensors").is_file()
            checkpoint = fit(one, splits, folder, unfinished, console)
            if checkpoint is None:
                return None
            tested = {name: examine_recordings(name, splits[name].test, Predictor(checkpoint)) for name in reports}
            save_checkpoint(checkpoint, folder)
            found.write_text(json.dumps(tested, indent=1) + "\n")
        for name, report in json.loads(found.read_text()).items():
            reports[name].append(report)
            console.print(f"fold {fold} {name}: {_figures(report)}")
    result = {name: {**summary(name, r), "folds": r} for name, r in reports.items()}
    (out / "folds.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, said in result.items():
        draw_confusion(said, out / f"confusion-{name}.png")
        low, high = said["interval"]["accuracy"]
        console.print(f"{name}: {_figures(said)}, accuracy {low:.4f} to {high:.4f} over folds; {out / 'folds.json'}")
    return result


def fit(config: TrainConfig, splits: dict[str, Split], out: Path, resume: bool, console: Console) -> Checkpoint | None:
    """Train, average, calibrate: a checkpoint, or None when interrupted (the state is saved)."""
    torch.set_num_threads(1)  # more threads spin against each other on a shared machine
    state = load_state(config, out) if resume else new_state(config)
    if not resume:
        (out / "metrics.jsonl").unlink(missing_ok=True)
    weights = {task: torch.from_numpy(w) for task, w in _loss_weights(splits, config).items()}
    if state.step < config.steps:
        mixture = Mixture({name: Source(s.train, config) for name, s in splits.items()}, config)
        if not _with_progress(state, mixture, weights, config, out, console):
            console.print(f"interrupted at step {state.step} of {config.steps}; the same command with --resume goes on")
            return None
    model = SensorModel(config.model)
    model.load_state_dict(state.average)
    take_out_weights(model, weights)
    checkpoint = Checkpoint(model.eval())
    held = {name: cut_all(s.validation or s.train) for name, s in splits.items()}
    calibrate(Predictor(checkpoint), held)
    checkpoint.record = {
        "config": config.to_json(),
        "seconds": round(state.seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "licences": {name: DATASETS[name].licence for name in splits},
        "people": {
            name: {role: sorted({r.person for r in getattr(s, role)}) for role in ("train", "validation", "test")}
            for name, s in splits.items()
        },
    }
    return checkpoint


@torch.no_grad()
def take_out_weights(model: SensorModel, weights: dict[str, torch.Tensor]) -> None:
    """Make probabilities true again after a weighted loss: what a label's weight added to its logit is subtracted.

    Weights help rare labels to be learned; left in the decision they cost 2 points of accuracy on sp_sw_har.
    """
    for task, weight_N in weights.items():
        cast(torch.nn.Linear, model.heads[task]).bias.sub_(weight_N.log())


def _with_progress(
    state: State, mixture: Mixture, weights: dict[str, torch.Tensor], config: TrainConfig, out: Path, console: Console
) -> bool:
    """Run the steps under a progress bar; where there is no terminal, a line every tenth of the way."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        name = config.recipe if config.fold < 0 else f"{config.recipe} fold {config.fold}"
        bar = progress.add_task(name, total=config.steps, completed=state.step, loss=float("nan"))

        def report(line: dict[str, float]) -> None:
            progress.update(bar, completed=line["step"], loss=line["loss"])
            if not console.is_terminal and line["step"] % max(1, config.steps // 10) == 0:
                console.print(f"{name} step {line['step']}/{config.steps} loss {line['loss']:.3f}")

        return run_steps(state, mixture, weights, config, out, report)


def _loss_weights(splits: dict[str, Split], config: TrainConfig) -> dict[str, np.ndarray]:
    """Weight of each label by its share of the labelled time in all that is learned from."""
    weights = {}
    for task in config.model.tasks:
        labels = TASKS[task].labels
        seconds = np.zeros(len(labels))
        for recording in (r for s in splits.values() for r in s.train if task in r.labels):
            one = recording.labels[task]
            known = one.index >= 0
            seconds += np.bincount(one.index[known], np.diff(one.edges)[known], len(labels))
        if not seconds.sum():
            raise DataError(f"task {task!r} has no labels in {', '.join(splits)}; remove it or add a dataset")
        weights[task] = TASKS[task].weights(seconds / seconds.sum())
    return weights


def _agreed(config: TrainConfig, out: Path, resume: bool) -> TrainConfig:
    """The configuration of the run: written when it starts, read back (and not to be changed) when it is resumed."""
    path = out / "train.json"
    if not resume:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config.to_json(), indent=1) + "\n")
        return config
    if not path.is_file():
        if config.fold >= 0:
            return _agreed(config, out, False)
        raise ConfigError(f"{out}: nothing to resume, train.json is missing; train without --resume")
    saved = config_from_json(json.loads(path.read_text()))
    if saved != config:
        changed = [k for k, v in vars(config).items() if vars(saved)[k] != v]
        raise ConfigError(f"--resume: {', '.join(changed)} differ from the run in {out}; resume with the same settings")
    return saved


def _measurable(name: str) -> bool:
    return name in DATASETS and DATASETS[name].unseen is None


def _headline(report: dict[str, Any]) -> dict[str, Any]:
    return {k: report[k] for k in ("n", "accuracy", "balanced_accuracy", "macro_f1", "f1", "ece", "interval")}


def _figures(report: dict[str, Any]) -> str:
    return f"accuracy {report['accuracy']:.4f}, macro-F1 {report['macro_f1']:.4f}, n {report['n']}"
