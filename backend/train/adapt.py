"""`backend train adapt`: a trained model is taught labels, or a placement, by a few recordings of one's own.

From recordings by label and a checkpoint to another checkpoint, with a report of what it tells now and of what it told
before. Its encoders stay as they are, byte for byte: devices need no new ones. How it learns is `teach`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from backend.checkpoint import PRETRAINED, Checkpoint, load_checkpoint, save_checkpoint
from backend.data import DATASETS
from backend.data.recorded import Taken, read_taken
from backend.model.history import StreamTokens
from backend.model.sensorlm import WORDS, ModelConfig, Predictor, SensorModel
from backend.tasks import Classification
from backend.tasks.task import Placed
from backend.train.card import adapted_card
from backend.train.evaluate import BATCH
from backend.train.folder import ADAPTED, PICTURE, make_room, standing
from backend.train.pictures import draw_shots
from backend.train.rehearse import rehearse
from backend.train.shots import Material, calibrated, examine_taught, forgetting
from backend.train.teach import Shown, decisions, joined, learned, vectors, widened
from broker.errors import ConfigError, DataError
from broker.topics import check_name


@dataclass(frozen=True)
class Order:
    """What to teach and where to: `dataset` holds LABEL/*.frames, `words` say what a new label means for people,
    `checkpoint` is what to begin with (None: the bundled one), `data` are folders of sets that it learned from.
    """

    dataset: Path
    out: Path
    checkpoint: Path | None = None
    task: str | None = None
    data: tuple[Path, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False


def adapt(order: Order, console: Console) -> Checkpoint:
    """Teach, measure, and write the checkpoint, its report, picture and card into `order.out`.

    Raises:
        ConfigError: a label, a task or a folder cannot be used.
        CheckpointError: what to begin with cannot be loaded.
        DataError: there are no recordings, or they cannot tell what is asked.
    """
    began = time.monotonic()
    if order.out.resolve() == (order.checkpoint or PRETRAINED).resolve():
        raise ConfigError(f"--out {order.out}: is the checkpoint to begin with; give another folder")
    there = standing(order.out, False, order.overwrite, resumable=False)
    torch.set_num_threads(1)
    old = load_checkpoint(order.checkpoint)
    taken = read_taken(order.dataset)
    predictor = Predictor(old)
    _check(predictor, taken)
    task = task_for(predictor, taken, order.task)
    config = extended(old.model.config, task, [one.label for one in taken], order.words)
    labels = config.task(task).outputs
    shown = show(predictor, task, labels, taken)
    placed = frozenset(place for one in taken for moment in one.moments for place in _placed(moment.windows))
    _tell(shown, taken, task, console)
    known = rehearse(predictor, task, labels, placed, old.record, order.data, console)
    for name, reason in known.left_out.items():
        console.print(f"not rehearsed: {name} ({reason})", soft_wrap=True, markup=False)
    rehearsed = joined(list(known.rehearsed.values()))
    if not len(rehearsed) and len(set(shown.label)) < 2:
        raise DataError(
            f"{order.dataset}: shows {taken[0].label} alone, and nothing that {task} knows of old is at hand to tell "
            "it from; record another label, too, or give --data with a set that the checkpoint learned from"
        )

    def seen(one: Shown) -> Tensor:
        return vectors(old.model, task, one.contexts)

    linear = old.model.heads[task]
    assert isinstance(linear, torch.nn.Linear)
    mine = old.model.tasks[task].outputs
    start, before = widened(linear, mine, labels), widened(linear, mine, labels, unsaid=True)
    material = Material(seen(shown), shown, seen(rehearsed), rehearsed)
    held = {name: (seen(one), one) for name, one in known.held.items()}
    console.print(f"measuring by leaving recordings out, {len(shown)} windows ...")
    report, aside = examine_taught(material, start, before, held, labels)
    head = learned(start, (material.x, shown.label), (material.rehearsed_x, rehearsed.label))
    checkpoint = taught(old, config, task, head.weight, head.bias)
    new = checkpoint.model.tasks[task]
    assert isinstance(new, Classification)
    real = [DATASETS[name].unseen is None for name in known.rehearsed]
    recorded = np.repeat(np.array(real, bool), [len(one) for one in known.rehearsed.values()])
    sure = calibrated(aside, recorded, new, old.temperatures.get(task, 1.0))
    checkpoint.temperatures[task], checkpoint.thresholds[task] = sure
    added = [label for label in labels if label not in mine]
    whole = {
        "task": task,
        "dataset": str(order.dataset),
        "from": old.digest,
        "to": "",
        "labels": {
            label: {
                "words": new.words[label],
                "new": label in added,
                "recordings": sum(one.label == label for one in taken),
                "windows": int((shown.label == labels.index(label)).sum()),
            }
            for label in sorted({one.label for one in taken})
        },
        "streams": sorted(f"{modality} ({placement})" for modality, placement in placed),
        **report,
        "known": forgetting(held, before, head, labels, added),
        "rehearsed": {name: len(one) for name, one in known.rehearsed.items()},
        "not_rehearsed": known.left_out,
        "temperature": [old.temperatures.get(task, 1.0), checkpoint.temperatures[task]],
        "threshold": [old.thresholds.get(task, new.rule.on), checkpoint.thresholds[task]],
        "seconds": round(time.monotonic() - began, 1),
    }
    whole["to"] = checkpoint.digest
    brief = ("task", "from", "labels", "streams", "rehearsed", "seconds")
    checkpoint.record = {**old.record, "adapted": [*old.record.get("adapted", []), {key: whole[key] for key in brief}]}
    make_room(order.out, there)
    save_checkpoint(checkpoint, order.out)
    (order.out / ADAPTED).write_text(json.dumps(whole, indent=1) + "\n")
    (order.out / "MODEL_CARD.md").write_text(adapted_card(checkpoint, whole))
    draw_shots(whole, order.out / PICTURE)
    for line in told(whole):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(f"checkpoint {order.out}: {checkpoint.digest[:12]}", soft_wrap=True)
    return checkpoint


def _check(predictor: Predictor, taken: Sequence[Taken]) -> None:
    """Raise DataError for a window that the model cannot take: another modality, or another model's tokens."""
    for one in taken:
        for window in (window for moment in one.moments for window in moment.windows):
            try:
                predictor.check(window)
            except DataError as error:
                raise DataError(f"{one.name}: {error}") from None


def _placed(windows: Sequence[Any]) -> tuple[Placed, ...]:
    return tuple((window.modality, window.placement) for window in windows)


def task_for(predictor: Predictor, taken: Sequence[Taken], asked: str | None) -> str:
    """The task to teach: the one asked for, or the only one that the recordings' sensors can tell (of several, the only
    one that has some of the labels).

    Raises:
        ConfigError: the checkpoint has no such task, or several would do.
        DataError: the sensors cannot tell it, or anything that has labels.
    """
    choosing = {name: task for name, task in predictor.tasks.items() if isinstance(task, Classification)}
    if asked is not None and asked not in choosing:
        raise ConfigError(f"--task {asked!r}: no task of this checkpoint that has labels; it has {', '.join(choosing)}")
    present = {_placed(moment.windows) for one in taken for moment in one.moments}
    able = [name for name, task in choosing.items() if any(task.asks(streams) for streams in present)]
    wanted = list(choosing) if asked is None else [asked]
    if not set(wanted) & set(able):
        held = ", ".join(
            sorted({f"{modality} ({placement})" for streams in present for modality, placement in streams})
        )
        needs = "; ".join(
            f"{name} asks for {' or '.join(map(str, task.needs)) or ' or '.join(sorted(task.modalities))}"
            for name, task in choosing.items()
            if name in wanted
        )
        raise DataError(f"the recordings hold {held}; {needs}")
    if asked is not None:
        return asked
    named = {one.label for one in taken}
    knowing = [name for name in able if named & {*predictor.config.whole(name).outputs}]
    for some in (knowing, able):
        if len(some) == 1:
            return some[0]
    raise ConfigError(f"--task is missing: {', '.join(able)} can be told by these sensors; name one")


def extended(config: ModelConfig, task: str, recorded: Sequence[str], words: Mapping[str, str]) -> ModelConfig:
    """The configuration with the labels that were recorded.

    Raises ConfigError for a label that is no name, for words of a label that is none of the new ones, and for words
    that are more than words.
    """
    whole, mine = config.whole(task).outputs, config.task(task).outputs
    new = sorted({check_name(label, "label") for label in recorded if label not in whole})
    if strange := set(words) - set(new):
        raise ConfigError(f"--words {min(strange)}: not one of the new labels ({', '.join(new) or 'none'})")
    for label, said in words.items():
        if not re.fullmatch(WORDS, said):
            raise ConfigError(f"--words {label}={said!r}: letters, digits, spaces and ' , ( ) / - are wanted")
    taught_words = {label: words.get(label, label.replace("-", " ")) for label in new}
    outputs = tuple(dict.fromkeys(label for label in recorded if label in whole and label not in mine))
    changed = config
    if outputs:
        own = config.outputs[task]  # not all that the task has, or none would be missing
        changed = replace(changed, outputs={**config.outputs, task: (*own, *outputs)})
    if taught_words:
        changed = replace(changed, added={**config.added, task: {**config.added.get(task, {}), **taught_words}})
    return changed


def show(predictor: Predictor, task: str, labels: Sequence[str], taken: Sequence[Taken]) -> Shown:
    """Every window of the recordings that serving would decide upon, encoded."""
    found = []
    for one in taken:
        windows = [window for moment in one.moments for window in moment.windows]
        tokens: list[StreamTokens] = []
        for at in range(0, len(windows), BATCH):
            tokens += predictor.encode_windows(windows[at : at + BATCH])
        contexts = decisions(predictor.tasks[task], predictor.slots, tokens)
        label = np.full(len(contexts), labels.index(one.label), np.int64)
        found.append(Shown(tuple(contexts), label, np.full(len(contexts), one.name)))
    return joined(found)


def taught(old: Checkpoint, config: ModelConfig, task: str, weight: Tensor, bias: Tensor) -> Checkpoint:
    """The old model with another head of one task; everything else is what it was."""
    model = SensorModel(config)
    own = (f"heads.{task}.", "unimodal.")
    state = {name: value for name, value in old.model.state_dict().items() if not name.startswith(own)}
    model.load_state_dict(state, strict=False)
    if model.language is not None and old.model.language is not None:
        model.language.tokenizer = old.model.language.tokenizer
    with torch.no_grad():
        model.heads[task].weight.copy_(weight)  # type: ignore[operator]
        model.heads[task].bias.copy_(bias)  # type: ignore[operator]
    return Checkpoint(model.eval(), dict(old.temperatures), dict(old.thresholds))


def _tell(shown: Shown, taken: Sequence[Taken], task: str, console: Console) -> None:
    for label in sorted({one.label for one in taken}):
        mine = [one.name for one in taken if one.label == label]
        windows = int(np.isin(shown.unit, mine).sum())
        if not windows:
            raise DataError(
                f"{label}: its {len(mine)} recordings hold no window that tells {task}; record longer, or with a "
                "sensor that shows it"
            )
        console.print(f"{task}: {label}, {windows} windows in {len(mine)} recordings", highlight=False)
        if len(mine) == 1:
            console.print(
                f"{label}: one recording cannot be learned from and measured by; it is learned from. Record it again, "
                "at another time or place, to know how well it is told",
                soft_wrap=True,
            )


def told(report: Mapping[str, Any]) -> list[str]:
    """The report in a few lines."""
    lines = []
    if one := report["taught"]:
        found = ", ".join(f"{label} {row['recall']:.3f}" for label, row in one["by_class"].items() if row["n"])
        lines.append(f"recordings left out: accuracy {one['accuracy']:.3f}, n {one['n']} (found of {found})")
    for row in report["curve"]:
        known = "" if row["known"] is None else f", known before {row['known']:.3f}"
        lines += [f"{row['windows']} windows a label: taught {row['taught']:.3f}{known}"]
    for name, one in report["known"].items():
        lines += [
            f"{name}, people not rehearsed: accuracy {one['before']['accuracy']:.3f} before, "
            f"{one['after']['accuracy']:.3f} after, {one['taken_for_new']:.3f} taken for what is new, n {one['n']}"
        ]
    return lines
