"""How well a checkpoint answers in words: the language model's text to a task's question, read back and compared.

Questions are asked in wordings that were held out of training. It knows nothing of how an answer comes about.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from backend.answer import Decision
from backend.data.instructions import instruction
from backend.model.history import Context, History
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS, Classification, Regression
from backend.train.evaluate import Encoded

MOST = 200
"""Decisions about which a task is asked; drawn evenly over all."""
TOGETHER = 32


def measure_text(predictor: Predictor, encoded: Encoded, name: str) -> dict[str, Any]:
    """What the language model says of a task, over at most `MOST` decisions whose truth is known.

    `readable`: the share of answers that name a label, or a number. Of a classification `accuracy` counts an answer
    that cannot be read as wrong, and `as_head` is how often it is what the head says; of a regression `off` is, by
    number, the mean distance from what would be right, over the answers that tell it.
    """
    task, contexts, targets = predictor.tasks[name], [], []
    columns = TASKS[name].columns(task.outputs)
    for one, tokens in zip(encoded.sequences, encoded.tokens, strict=True):
        if name not in one.targets:
            continue
        history, kept = History(predictor.slots), [t for t in tokens if t.modality not in task.given_by]
        by_slot: dict[int, list[Any]] = {}
        for token in kept:
            by_slot.setdefault(token.slot, []).append(token)
        for slot, now in sorted(by_slot.items()):
            history.add(now)
            context, target = history.at(slot), one.targets[name][slot - one.slot][columns]
            if task.asks(context.present, context.before) and task.said(target):
                contexts.append(context)
                targets.append(target)
    chosen = np.unique(np.linspace(0, len(contexts) - 1, min(MOST, len(contexts))).round().astype(int)).tolist()
    contexts, targets = [contexts[i] for i in chosen], [targets[i] for i in chosen]
    rng = np.random.default_rng([len(contexts), 80])
    asked = [instruction(task, target, rng, held_out=True) for target in targets]
    said = _said(predictor, contexts, [one.prompt for one in asked])
    read = [task.read(text) for text in said]
    result: dict[str, Any] = {"n": len(said), "readable": _share(one is not None for one in read)}
    if isinstance(task, Classification):
        right = [task.read(one.answer) for one in asked]
        heads = _labels(predictor, contexts, name)
        result["accuracy"] = _share(a == b for a, b in zip(read, right, strict=True))
        result["as_head"] = _share(a == b for a, b in zip(read, heads, strict=True))
    else:
        assert isinstance(task, Regression)
        gaps: dict[str, list[float]] = {}
        for numbers, target in zip(read, targets, strict=True):
            true = task.told(target)
            for what, number in numbers.items() if isinstance(numbers, dict) else ():
                if what in true:
                    gaps.setdefault(what, []).append(abs(number - true[what]))
        result["off"] = {what: round(float(np.mean(of)), 3) for what, of in gaps.items()}
    result["examples"] = [
        {"question": one.prompt, "said": text, "right": one.answer} for one, text in zip(asked[:3], said, strict=False)
    ]
    return result


def _said(predictor: Predictor, contexts: list[Context], questions: list[str]) -> list[str]:
    found = []
    for at in range(0, len(contexts), TOGETHER):
        found += predictor.say(contexts[at : at + TOGETHER], questions[at : at + TOGETHER])
    return found


def _labels(predictor: Predictor, contexts: list[Context], name: str) -> list[str]:
    """What the head decides."""
    answers = [predictor.decide(contexts[at : at + TOGETHER]) for at in range(0, len(contexts), TOGETHER)]
    return [cast(Decision, one[name]).label for many in answers for one in many]


def _share(of: Any) -> float:
    values = list(of)
    return round(float(np.mean(values)), 4) if values else 0.0
