"""From closed moments to events and estimates: encode, add to the group's history, decide, apply rules; in a thread.

The context of a decision is `backend.model.history.History`, the class that the offline evaluation uses, so
streamed equals offline. A moment that the model cannot take raises nothing and stops nothing. What it decided last of
a group may be read by any thread. The engine refuses to know about the wire, acknowledgements and the database: it
returns what is to be committed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from backend.answer import Answer, Decision, Estimation
from backend.metrics import Metrics
from backend.model.history import Context, History, StreamTokens
from backend.moment import Moment, StreamWindow, facts_of
from backend.serve.align import Closed, GroupKey
from backend.serve.estimates import Estimates
from backend.serve.events import BREAK_NS, Episodes, ending
from backend.serve.past import Measured
from backend.serve.store import GroupState, Ruling
from backend.tasks import Classification, EventRule, Regression, Task
from broker.messages import Estimate, Event
from broker.modalities import READABLE
from edge.facts import FACTS

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
    """What a batch brings about: decisions by moment, events without offsets, estimates, and groups' new states; and
    the facts of its windows.
    """

    decisions: list[Ruling]
    events: list[Event]
    estimates: list[Estimate]
    groups: dict[GroupKey, GroupState]
    measured: list[Measured]


@dataclass(frozen=True, slots=True)
class Newest:
    """What was decided last of a group: the context that it was decided from, and by task the decision and the time of
    its moment, ns UTC. `end` is when its newest window ends, ns UTC, and `seen` when that was decided, by the engine's
    clock; None where it was before a start.
    """

    context: Context
    end: int
    seen: float | None = None
    decisions: Mapping[str, tuple[Decision, int]] = field(default_factory=dict)


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
        busy: entered while a batch is decided.
        clock: monotonic seconds.
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
        busy: AbstractContextManager[object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._metrics, self._hop_ns, self._update_s = model, metrics, hop_ns, update_s
        self.tasks_of = tasks_of or (lambda _: model.tasks)
        self._busy, self._clock = busy or nullcontext(), clock
        self.newest: dict[GroupKey, Newest] = {}
        classifications = {n: task for n, task in model.tasks.items() if isinstance(task, Classification)}
        self._rules = {n: served_rule(task.rule, model.thresholds.get(n)) for n, task in classifications.items()}
        self._none = {n: task.none_label for n, task in classifications.items()}
        self._regressions = {n: task for n, task in model.tasks.items() if isinstance(task, Regression)}
        self._groups: dict[GroupKey, _Group] = {}
        self._left: dict[GroupKey, list[Event]] = {}  # ends of what another model has left open
        for key, s in groups.items():
            episodes = Episodes(self._rules, self._none, s.model, self._update_s, s.episodes)
            if s.model == model.digest:
                self._groups[key] = group = _Group(s.slot, History.from_bytes(s.history), episodes, self._estimates())
                self.newest[key] = Newest(group.history.at(s.slot), (s.slot + 1) * hop_ns)
            else:  # its tokens and labels mean nothing to this one
                self._groups[key] = self._afresh(s.slot)
                self._left[key] = episodes.finish(*key)
                self.newest[key] = Newest(Context(s.slot, ()), (s.slot + 1) * hop_ns)

    def process(self, batch: Sequence[Closed]) -> Outcome:
        """Decide about a batch of what the aligner closed, in its order."""
        with self._busy, self._metrics.engine_s.time():
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
                    tasks = self.tasks_of(closed.group.group)  # others may be on since before a start
                    events += group.episodes.finish(*closed.group, but=tasks)
                    events += group.episodes.step(closed.moment, decisions)
                    estimates += group.estimates.step(closed.moment, estimations)
                    self._remember(closed.group, closed.moment, decisions)
                elif closed.by == "gone":
                    events += self._group(closed.group).episodes.finish(*closed.group)
        touched = {closed.group for closed in batch if closed.moment is not None or closed.by == "gone"}
        rulings = [
            Ruling(GroupKey(moment.site, moment.group), moment.slot, moment.t0, task, decision.label, decision.probs)
            for moment, found in zip(moments, decided, strict=True)
            for task, decision in _by_kind(found)[0].items()
        ]
        measured = [one for moment in moments for one in self._measure(moment)]
        return Outcome(rulings, events, estimates, {key: self._state(key) for key in touched}, measured)

    def _measure(self, moment: Moment) -> list[Measured]:
        try:
            return measured_in(moment)
        except Exception:
            self._note_failure("facts", moment.slot)
            return []

    def _remember(self, key: GroupKey, moment: Moment, decisions: Mapping[str, Decision]) -> None:
        """What is newest of a group. A task that is not asked in every slot keeps its answer as an episode would."""
        before = self.newest[key].decisions if key in self.newest else {}
        kept = {task: one for task, one in before.items() if moment.t0 - one[1] <= BREAK_NS}
        kept |= {task: (decision, moment.t0) for task, decision in decisions.items()}
        context = self._group(key).history.at(moment.slot)
        self.newest[key] = Newest(context, ending(moment), self._clock(), kept)

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
                for task in self.tasks_of(moment.group)
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


def measured_in(moment: Moment) -> list[Measured]:
    """The facts of a moment's windows that are ours and finite; where a series came without any, as they are computed
    of it. Of a frame that would take too long.
    """
    found = []
    for window in moment.windows:
        told: Mapping[str, float] = {name: value for name, value in window.facts.items() if name in FACTS}
        if not told and READABLE[window.modality].axes == ("time",):
            told = facts_of(window)
        kept = {name: float(value) for name, value in told.items() if math.isfinite(value)}
        key = GroupKey(moment.site, moment.group)
        found.append(Measured(key, window.t0, window.key, window.modality, window.placement, kept))
    return found


def _by_kind(answers: Mapping[str, Answer]) -> tuple[dict[str, Decision], dict[str, Estimation]]:
    """Answers by task: decisions, and estimations."""
    decisions = {task: answer for task, answer in answers.items() if isinstance(answer, Decision)}
    return decisions, {task: answer for task, answer in answers.items() if isinstance(answer, Estimation)}


def _is_finite(answer: Answer) -> bool:
    finite = math.isfinite(answer.confidence) if isinstance(answer, Decision) else np.isfinite(answer.values).all()
    return bool(finite) and all(map(math.isfinite, answer.attribution.values()))
