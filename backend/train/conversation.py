"""How well a checkpoint answers questions about people whom it has not learned from: `backend eval --dialogue`.

Questions have wordings and compositions that were held out. Every answer is judged by the program of its question, a
label by the truth; before and after the verifier; from facts, tokens, both and neither; with tokens of other moments,
zeroed, or without the sense that tells; and after an edit that changes what is right.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from backend.checkpoint import Checkpoint
from backend.dialogue.items import KINDS
from backend.dialogue.recall import Recalled, recall
from backend.dialogue.verify import check, verify
from backend.model.history import Context
from backend.model.sensorlm import Predictor
from backend.train.judge import Answered, figures, intervals, share
from backend.train.moments import LABELS
from backend.train.questions import EDITS, Asked, Edited, questions
from broker.errors import CheckpointError, DataError

TOGETHER = 32
MOST = 96
"""Tokens of an answer."""


def measure_dialogue(
    checkpoint: Checkpoint,
    root: Path | None,
    console: Console,
    *,
    moments: int = 3,
    recordings: int = 12,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures, over at most so many recordings of each set that the checkpoint knows, and moments of each.

    `..._unverified` is what the language model says in serving before the verifier, `label_accuracy` from tokens alone.

    Raises:
        CheckpointError: the checkpoint has no language model.
        DataError: no set that it knows is there.
    """
    predictor = Predictor(checkpoint)
    if predictor.model.language is None:
        raise CheckpointError("the checkpoint has no language model, and nothing to be asked")
    asked: list[Asked] = []
    edited: list[Edited] = []
    for some, after in questions(checkpoint, predictor, root, console, moments, recordings, seed):
        asked += some
        edited += after
    if not asked:
        raise DataError("nobody is there whom the checkpoint has not learned from and whose sensors it knows")
    rng = np.random.default_rng([seed, 95])
    report: dict[str, Any] = {"n": len(asked), "people": len({(one.dataset, one.person) for one in asked})}
    console.print(f"{len(asked)} questions about {report['people']} people who were not learned from")
    both = answer(predictor, asked)
    report |= figures(both) | {"intervals": intervals(both)}
    report["by_kind"] = {kind: figures([a for a in both if a.asked.item.kind == kind]) for kind in KINDS}
    report["by_kind"] = {kind: found for kind, found in report["by_kind"].items() if found["n"]}
    report["by_set"] = {
        name: figures([a for a in both if a.asked.dataset == name]) for name in dict.fromkeys(a.dataset for a in asked)
    }
    labels = [one for one in asked if one.item.kind in LABELS]
    report["modes"] = {"both": _short(both)}
    tokens = answer(predictor, labels, lines=False)
    report["modes"]["tokens"] = _short(tokens)
    report["modes"]["facts"] = _short(answer(predictor, asked, tokens=False))
    report["modes"]["free"] = _short(answer(predictor, asked, free=True))
    report["modes"]["neither"] = _short(answer(predictor, asked, tokens=False, lines=False))
    report["label_accuracy"] = figures(tokens)["label_accuracy"]
    report["intervals"]["label_accuracy"] = intervals(tokens)["label_accuracy"]
    for kind, one in report["by_kind"].items():
        one["label_accuracy"] = figures([a for a in tokens if a.asked.item.kind == kind])["label_accuracy"]
    for name, one in report["by_set"].items():
        one["label_accuracy"] = figures([a for a in tokens if a.asked.dataset == name])["label_accuracy"]
    report["label_accuracy_of_heads"] = share(
        one.head.get(one.item.task) == one.truth.get(one.item.task) for one in labels
    )
    console.print(line_of(report), soft_wrap=True)
    report["sensors"] = {"real": report["label_accuracy"]}
    order = rng.permutation(len(labels))
    for name, contexts in (
        ("shuffled", [labels[i].context for i in order]),
        ("zeroed", [_zeroed(one.context) for one in labels]),
        ("missing", [_without(one.context, one.item.task, predictor) for one in labels]),
    ):
        changed = [replace(one, context=context) for one, context in zip(labels, contexts, strict=True)]
        report["sensors"][name] = _label_accuracy(answer(predictor, changed, lines=False))
    report["chance"] = _chance(labels)
    report["edits"] = {how: _edits(predictor, [one for one in edited if one.how == how]) for how in EDITS}
    report["examples"] = [
        {
            "kind": a.asked.item.kind,
            "question": a.asked.item.question,
            "said": a.said,
            "told": a.told,
            "right": a.asked.item.answer,
        }
        for a in both[:: max(1, len(both) // 40)]
    ]
    return report


def answer(
    predictor: Predictor, asked: Many[Asked], *, tokens: bool = True, lines: bool = True, free: bool = False
) -> list[Answered]:
    """What the language model says to each, and what is told after the verifier.

    It says it as in serving, where what begins as a line goes on as one; with `free` it may say anything.
    """
    language = predictor.model.language
    assert language is not None
    recalled = [_recalled(one) for one in asked]
    prompts = [
        language.tokens(
            one.item.question, known.lines(one.item.question) if lines else "",
            [(turn.question, turn.answer) for turn in one.item.before],
        )
        for one, known in zip(asked, recalled, strict=True)
    ]  # fmt: skip
    found: dict[int, Answered] = {}
    order = sorted(range(len(asked)), key=lambda i: len(prompts[i]))  # alike in length: little is padded
    for first in range(0, len(order), TOGETHER):
        some = order[first : first + TOGETHER]
        latents = predictor.latents([asked[i].context for i in some]) if tokens else None
        told = [[one.text for one in recalled[i].statements] for i in some] if lines and not free else None
        for i, ids in zip(some, language.generate(latents, [prompts[i] for i in some], MOST, told=told), strict=True):
            one, known, text = asked[i], recalled[i], language.text(ids)
            verified = verify(text, known, one.situation)
            found[i] = Answered(
                one, text, verified.text, verified.status,
                verified.checked, check(verified.text, known, one.situation),
            )  # fmt: skip
    return [found[i] for i in range(len(asked))]


def _recalled(one: Asked) -> Recalled:
    before = None
    for turn in one.item.before:
        before = recall(turn.question, one.situation, before).understood
    return recall(one.item.question, one.situation, before)


def _edits(predictor: Predictor, edited: Many[Edited]) -> dict[str, Any]:
    """Right answers before an edit and after it, and how often both are, also before the verifier."""
    before = answer(predictor, [one.before for one in edited])
    after = answer(predictor, [one.after for one in edited])
    told = [[a.right for a in some] for some in (before, after)]
    said = [[a.right_said for a in some] for some in (before, after)]
    return {
        "n": len(edited),
        "before": share(told[0]),
        "after": share(told[1]),
        "both": share(all(pair) for pair in zip(*told, strict=True)),
        "both_unverified": share(all(pair) for pair in zip(*said, strict=True)),
    }


def _label_accuracy(answered: Many[Answered]) -> float:
    return float(figures(answered)["label_accuracy"])


def _short(answered: Many[Answered]) -> dict[str, Any]:
    whole = figures(answered)
    keys = ("n", "answer_accuracy", "answer_accuracy_unverified", "claim_precision_unverified", "label_accuracy")
    return {key: whole[key] for key in keys}


def line_of(report: dict[str, Any]) -> str:
    """The figures on a line."""
    return (
        f"answers right {report['answer_accuracy']:.3f} ({report['answer_accuracy_unverified']:.3f} before the "
        f"verifier), claims that hold {report['claim_precision']:.4f} ({report['claim_precision_unverified']:.3f}), "
        f"abstention {report['abstention_precision']:.3f} / {report['abstention_recall']:.3f}, labels from tokens "
        f"alone {report['label_accuracy']:.3f}"
    )


def _zeroed(context: Context) -> Context:
    return replace(context, rows=tuple(replace(row, tokens=np.zeros_like(row.tokens)) for row in context.rows))


def _without(context: Context, task: str, predictor: Predictor) -> Context:
    """Without the senses that the task needs, but for one row of another, if there is one."""
    needed = {need.modality for need in predictor.tasks[task].needs} or predictor.tasks[task].modalities
    rest = tuple(row for row in context.rows if row.modality not in needed)
    return replace(context, rows=rest) if rest else _zeroed(context)


def _chance(labels: Many[Asked]) -> float:
    """The share of the commonest label of each task, over all questions about labels."""
    by: dict[str, list[str]] = {}
    for one in labels:
        by.setdefault(f"{one.dataset}/{one.item.task}", []).append(one.truth[one.item.task])
    right = sum(max(of.count(label) for label in set(of)) for of in by.values())
    return round(right / max(1, len(labels)), 4)
