"""How well a checkpoint answers questions about people whom it has not learned from: `backend eval --dialogue`.

Questions have wordings and compositions that were held out. Every answer is judged by the program of its question, a
label by the truth; before and after the verifier; from facts, tokens, both and neither; with tokens of other moments,
zeroed, or without the sense that tells; and after an edit that changes what is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from backend.checkpoint import Checkpoint
from backend.dialogue.claims import REFUSAL, claims_of
from backend.dialogue.items import KINDS
from backend.dialogue.programs import Label, Program, Sensors, Statement
from backend.dialogue.recall import recall
from backend.dialogue.situation import Situation
from backend.dialogue.verify import check, verify
from backend.model.history import Context
from backend.model.sensorlm import Predictor
from backend.train.questions import EDITS, Asked, Edited, questions
from backend.train.talk import LABELS
from broker.errors import CheckpointError, DataError

TOGETHER = 16
MOST = 96
"""Tokens of an answer."""
MODES = ("both", "tokens", "facts", "neither")
SENSORS = ("real", "shuffled", "zeroed", "missing")


@dataclass
class Answered:
    """What was said to an item: by the language model, and after the verifier."""

    asked: Asked
    said: str
    told: str
    status: str = ""
    claims: list[tuple[str, bool]] = field(default_factory=list)
    claims_told: list[tuple[str, bool]] = field(default_factory=list)


def measure_dialogue(
    checkpoint: Checkpoint,
    root: Path | None,
    console: Console,
    *,
    moments: int = 6,
    recordings: int = 24,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures, over at most so many recordings of each set that the checkpoint knows, and moments of each.

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
    report: dict[str, Any] = {"n": len(asked), "people": len({one.person for one in asked})}
    console.print(f"{len(asked)} questions about {report['people']} people who were not learned from")
    both = answer(predictor, asked)
    report |= figures(both)
    report["by_kind"] = {kind: figures([a for a in both if a.asked.item.kind == kind]) for kind in KINDS}
    report["by_kind"] = {kind: found for kind, found in report["by_kind"].items() if found["n"]}
    report["by_set"] = {
        name: figures([a for a in both if a.asked.dataset == name]) for name in dict.fromkeys(a.dataset for a in asked)
    }
    console.print(f"both: {line_of(report)}")
    labels = [one for one in asked if one.item.kind in LABELS]
    report["modes"] = {"both": _short(both)}
    report["modes"]["tokens"] = _short(answer(predictor, labels, lines=False))
    report["modes"]["facts"] = _short(answer(predictor, asked, tokens=False))
    report["modes"]["neither"] = _short(answer(predictor, asked, tokens=False, lines=False))
    report["label_accuracy"] = report["modes"]["tokens"]["label_accuracy"]
    report["label_accuracy_of_heads"] = _share(
        one.head.get(one.item.task) == one.truth.get(one.item.task) for one in labels
    )
    report["sensors"] = {"real": _labels_of(answer(predictor, labels, lines=False))}
    order = rng.permutation(len(labels))
    for name, contexts in (
        ("shuffled", [labels[i].context for i in order]),
        ("zeroed", [_zeroed(one.context) for one in labels]),
        ("missing", [_without(one.context, one.item.task, predictor) for one in labels]),
    ):
        changed = [replace(one, context=context) for one, context in zip(labels, contexts, strict=True)]
        report["sensors"][name] = _labels_of(answer(predictor, changed, lines=False))
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


def answer(predictor: Predictor, asked: Many[Asked], *, tokens: bool = True, lines: bool = True) -> list[Answered]:
    """What the language model says to each, and what is told after the verifier."""
    language = predictor.model.language
    assert language is not None
    found = []
    for first in range(0, len(asked), TOGETHER):
        some = asked[first : first + TOGETHER]
        recalled = [_recalled(one) for one in some]
        prompts = [
            language.tokens(
                one.item.question, known.lines(one.item.question) if lines else "",
                [(turn.question, turn.answer) for turn in one.item.before],
            )
            for one, known in zip(some, recalled, strict=True)
        ]  # fmt: skip
        latents = predictor.latents([one.context for one in some]) if tokens else None
        told = [[_sentence(s) for s in known.statements] for known in recalled] if lines else None
        said = language.generate(latents, prompts, MOST, told=told)
        for one, known, ids in zip(some, recalled, said, strict=True):
            text = language.text(ids)
            verified = verify(text, known, one.situation)
            found.append(
                Answered(
                    one, text, verified.text, verified.status,
                    [(c.claim.kind, c.holds) for c in verified.checked],
                    [(c.claim.kind, c.holds) for c in check(verified.text, known, one.situation)],
                )
            )  # fmt: skip
    return found


def _sentence(statement: Statement) -> str:
    text = f"{statement.text}."
    return f"{text[:1].upper()}{text[1:]}"


def _recalled(one: Asked) -> Any:
    before = None
    for turn in one.item.before:
        before = recall(turn.question, one.situation, before).understood
    return recall(one.item.question, one.situation, before)


def is_right(asked: Asked, text: str) -> bool:
    """Whether a text answers the item: the part that is asked for, as the program says; a label, as the truth does."""
    item, situation = asked.item, asked.situation
    program = item.program
    if isinstance(program, Label):
        wanted = situation.words(program.task, asked.truth[program.task])
        return text.strip().rstrip(".").partition(":")[0].casefold() == wanted.casefold()
    statement = program.evaluate(situation)
    if statement is None:
        return False
    if statement.lacks and item.asked == "refusal":
        return REFUSAL.casefold() in text.casefold() and statement.text.casefold() in text.casefold()
    if statement.text.casefold() in text.casefold():
        return True
    return _says(item.asked, program, statement, text, situation)


def _says(asked: str, program: Program, statement: Statement, text: str, situation: Situation) -> bool:
    """Whether a text in other words has the number, the time, the sensor or the label of a statement."""
    claims = claims_of(text, situation)
    if asked == "number" and statement.numbers:
        return any(
            c.kind == "number" and c.unit == n.unit and n.holds(c.value) for n in statement.numbers for c in claims
        )
    if asked == "sensor" and isinstance(program, Sensors):
        return {str(one) for one in statement.sensors} <= {str(c.sensor) for c in claims if c.kind == "sensor"}
    if asked == "label":
        named_labels = {c.label for c in claims if c.kind == "label"}
        return bool(statement.labels) and set(statement.labels) <= named_labels
    return False


def figures(answered: Many[Answered]) -> dict[str, Any]:
    """Of answers: how many are right, claims that hold, refusals, and what is said of sensors that are not there."""
    missing = [a for a in answered if a.asked.item.asked == "refusal"]
    refused = [a for a in answered if REFUSAL.casefold() in a.told.casefold()]
    claims, told = [c for a in answered for c in a.claims], [c for a in answered for c in a.claims_told]
    return {
        "n": len(answered),
        "answer_accuracy": _share(is_right(a.asked, a.told) for a in answered),
        "answer_accuracy_unverified": _share(is_right(a.asked, a.said) for a in answered),
        "interval": _interval(answered),
        "claim_precision": _share(holds for _, holds in told),
        "claim_precision_unverified": _share(holds for _, holds in claims),
        "claims": len(told),
        "claim_coverage": _share(bool(a.claims_told) for a in answered),
        "unit_errors": _share(kind == "number" and not holds for kind, holds in claims),
        "absent_sensor_mentions": _share(any(k == "sensor" and not h for k, h in a.claims_told) for a in answered),
        "absent_sensor_mentions_unverified": _share(
            any(k == "sensor" and not h for k, h in a.claims) for a in answered
        ),
        "abstention_precision": _share(a.asked.item.asked == "refusal" for a in refused),
        "abstention_recall": _share(REFUSAL.casefold() in a.told.casefold() for a in missing),
        "label_accuracy": _labels_of(answered),
        "corrected": _share(a.status != "supported" for a in answered),
    }


def _edits(predictor: Predictor, edited: Many[Edited]) -> dict[str, Any]:
    """Right answers before an edit and after it, and how often both are; also of what the language model says alone."""
    before = answer(predictor, [one.before for one in edited])
    after = answer(predictor, [one.after for one in edited])
    told = [[is_right(a.asked, a.told) for a in some] for some in (before, after)]
    said = [[is_right(a.asked, a.said) for a in some] for some in (before, after)]
    return {
        "n": len(edited),
        "before": _share(told[0]),
        "after": _share(told[1]),
        "both": _share(all(pair) for pair in zip(*told, strict=True)),
        "both_unverified": _share(all(pair) for pair in zip(*said, strict=True)),
    }


def _labels_of(answered: Many[Answered]) -> float:
    return _share(is_right(a.asked, a.said) for a in answered if a.asked.item.kind in LABELS)


def _short(answered: Many[Answered]) -> dict[str, Any]:
    whole = figures(answered)
    keys = ("n", "answer_accuracy", "answer_accuracy_unverified", "claim_precision_unverified", "label_accuracy")
    return {key: whole[key] for key in keys}


def line_of(report: dict[str, Any]) -> str:
    """The figures on a line."""
    return (
        f"answers right {report['answer_accuracy']:.3f} ({report['answer_accuracy_unverified']:.3f} before the "
        f"verifier), claims that hold {report['claim_precision']:.4f} ({report['claim_precision_unverified']:.3f}), "
        f"abstention {report['abstention_precision']:.3f} / {report['abstention_recall']:.3f}, labels "
        f"{report['label_accuracy']:.3f}"
    )


def _interval(answered: Many[Answered], draws: int = 1000) -> list[float] | None:
    """95 % interval of the share of right answers, by a bootstrap over people."""
    by: dict[str, list[bool]] = {}
    for a in answered:
        by.setdefault(f"{a.asked.dataset}/{a.asked.person}", []).append(is_right(a.asked, a.told))
    if len(by) < 2:
        return None
    rng, people = np.random.default_rng(0), [np.array(of, float) for of in by.values()]
    means = []
    for _ in range(draws):
        some = [people[i] for i in rng.integers(len(people), size=len(people))]
        means.append(np.concatenate(some).mean())
    return [round(float(v), 4) for v in np.quantile(means, (0.025, 0.975))]


def _share(of: Iterable[Any]) -> float:
    values = [bool(one) for one in of]
    return round(float(np.mean(values)), 4) if values else 0.0


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
