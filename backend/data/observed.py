"""What is known of a labelled recording at a moment of it: the situation that questions about it are asked of.

Facts are those that a device would have sent with its windows; what happened is what the labels say. It knows nothing
of models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backend.data.recording import Recording, Sequence, Series, sequence
from backend.dialogue.programs import none_label
from backend.dialogue.situation import Happening, Reading, Situation, named
from backend.dialogue.words import Sensor
from backend.moment import facts_of
from backend.tasks import TASKS, Classification
from broker.modalities import MODALITIES

LOOKS_BACK_S = 60
"""Seconds before a moment of which windows are known."""
EVERY_S = 1.0
"""A window's facts are asked for at most this often: windows overlap by half."""


@dataclass(frozen=True)
class Observed:
    """A recording's windows and labels, cut; facts are computed when they are first asked for."""

    sequence: Sequence
    _facts: dict[tuple[str, int], Mapping[str, float]] = field(default_factory=dict, repr=False)

    @cached_property
    def sensors(self) -> dict[str, Sensor]:
        """By stream."""
        return named((one.key, one.modality, one.placement) for one in self._series)

    @property
    def _series(self) -> list[Series]:
        return [one for one in self.sequence.series if one.modality in MODALITIES and not one.encoded]

    @cached_property
    def happenings(self) -> tuple[Happening, ...]:
        """What the labels tell, in order of time."""
        found = []
        for name in self.sequence.targets:
            task = TASKS[name]
            if not isinstance(task, Classification):
                continue
            index = self.sequence.majority(name)
            edges = np.flatnonzero(np.diff(index)) + 1
            for low, high in zip([0, *edges], [*edges, len(index)], strict=True):
                label = task.labels[index[low]] if index[low] >= 0 else None
                if label is not None and label != none_label(name):
                    found.append(Happening(name, label, self._time(int(low)), self._time(int(high))))
        return tuple(sorted(found, key=lambda one: (one.began, one.ended)))

    @property
    def there(self) -> NDArray[np.int64]:
        """The slots in which a stream has a window."""
        return np.flatnonzero(np.any([one.present for one in self._series], axis=0))

    def _time(self, i: int) -> int:
        return (self.sequence.slot + i) * self.sequence.hop_ns

    def at(self, i: int, labels: Mapping[str, Mapping[str, str]]) -> Situation:
        """What is known when slot i has just ended. `labels`: by task, those that can be told, in words."""
        now = self._time(i + 2)
        first = max(0, i - round(LOOKS_BACK_S * 1e9 / self.sequence.hop_ns))
        step = max(1, round(EVERY_S * 1e9 / self.sequence.hop_ns))
        readings = []
        for one in self._series:
            for slot in range(i, first - 1, -step):
                if one.present[slot]:
                    told = self._told(one, slot)
                    if told:
                        readings.append(Reading(one.key, self.sensors[one.key], self._time(slot), told))
        there = {one.stream for one in readings}
        known = {task: words for task, words in labels.items() if task in self.sequence.targets}
        happened = [replace(h, ended=min(h.ended, now)) for h in self.happenings if h.began < now and h.task in known]
        oldest = min((one.t0 for one in readings), default=now)
        return Situation(
            sensors={key: sensor for key, sensor in self.sensors.items() if key in there},
            readings=tuple(sorted(readings, key=lambda one: one.t0)),
            now=now,
            happenings=tuple(replace(h, began=max(h.began, oldest)) for h in happened if h.ended > oldest),
            labels=known,
            decided=self.truth(i, known),
            hop=self.sequence.hop_ns,
        )

    def truth(self, i: int, labels: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """By task the label of slot i, where it is known."""
        found = {}
        for name in labels:
            task = TASKS[name]
            assert isinstance(task, Classification)
            index = int(self.sequence.majority(name)[i])
            if index >= 0 and task.labels[index] in labels[name]:
                found[name] = task.labels[index]
        return found

    def _told(self, series: Series, slot: int) -> Mapping[str, float]:
        if (series.key, slot) not in self._facts:
            seen = series.window(slot, self.sequence.slot + slot, self.sequence.hop_ns)
            self._facts[series.key, slot] = facts_of(seen)
        return self._facts[series.key, slot]


def observe(recording: Recording, senses: Collection[str], shift_ns: int = 0) -> Observed | None:
    """A recording as these senses see it, on the grid of event time; None where they see no whole window."""
    one = sequence(recording, shift_ns)
    series = tuple(s for s in one.series if s.modality in senses) if one is not None else ()
    return Observed(replace(one, series=series)) if one is not None and series else None
