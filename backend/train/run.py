"""`backend train`: from a configuration and a folder of data to a checkpoint, or to the figures of every fold.

Prepares the sources, shows progress, goes on where a run was interrupted, calibrates, measures and draws. Whatever is
complete in a run's folder is kept and not done again. What a step is, is `loop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console

from backend.checkpoint import Checkpoint, learned_from, save_checkpoint
from backend.data import DATASETS, Recordings, Segments
from backend.data.aloud import counted
from backend.data.inspect import read
from backend.data.recording import Recording
from backend.model.sensorlm import Predictor, SensorModel
from backend.tasks import TASKS, Classification
from backend.train.card import model_card
from backend.train.config import SEEDS, TrainConfig
from backend.train.evaluate import calibrate
from backend.train.examine import HEADLINE, examine_recordings, figures, summary
from backend.train.folder import (
    CONFIG,
    FOLDS,
    TESTED,
    agree,
    is_run,
    make_room,
    numbered,
    read_json,
    standing,
    untouched,
    write_json,
)
from backend.train.group import ALONE, Group
from backend.train.held import Held
from backend.train.loop import run_steps
from backend.train.losses import evened
from backend.train.pictures import draw_curves, draw_report
from backend.train.progress import shown
from backend.train.source import Mixture, Source, Split, chances, check_folds, split_all, with_steps
from backend.train.state import METRICS, STATE, State, load_state, new_state
from broker.errors import ConfigError, DataError


def train(
    config: TrainConfig,
    root: Path | None,
    out: Path,
    console: Console,
    *,
    resume: bool = False,
    overwrite: bool = False,
    group: Group = ALONE,
) -> Checkpoint:
    """One run into the folder `out`, from the datasets under `root`, which simulated ones do not need.

    Measures on validation people.

    With `resume` a run that was interrupted (KeyboardInterrupt) goes on; with `overwrite` a run there is removed, once
    the data are read and the new one can begin. Of a `group` of processes all train, and the first does all else.

    Raises:
        ConfigError: there is a run in `out` and neither is set, or none to resume, or one of another configuration; or
            a recorded set has no `root`.
        CheckpointError: what is to be resumed, or to start from, is damaged.
        DataError: the data cannot be read, or nobody is left to learn from, or to be patient by.
    """
    there = standing(out, resume, overwrite)
    if resume:
        if not (out / CONFIG).is_file():
            of_folds = any(map(is_run, numbered(out, "fold")))
            remedy = "it holds folds: name --folds, too" if of_folds else "train without --resume"
            raise ConfigError(f"{out}: nothing to resume, {CONFIG} is missing; {remedy}")
        agree(config, out)
    state = state_of(config, out, group) if resume else new_state(config)
    try:
        splits = split_all(config, read_all(config, root, console))
        loss_weights(splits, config)
        _check_patience(config, splits)
        _check_start(config, splits)
    except KeyboardInterrupt as stop:
        if there and overwrite:
            stop.args = (untouched(out),)
        raise
    group.wait()  # until all have looked at what is there
    if not resume and group.first:
        make_room(out, there)
        agree(config, out)
    group.wait()  # until what was there is gone: `fit` looks whether it goes on
    checkpoint = fit(state, config, splits, out, console, group)
    if group.first:
        _measured(checkpoint, splits, out, console)
    group.wait()
    return checkpoint


def _measured(checkpoint: Checkpoint, splits: dict[str, Split[Recording]], out: Path, console: Console) -> None:
    """Save the checkpoint and all that is told of it on people held out."""
    save_checkpoint(checkpoint, out)  # whatever comes of measuring it
    validation = {name: s.validation for name, s in splits.items() if s.validation}
    reports = examine_held(checkpoint, validation, out, console, speak=True)
    save_checkpoint(checkpoint, out)
    (out / "MODEL_CARD.md").write_text(model_card(checkpoint, reports))
    draw_curves(out / METRICS, out / "curves.png")
    console.print(f"checkpoint {out}: {checkpoint.digest[:12]}")


def examine_held(
    checkpoint: Checkpoint, held: Mapping[str, Sequence[Recording]], out: Path, console: Console, *, speak: bool
) -> dict[str, dict[str, Any]]:
    """Reports on people held out, by set, with pictures in `out`; the checkpoint's record has their headlines."""
    reports = {}
    for name, recordings in held.items():
        try:
            reports[name] = examine_recordings(name, recordings, Predictor(checkpoint), speak=speak, console=console)
        except DataError as error:
            console.print(f"not measured on people held out: {error}", soft_wrap=True)
            continue
        for report in (reports[name], *reports[name].get("tasks", {}).values()):
            draw_report(report, out, name)
        console.print(f"validation {name}: {figures(reports[name])}")
    checkpoint.record["validation"] = {name: _headline(r) for name, r in reports.items()}
    write_json(out / "validation.json", reports)
    return reports


