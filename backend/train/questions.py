"""Questions about people whom a checkpoint has not learned from, and the same after a counterfactual edit.

Wordings and compositions are those that were held out. An edit changes what was measured (weaker, later, without a
sensor) and not the question: what is right then, the program of the question says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from backend.answer import Decision
from backend.checkpoint import Checkpoint
from backend.data import DATASETS
from backend.data.aloud import counted, read_aloud
from backend.data.observed import observe
from backend.data.recording import Recording
from backend.dialogue.items import KINDS, Item, draw
from backend.dialogue.programs import Beside, Compared, Heard, Lacking, Meanwhile, Statistic, Total, When
from backend.dialogue.recall import recall
from backend.dialogue.situation import Situation
from backend.model.history import Context
from backend.model.sensorlm import Predictor
from backend.train.moments import context_at, labels_of
from broker.errors import DataError
from edge.clock import SECOND

EDITS = ("weaker", "later", "without")
"""Values by `WEAKER`, everything by `LATER_S`, or without the sensor that was asked about."""
WEAKER = 0.8
"""Below one: what every sensor can measure stays so."""
LATER_S = 2
_NO_SCALE = frozenset({"gps", "camera", "lidar"})
"""Senses whose values are places, or metadata: a share of them is nothing that is measured."""
_Spanned = Statistic | Compared | Total | When | Beside | Meanwhile | Heard
_EDITED = frozenset({"statistic", "comparison", "crossmodal", "localisation", "history"})


@dataclass(frozen=True)
class Asked:
    """An item about a moment of somebody; `truth` are labels by task, `head` what the heads decide.

    `slot` is the moment's, on the grid of event time.
    """

    item: Item
    situation: Situation
    context: Context
    person: str
    dataset: str
    slot: int
    truth: dict[str, str]
    head: dict[str, str]


@dataclass(frozen=True)
class Edited:
    """A question as it was asked, and after an edit that changes its right answer."""

    how: str
    before: Asked
    after: Asked


Labels = dict[str, dict[str, str]]
"""By task, labels in words."""


def questions(
    checkpoint: Checkpoint,
    predictor: Predictor,
    root: Path | None,
    console: Console,
    moments: int,
    most: int,
    seed: int,
) -> Iterator[tuple[list[Asked], list[Edited]]]:
    """By recording, all kinds alike, and edits of one moment's; of at most so many recordings of each set."""
    record, labels = checkpoint.record, labels_of(predictor)
    known = {name: {*roles["train"]} for name, roles in record.get("people", {}).items()}
    known |= {name: known.get(name, set()) | set(of) for name, of in record.get("start", {}).get("people", {}).items()}
    rng = np.random.default_rng([seed, 94])
    for name, people in known.items():
        row = DATASETS.get(name)
        if row is None:
            continue
        try:
            found = read_aloud(name, row.unseen or row.read, root, console)
        except DataError as error:
            console.print(f"left out: {error}", soft_wrap=True)
            continue
        others = [one for one in found if one.person not in people]
        chosen = [others[i] for i in sorted(rng.permutation(len(others))[:most])]
        with counted(f"{name}, asked about,", len(chosen), console) as done:
            for recording in chosen:
                asked = _about(recording, predictor, labels, moments, rng)
                yield asked, list(_edited(recording, asked, predictor, labels))
                done()


def _about(
    recording: Recording, predictor: Predictor, labels: Labels, moments: int, rng: np.random.Generator
) -> list[Asked]:
    observed = observe(recording, predictor.encoders)
    if observed is None:
        return []
    one, found = observed.sequence, []
    for i in sorted(rng.permutation(observed.there)[:moments].tolist()):
        context = context_at(one, i, predictor)
        truth = observed.truth(i, {task: words for task, words in labels.items() if task in one.targets})
        answers = predictor.decide([context])[0]
        head = {task: answer.label for task, answer in answers.items() if isinstance(answer, Decision)}
        situation = replace(
            observed.at(i, labels), decided={task: label for task, label in truth.items() if task in head}
        )
        for kind in KINDS:
            item = draw(situation, rng, kind=kind, held_out=True) if kind != "turns" else _turn(situation, rng)
            if item is not None:
                served = replace(situation, decided=head)
                found.append(Asked(item, served, context, one.person, one.dataset, one.slot + i, truth, head))
    return found


