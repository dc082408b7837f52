"""From closed moments to events and estimates: encode, add to the group's history, decide, apply rules; in a thread.

The context of a decision is `backend.model.history.History`, the class that the offline evaluation uses, so
streamed equals offline. A moment that the model cannot take raises nothing and stops nothing. The engine refuses to
know about the wire, acknowledgements and the database: it returns what is to be committed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from backend.answer import Answer, Decision, Estimation
from backend.metrics import Metrics
from backend.model.history import Context, History, StreamTokens
from backend.moment import Moment, StreamWindow
from backend.serve.align import Closed, GroupKey
from backend.serve.estimates import Estimates
from backend.serve.events import Episodes
from backend.serve.store import GroupState, Ruling
from backend.tasks import Classification, EventRule, Regression, Task
from broker.messages import Estimate, Event

log = logging.getLogger(__name__)


class Model(Protocol):
    """What the engine asks of a model; `backend.model.sensorlm.Predictor` is one."""

    digest: str
    slots: int
    thresholds: dict[str, float]
    tasks: dict[str, Task]

    def check(self, window: StreamWindow) -> None:
        """Raise an `IotlmError` for a window that the model cannot take."""

    def encode_windows(self, windows: Sequence[StreamWindow], slot_ns: int) -> list[StreamTokens]:
        """Tokens of every window, in order."""

    def decide(self, contexts: Sequence[Context]) -> list[dict[str, Answer]]:
        """Answers by task for every context, in order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch brings about: decisions by moment, events without offsets, estimates, and groups' new states."""

    decisions: list[Ruling]
    events: list[Event]
    estimates: list[Estimate]
    groups: dict[GroupKey, GroupState]


@dataclass(slots=True)
class _Group:
    slot: int
    history: History
    episodes: Episodes
    estimates: Estimates