def train_folds(
    config: TrainConfig,
    root: Path | None,
    out: Path,
    console: Console,
    *,
    seeds: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    group: Group = ALONE,
) -> dict[str, Any]:
    """Train and test once per fold of people and per seed, from `config.seed` on; what `examine.summary` says of it.

    `out`/folds.json holds that and every report. The first seed's folds are `out`/fold-0 ..., those of another seed S
    `out`/seed-S/fold-0 ..., which is where `--set seed=S --out OUT/seed-S` puts them, too. With `resume` trainings that
    are done are taken as they are, and others go on or begin. Raises as `train` does.
    """
    if config.seed + seeds > SEEDS:
        raise ConfigError(f"--seeds {seeds} from seed {config.seed} on: the last would be beyond {SEEDS - 1}; use less")
    there = standing(out, resume, overwrite, folds=True)
    if config.start:
        new_state(config)  # whether it can
    try:
        found = read_all(config, root, console)
        check_folds(config, found)
        for fold in range(config.folds):
            splits = split_all(replace(config, fold=fold), found)
            loss_weights(splits, config)
            _check_patience(config, splits)
        _check_start(config, splits)
    except KeyboardInterrupt as stop:
        if there and overwrite:
            stop.args = (untouched(out),)
        raise
    group.wait()  # until all have looked at what is there
    if not resume and group.first:
        make_room(out, there)
    group.wait()
    tested: dict[int, list[dict[str, Any]]] = {}
    for seed in range(config.seed, config.seed + seeds):
        home = out if seed == config.seed else out / f"seed-{seed}"
        for fold in range(config.folds):
            reports = _tested(replace(config, seed=seed, fold=fold), found, home / f"fold-{fold}", console, group)
            tested.setdefault(seed, []).append(reports)
    result = {}
    for name in filter(_measurable, config.datasets):
        by_seed = {seed: [reports[name] for reports in folds] for seed, folds in tested.items()}
        said = summary(name, by_seed)
        every = [{"seed": s, "fold": i, **one} for s, of in by_seed.items() for i, one in enumerate(of)]
        result[name] = {**said, "folds": every}
        if not group.first:
            continue
        for one in (said, *said.get("tasks", {}).values()):
            draw_report(one, out, name)
            spread = f", seeds vary by {one['seeds']['spread'][one['metric']]:.4f}" if seeds > 1 else ""
            console.print(f"{name}: {figures(one)}{spread}", soft_wrap=True)
    if group.first:
        write_json(out / FOLDS, result)
    group.wait()
    console.print(f"{out / FOLDS} has every report", soft_wrap=True)
    return result


