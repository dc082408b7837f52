"""How well a checkpoint answers in words: the language model's text to a task's question, read back and compared.

Questions are asked in wordings that were held out of training; beside stand the same questions about other moments, and
questions that no sensor can answer. It knows nothing of how an answer comes about.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backend.answer import Decision
from backend.data.instructions import CANNOT_TELL, Instruction, instruction
from backend.model.history import Context, History
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS, Classification, Regression, Task
from backend.train.evaluate import Encoded

MOST = 200
"""Decisions about which a task is asked; drawn evenly over all."""
TOGETHER = 32

Target = NDArray[np.floating]
Read = str | dict[str, float] | None


def measure_text(predictor: Predictor, encoded: Encoded, name: str) -> dict[str, Any]:
    """What the language model says of a task, over at most `MOST` decisions whose truth is known.

    `readable`: the share of answers that name a label, or a number. Of a classification `accuracy` counts an answer
    that cannot be read as wrong, and `as_head` is how often it is what the head says; of a regression `off` is, by
    number, the mean distance from what would be right, over the answers that tell it. `shuffled` is the same of the
    sensors of other moments, `majority` the share of the commonest label. `cannot_tell`: how often it says so where no
    sensor shows the task, and `refused` where one does.
    """
    task = predictor.tasks[name]
    contexts, targets, untold = _asked(predictor, encoded, name)
    rng = np.random.default_rng([len(contexts), 80])
    asked = [instruction(task, target, rng, held_out=True) for target in targets]
    said = _said(predictor, contexts, asked)
    result: dict[str, Any] = {"n": len(said), **_scored(task, said, asked, targets)}
    if isinstance(task, Classification):
        heads, right = _labels(predictor, contexts, name), [task.read(one.answer) for one in asked]
        result["as_head"] = _share(task.read(text) == head for text, head in zip(said, heads, strict=True))
        result["majority"] = max((_share(one == label for one in right) for label in set(right)), default=0.0)
    others = [contexts[i] for i in rng.permutation(len(contexts))]
    result["shuffled"] = _scored(task, _said(predictor, others, asked), asked, targets)
    result["refused"] = _share(text == CANNOT_TELL for text in said)
    if untold:
        asked_of_none = [instruction(task, None, rng, held_out=True) for _ in untold]
        result["cannot_tell"] = _share(text == CANNOT_TELL for text in _said(predictor, untold, asked_of_none))
    result["examples"] = [
        {"question": one.prompt, "said": text, "right": one.answer} for one, text in zip(asked[:3], said, strict=False)
    ]
    return result


def _asked(predictor: Predictor, encoded: Encoded, name: str) -> tuple[list[Context], list[Target], list[Context]]:
    """Decisions whose truth has words, the truth, and moments at which nothing that delivers shows the task."""
    task, contexts, targets, untold = predictor.tasks[name], list[Context](), list[Target](), list[Context]()
    columns = TASKS[name].columns(label for label in task.outputs if label in TASKS[name].outputs)
    known = task.only(task.outputs[i] for i, label in enumerate(task.outputs) if label in TASKS[name].outputs)
    for one, tokens in zip(encoded.sequences, encoded.tokens, strict=True):
        history = History(predictor.slots)
        for slot, now in groupby((t for t in tokens if t.modality not in task.given_by), key=attrgetter("slot")):
            history.add(now)
            context = history.at(slot)
            if not task.tells(context.present):
                untold.append(context)
            elif name in one.targets and known.said(target := one.targets[name][slot - one.slot][columns]):
                contexts.append(context)
                targets.append(target)
    chosen = _evenly(len(contexts))
    return [contexts[i] for i in chosen], [targets[i] for i in chosen], [untold[i] for i in _evenly(len(untold))]


def _evenly(count: int) -> list[int]:
    return list(np.unique(np.linspace(0, count - 1, min(MOST, count)).round().astype(int)).tolist())


def _scored(task: Task, said: Sequence[str], asked: Sequence[Instruction], targets: Sequence[Target]) -> dict[str, Any]:
    read: list[Read] = [task.read(text) for text in said]
    found: dict[str, Any] = {"readable": _share(one is not None for one in read)}
    if isinstance(task, Classification):
        found["accuracy"] = _share(a == task.read(one.answer) for a, one in zip(read, asked, strict=True))
        return found
    assert isinstance(task, Regression)
    gaps: dict[str, list[float]] = {}
    for numbers, target in zip(read, targets, strict=True):
        true = task.told(target)
        for what, number in numbers.items() if isinstance(numbers, dict) else ():
            if what in true:
                gaps.setdefault(what, []).append(abs(number - true[what]))
    found["off"] = {what: round(float(np.mean(of)), 3) for what, of in gaps.items()}
    return found


def _said(predictor: Predictor, contexts: Sequence[Context], asked: Sequence[Instruction]) -> list[str]:
    questions = [one.prompt for one in asked]
    found = []
    for at in range(0, len(contexts), TOGETHER):
        found += predictor.say(contexts[at : at + TOGETHER], questions[at : at + TOGETHER])
    return found


def _labels(predictor: Predictor, contexts: Sequence[Context], name: str) -> list[str]:
    """What the head decides."""
    answers = [predictor.decide(contexts[at : at + TOGETHER]) for at in range(0, len(contexts), TOGETHER)]
    return [cast(Decision, one[name]).label for many in answers for one in many]


def _share(of: Any) -> float:
    values = list(of)
    return round(float(np.mean(values)), 4) if values else 0.0