def _turn(situation: Situation, rng: np.random.Generator) -> Item | None:
    for _ in range(40):
        item = draw(situation, rng, held_out=True, kind=("statistic", "history")[int(rng.random() < 0.3)])
        if item is not None and item.before:
            return item
    return None


def _edited(recording: Recording, asked: list[Asked], predictor: Predictor, labels: Labels) -> Iterator[Edited]:
    """Of the last moment asked about, the questions whose right answer an edit changes."""
    some = [one for one in asked if one.slot == asked[-1].slot and one.item.kind in _EDITED and not one.item.before]
    for how, changed in (("weaker", weaker(recording)), ("later", later(recording))):
        observed = observe(changed, predictor.encoders) if some else None
        i = some[0].slot - observed.sequence.slot if observed is not None else -1
        if observed is None or i not in observed.there:
            continue
        context = context_at(observed.sequence, i, predictor)
        situation = observed.at(i, labels)
        for one in some:
            after = _after(one, replace(situation, decided=one.head), context)
            if after is not None:
                yield Edited(how, one, after)
    for one in some:
        lacking = _without(one)
        if lacking is not None:
            yield Edited("without", one, lacking)


def _after(asked: Asked, situation: Situation, context: Context) -> Asked | None:
    """The question after an edit; None where its right answer stays, or nothing was measured in its time, or that time
    is while something happened, which the edit may have moved.
    """
    program, whole = asked.item.program, (asked.situation.began, asked.situation.now)
    if isinstance(program, Statistic) and program.during:
        return None
    recalled = recall(asked.item.question, situation)
    if isinstance(program, _Spanned) and program.span == whole and recalled.understood.span is None:
        program = replace(program, span=(situation.began, situation.now))  # all that is known then
    was, now = asked.item.program.evaluate(asked.situation), program.evaluate(situation)
    if was is None or now is None or was.text == now.text:
        return None
    item = replace(asked.item, program=program, recalled=recalled)
    return replace(asked, item=item, situation=situation, context=context)


def _without(asked: Asked) -> Asked | None:
    """The question without the one sensor that it names: that there is none is the answer then."""
    statement = asked.item.program.evaluate(asked.situation)
    sensors = () if statement is None else statement.sensors
    words = set(re.findall(r"\w+", asked.item.question.casefold()))
    named = sensors and set(re.findall(r"\w+", f"{sensors[0].name} {sensors[0].placement}".casefold())) <= words
    if not named or len(sensors) != 1 or len(asked.situation.sensors) == 1:
        return None
    gone = asked.situation.names[sensors[0]]
    situation = replace(
        asked.situation,
        sensors={stream: own for stream, own in asked.situation.sensors.items() if stream != gone},
        readings=tuple(one for one in asked.situation.readings if one.stream != gone),
    )
    item = replace(
        asked.item,
        recalled=recall(asked.item.question, situation),
        program=Lacking(f"there is no {sensors[0].name}"),
        asked="refusal",
        kind="missing",
    )
    rest = tuple(row for row in asked.context.rows if row.key != gone)
    context = replace(asked.context, rows=rest) if rest else asked.context
    return replace(asked, item=item, situation=situation, context=context)


def weaker(recording: Recording) -> Recording:
    """The same with all values a fifth smaller."""
    tracks = tuple(
        track if track.stream.modality in _NO_SCALE else replace(track, scale=track.scale * WEAKER)
        for track in recording.tracks
    )
    return replace(recording, tracks=tracks)


def later(recording: Recording) -> Recording:
    """The same, two seconds later."""
    by = LATER_S * SECOND
    return replace(
        recording,
        tracks=tuple(replace(track, t=track.t + by) for track in recording.tracks),
        labels={task: truth.moved(lambda t: t + by) for task, truth in recording.labels.items()},
    )