def _tested(
    config: TrainConfig, found: dict[str, Recordings], folder: Path, console: Console, group: Group
) -> dict[str, dict[str, Any]]:
    """The reports of one fold's training on the people that it left out, by dataset; read where they are written."""
    if group.first:
        agree(config, folder)
    group.wait()
    agree(config, folder)
    path = folder / TESTED
    done = path.is_file()
    group.wait()  # until all know
    if not done:
        state = state_of(config, folder, group)
        splits = split_all(config, found)
        checkpoint = fit(state, config, splits, folder, console, group)
        if group.first:
            save_checkpoint(checkpoint, folder)
            predictor = Predictor(checkpoint)
            measured = {n: examine_recordings(n, s.test, predictor) for n, s in splits.items() if _measurable(n)}
            write_json(path, measured)
        group.wait()
    reports: dict[str, dict[str, Any]] = read_json(path, "remove it, and --resume measures again")
    for name, report in reports.items():
        console.print(f"{_title(config)}, {name}: {figures(report)}")
    return reports


def state_of(config: TrainConfig, out: Path, group: Group) -> State:
    """Where the run in `out` goes on: the state saved there, or a new one; raises CheckpointError for a damaged one."""
    if (out / STATE).is_file():
        return load_state(config, out, forget=group.first)
    if group.first:
        (out / METRICS).unlink(missing_ok=True)
    return new_state(config)


def read_all(config: TrainConfig, root: Path | None, console: Console) -> dict[str, Recordings]:
    """The recordings of every dataset of the configuration; raises as `inspect.read` does."""
    return {name: read(name, root, console, option="--data") for name in config.datasets}


