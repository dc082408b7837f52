"""From decisions about single moments to events of episodes: start, update, end.

A pure function of the decisions and of event time: threshold, hysteresis and cool-down come from the task's rule,
nothing from the wall clock. The state is plain data, so that the store can commit it with the decisions it
has seen. The module refuses to know about the wire, the store and how a decision was made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from backend.answer import Decision
from backend.moment import Moment
from backend.tasks import EventRule
from broker.messages import Event, Phase, event_id
from broker.modalities import MODALITIES
from edge.clock import SECOND

BREAK_NS = 5_000_000_000
"""An episode does not bridge a longer time without decisions, of event time."""
_MAX_FACTS, _MAX_NAME = 128, 256  # what a message may carry


def iso(time_ns: int) -> str:
    """Nanoseconds UTC as ISO 8601 with milliseconds, such as 2026-01-31T12:00:00.500Z."""
    whole, rest = divmod(time_ns, SECOND)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def ending(moment: Moment) -> int:
    """When the longest of a moment's windows ends, ns UTC."""
    return moment.t0 + round(max(MODALITIES[w.modality].window_s for w in moment.windows) * SECOND)


@dataclass(slots=True)
class Track:
    """One task's view of one group: the episode that is on, and what could become the next. Times are ns UTC."""

    label: str = ""  # of the episode that is on; empty: none
    episode: str = ""
    began: int = 0
    told: int = 0  # end of the window of the episode's newest event
    weak: int = 0  # windows running in which the episode's label was below `off`
    run_label: str = ""
    run: int = 0  # windows running in which `run_label` was at or above `on`
    run_began: int = 0
    last_t0: int = -BREAK_NS  # the newest decided window
    last_end: int = 0
    ended: dict[str, int] = field(default_factory=dict)  # label -> end of its last episode


@dataclass(frozen=True, slots=True)
class Change:
    """One step of an episode; `t0` identifies the deciding window, `time` and `began` are its end and beginning."""

    phase: Phase
    label: str
    confidence: float
    t0: int
    time: int
    began: int


def step(
    track: Track, rule: EventRule, none_label: str | None, decision: Decision, t0: int, end: int, update_ns: int
) -> list[Change]:
    """Advance a track by the decision about the window from `t0` to `end`.

    An episode that goes on is told again every `update_ns` of event time (0: never). The caller fills in the
    track's `episode` when a start is returned.
    """
    changes = []
    if t0 - track.last_t0 > BREAK_NS:
        changes += finish(track)
    _count(track, rule, none_label, decision, t0)
    if track.label and track.weak >= rule.min_windows:
        changes.append(Change("end", track.label, decision.probs[track.label], t0, end, track.began))
        track.ended[track.label], track.label, track.weak = end, "", 0
    if not track.label and track.run >= rule.min_windows and _has_cooled(track, rule, t0):
        track.label, track.began, track.told, track.weak = track.run_label, track.run_began, end, 0
        changes.append(Change("start", track.label, decision.confidence, t0, end, track.began))
    elif track.label and 0 < update_ns <= end - track.told:
        track.told = end
        changes.append(Change("update", track.label, decision.probs[track.label], t0, end, track.began))
    track.last_t0, track.last_end = t0, end
    return changes


def finish(track: Track) -> list[Change]:
    """End what is on because no decisions follow it: it lasted until the last one, whoever finds that out."""
    track.run_label, track.run, track.weak = "", 0, 0
    if not track.label:
        return []
    change = Change("end", track.label, 0.0, track.last_t0 + 1, track.last_end, track.began)
    track.ended[track.label], track.label = track.last_end, ""
    return [change]


def _count(track: Track, rule: EventRule, none_label: str | None, decision: Decision, t0: int) -> None:
    strong = decision.confidence >= rule.on and decision.label != none_label
    label = decision.label if strong else ""
    if label != track.run_label:
        track.run_label, track.run, track.run_began = label, 0, t0
    track.run = track.run + 1 if label else 0
    if track.label:
        track.weak = track.weak + 1 if decision.probs[track.label] < rule.off else 0


def _has_cooled(track: Track, rule: EventRule, t0: int) -> bool:
    ended = track.ended.get(track.run_label)
    return ended is None or t0 >= ended + rule.cooldown_s * 1e9


class Episodes:
    """All tracks of one group.

    Args:
        rules: by task, with the checkpoint's own thresholds.
        none: by task, the label that is no event, or None.
        model: digest of the model that decides.
        update_s: event time between two updates of an episode that goes on; 0 for none.
        state: what `state()` returned before.
    """

    def __init__(
        self,
        rules: Mapping[str, EventRule],
        none: Mapping[str, str | None],
        model: str,
        update_s: float,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._rules, self._none, self._model, self._update_ns = rules, none, model, round(update_s * 1e9)
        self._tracks = {task: Track(**values) for task, values in (state or {}).items()}

    def state(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {task: asdict(track) for task, track in self._tracks.items()}

    def step(self, moment: Moment, decisions: Mapping[str, Decision]) -> list[Event]:
        """The events that the decisions about a moment raise, and the ends of what none was about for long: the sense
        that it rests upon is silent while others go on. Their offset is still 0.
        """
        going_on = {task for task, track in self._tracks.items() if moment.t0 - track.last_t0 <= BREAK_NS}
        events = self.finish(moment.site, moment.group, but=going_on.union(decisions))
        end = ending(moment)
        facts = {f"{w.key}/{name}": value for w in moment.windows for name, value in w.facts.items()}
        facts = dict([(name, value) for name, value in facts.items() if len(name) <= _MAX_NAME][:_MAX_FACTS])
        trace = next((w.trace for w in moment.windows if w.trace), "")
        for task, decision in decisions.items():
            track = self._tracks.setdefault(task, Track())
            none = self._none[task]
            for change in step(track, self._rules[task], none, decision, moment.t0, end, self._update_ns):
                context = (decision.attribution, facts, trace) if change.time == end else ({}, {}, "")
                events.append(self._event(moment.site, moment.group, task, track, change, *context))
        return events

    def finish(self, site: str, group: str, but: Collection[str] = ()) -> list[Event]:
        """End what is on, but for these tasks: no decisions about it follow, or none that are told."""
        events = []
        for task, track in self._tracks.items():
            changes = [] if task in but else finish(track)
            events += [self._event(site, group, task, track, change, {}, {}, "") for change in changes]
        return events

    def _event(
        self,
        site: str,
        group: str,
        task: str,
        track: Track,
        change: Change,
        attribution: dict[str, float],
        facts: dict[str, float],
        trace: str,
    ) -> Event:
        own_id = event_id(site, group, task, change.t0, self._model, change.phase)
        if change.phase == "start":
            track.episode = own_id
        return Event(
            id=own_id,
            offset=0,
            site=site,
            group=group,
            task=task,
            phase=change.phase,
            label=change.label,
            confidence=min(max(change.confidence, 0.0), 1.0),
            time=iso(change.time),
            began=iso(change.began),
            duration_s=(change.time - change.began) / 1e9,
            episode=track.episode,
            attribution=attribution,
            facts=facts,
            model=self._model,
            trace=trace,
        )