class Engine:
    """The model and all groups' states.

    Args:
        model: encodes and decides.
        groups: states at the last commit.
        hop_ns: length of a slot.
        update_s: event time between two updates of an episode that goes on; 0 for none.
        tasks_of: by a group's name the tasks whose answers count (all are computed); all of the model's if not given.
    """

    def __init__(
        self,
        model: Model,
        groups: Mapping[GroupKey, GroupState],
        metrics: Metrics,
        *,
        hop_ns: int,
        update_s: float,
        tasks_of: Callable[[str], Collection[str]] | None = None,
    ) -> None:
        self._model, self._metrics, self._hop_ns, self._update_s = model, metrics, hop_ns, update_s
        self._tasks_of = tasks_of or (lambda _: model.tasks)
        classifications = {n: task for n, task in model.tasks.items() if isinstance(task, Classification)}
        self._rules = {n: served_rule(task.rule, model.thresholds.get(n)) for n, task in classifications.items()}
        self._none = {n: task.none_label for n, task in classifications.items()}
        self._regressions = {n: task for n, task in model.tasks.items() if isinstance(task, Regression)}
        self._groups: dict[GroupKey, _Group] = {}
        self._left: dict[GroupKey, list[Event]] = {}  # ends of what another model has left open
        for key, s in groups.items():
            episodes = Episodes(self._rules, self._none, s.model, self._update_s, s.episodes)
            if s.model == model.digest:
                self._groups[key] = _Group(s.slot, History.from_bytes(s.history), episodes, self._estimates())
            else:  # its tokens and labels mean nothing to this one
                self._groups[key] = self._afresh(s.slot)
                self._left[key] = episodes.finish(*key)

    def process(self, batch: Sequence[Closed]) -> Outcome:
        """Decide about a batch of what the aligner closed, in its order."""
        with self._metrics.engine_s.time():
            moments = [closed.moment for closed in batch if closed.moment is not None]
            decided = self._decide(moments)
            answers = dict(zip(map(id, moments), decided, strict=True))
            events: list[Event] = []
            estimates: list[Estimate] = []
            for closed in batch:
                if closed.moment is not None or closed.by == "gone":  # committed with the state that forgets them
                    events += self._left.pop(closed.group, [])
                if closed.moment is not None:
                    group, decisions, estimations = self._group(closed.group), *_by_kind(answers[id(closed.moment)])
                    tasks = self._tasks_of(closed.group.group)  # others may be on since before a start
                    events += group.episodes.finish(*closed.group, but=tasks)
                    events += group.episodes.step(closed.moment, decisions)
                    estimates += group.estimates.step(closed.moment, estimations)
                elif closed.by == "gone":
                    events += self._group(closed.group).episodes.finish(*closed.group)
        touched = {closed.group for closed in batch if closed.moment is not None or closed.by == "gone"}
        rulings = [
            Ruling(GroupKey(moment.site, moment.group), moment.slot, moment.t0, task, decision.label, decision.probs)
            for moment, found in zip(moments, decided, strict=True)
            for task, decision in _by_kind(found)[0].items()
        ]
        return Outcome(rulings, events, estimates, {key: self._state(key) for key in touched})

    def _decide(self, moments: Sequence[Moment]) -> list[dict[str, Answer]]:
        """Answers by task for every moment; a failing batch is taken apart to spare the innocent."""
        tokens = self._encode(moments)
        contexts = []
        for moment, rows in zip(moments, tokens, strict=True):
            group = self._group(GroupKey(moment.site, moment.group))
            group.history.add(rows)
            group.slot = moment.slot
            contexts.append(group.history.at(moment.slot))
        try:
            found = self._model.decide(contexts)
        except Exception:
            found = [self._decide_one(context) for context in contexts]
        return [
            {
                task: answers[task]
                for task in self._tasks_of(moment.group)
                if task in answers and _is_finite(answers[task])
            }
            for moment, answers in zip(moments, found, strict=True)
        ]

    def _encode(self, moments: Sequence[Moment]) -> list[list[StreamTokens]]:
        windows = [window for moment in moments for window in moment.windows]
        try:
            rows = iter(self._model.encode_windows(windows, self._hop_ns))
        except Exception:
            return [self._encode_one(moment) for moment in moments]
        return [[next(rows) for _ in moment.windows] for moment in moments]

    def _encode_one(self, moment: Moment) -> list[StreamTokens]:
        try:
            return self._model.encode_windows(moment.windows, self._hop_ns)
        except Exception:
            self._note_failure("encode", moment.slot)
            return []

    def _decide_one(self, context: Context) -> dict[str, Answer]:
        try:
            return self._model.decide([context])[0]
        except Exception:
            self._note_failure("decide", context.slot)
            return {}

    def _note_failure(self, stage: str, slot: int) -> None:
        self._metrics.failures.labels(stage).inc()
        log.exception("%s failed for a moment in slot %d; it raises no event", stage, slot)

    def _group(self, key: GroupKey) -> _Group:
        if key not in self._groups:
            self._groups[key] = self._afresh(-1)
        return self._groups[key]

    def _afresh(self, slot: int) -> _Group:
        episodes = Episodes(self._rules, self._none, self._model.digest, self._update_s)
        return _Group(slot, History(self._model.slots), episodes, self._estimates())

    def _estimates(self) -> Estimates:
        return Estimates(self._regressions, self._model.digest)

    def _state(self, key: GroupKey) -> GroupState:
        group = self._groups[key]
        return GroupState(group.slot, group.history.to_bytes(), group.episodes.state(), self._model.digest)


def served_rule(rule: EventRule, threshold: float | None) -> EventRule:
    """The task's rule with the checkpoint's own threshold; the lower one never lies above the upper."""
    on = rule.on if threshold is None else threshold
    return replace(rule, on=on, off=min(rule.off, on))


def _by_kind(answers: Mapping[str, Answer]) -> tuple[dict[str, Decision], dict[str, Estimation]]:
    """Answers by task: decisions, and estimations."""
    decisions = {task: answer for task, answer in answers.items() if isinstance(answer, Decision)}
    return decisions, {task: answer for task, answer in answers.items() if isinstance(answer, Estimation)}


def _is_finite(answer: Answer) -> bool:
    finite = math.isfinite(answer.confidence) if isinstance(answer, Decision) else np.isfinite(answer.values).all()
    return bool(finite) and all(map(math.isfinite, answer.attribution.values()))