def fit(
    state: State,
    config: TrainConfig,
    splits: dict[str, Split[Recording]],
    out: Path,
    console: Console,
    group: Group = ALONE,
) -> Checkpoint:
    """Train to the end, average, calibrate: a checkpoint. Raises KeyboardInterrupt when interrupted; all is saved.

    Processes but the first do not calibrate: their checkpoint has the weights alone.
    """
    torch.set_num_threads(1)  # more threads spin against each other on a shared machine
    config = with_steps(config, splits)
    weights = {task: torch.from_numpy(w) for task, w in loss_weights(splits, config).items()}
    if config.start and "heads" not in config.frees:  # nothing could be taken out of them again
        weights = {task: torch.ones_like(weight_N) for task, weight_N in weights.items()}
    elif state.start and not (out / STATE).is_file():
        put_in_weights(state, weights)
    if not state.done(config):
        sources = {}
        for name, of in splits.items():
            with counted(f"{name}, cut into windows,", len(of.train), console) as cut:
                sources[name] = Source(of.train, config, cut)
        mixture = Mixture(sources, config)
        held = Held({name: s.validation for name, s in splits.items()}, config) if config.patience else None
        there = {task: weight_N.to(state.device) for task, weight_N in weights.items()}
        with shown(_title(config), config.steps, state.step, console) as report:
            done = run_steps(state, mixture, there, config, out, report, held, group)
        if not done:
            raise KeyboardInterrupt
    if state.best:
        console.print(
            f"stopped after {state.step} of {config.steps} steps" if state.step < config.steps else "took all steps",
            f"and kept the best weights: validation {state.watch.lowest:.4f} of the first measurement's loss",
            soft_wrap=True,
        )
    model = SensorModel(config.model)
    model.load_state_dict(state.weights())
    take_out_weights(model, weights)
    model.settle()
    checkpoint = Checkpoint(model.eval())
    if not group.first:
        return checkpoint
    for name in (name for name, s in splits.items() if not s.validation):
        console.print(
            f"{name}: no {DATASETS[name].unit} is held out, so calibration uses those it learned from, "
            "and confidences come out too high",
            soft_wrap=True,
        )
    predictor = Predictor(checkpoint, str(state.device))
    calibrate(predictor, {name: s.validation or s.train for name, s in splits.items()})
    model.cpu()
    checkpoint.record = {
        "config": config.to_json(),
        "seconds": round(state.seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "licences": {name: DATASETS[name].licence for name in splits},
        "people": {
            name: {role: sorted({r.person for r in getattr(s, role)}) for role in ("train", "validation", "test")}
            for name, s in splits.items()
        },
        "calibrated_on": {name: "validation" if s.validation else "train" for name, s in splits.items()},
    }
    if state.start:
        known = {name: sorted(people) for name, people in learned_from(config.start).items()}
        checkpoint.record["start"] = {"folder": config.start, "digest": state.start, "people": known}
    return checkpoint


@torch.no_grad()
def put_in_weights(state: State, weights: dict[str, torch.Tensor]) -> None:
    """What `take_out_weights` took out of a checkpoint, for a run that starts from it and learns with weights again."""
    for name, weight_N in weights.items():
        put_in = weight_N.log().to(state.device)
        cast(torch.nn.Linear, state.model.heads[name]).bias.add_(put_in)
        state.average[f"heads.{name}.bias"].add_(put_in)


@torch.no_grad()
def take_out_weights(model: SensorModel, weights: dict[str, torch.Tensor]) -> None:
    """Make probabilities true again after a weighted loss: what a label's weight added to its logit is subtracted.

    Weights help rare labels to be learned; left in the decision they cost 2 points of accuracy on sp_sw_har.
    """
    for name, weight_N in weights.items():
        cast(torch.nn.Linear, model.heads[name]).bias.sub_(weight_N.log())


def _check_start(config: TrainConfig, splits: dict[str, Split[Recording]]) -> None:
    """Raise ConfigError where people are held out whom the checkpoint to start from has learned from."""
    known = learned_from(config.start) if config.start else {}
    for name, one in splits.items():
        held = {r.person for r in (*one.validation, *one.test)}
        if both := sorted(held & known.get(name, set())):
            raise ConfigError(
                f"start is {config.start!r}, which has learned from {len(both)} of those that this run holds out of "
                f"{name} ({both[0]}); give its seed, validation, fold and folds"
            )


def _check_patience(config: TrainConfig, splits: dict[str, Split[Recording]]) -> None:
    """Raise DataError where a run is to be stopped early and nobody is held out to say when."""
    if config.patience and not any(s.validation for s in splits.values()):
        raise DataError(
            f"patience is {config.patience}, but {', '.join(splits)} hold out nobody: fewer than three are there; "
            "use --set patience=0"
        )


def loss_weights(splits: dict[str, Split[Recording]], config: TrainConfig) -> dict[str, np.ndarray]:
    """Of every classification, the weight of each label by its share of the labelled time that is drawn.

    Labels are evened out within each set: how much a set has to say is up to the recipe, not to how long it lasts.
    """
    chance = chances(config, {name: s.train for name, s in splits.items()})
    weights = {}
    for name in config.model.tasks:
        truths = {of: [r.labels[name] for r in s.train if name in r.labels] for of, s in splits.items()}
        if not any(truths.values()):
            raise DataError(f"task {name!r} has no truth in {', '.join(splits)}; remove it or add a dataset")
        task = config.model.task(name)
        if not isinstance(task, Classification):
            continue
        amounts = {}
        for of, found in truths.items():
            seconds = np.zeros(TASKS[name].size)
            for one in found:
                assert isinstance(one, Segments)
                known = one.index >= 0
                seconds += np.bincount(one.index[known], np.diff(one.edges)[known], len(seconds))
            amounts[of] = seconds[TASKS[name].columns(task.outputs)]
        even = evened(task, amounts, chance)
        if even is None:
            raise DataError(f"task {name!r} has no labels in {', '.join(splits)}; remove it or add a dataset")
        weights[name] = even
    return weights


def _title(config: TrainConfig) -> str:
    """What a line on the console is about."""
    return config.recipe if config.fold < 0 else f"{config.recipe} seed {config.seed} fold {config.fold}"


def _measurable(name: str) -> bool:
    return DATASETS[name].unseen is None


def _headline(report: dict[str, Any]) -> dict[str, Any]:
    return {k: report[k] for k in ("task", "metric", "n", *HEADLINE, "interval") if k in report}
