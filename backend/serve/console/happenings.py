"""The pane of events: what is decided now and what the gate weighs for it, a time line, and the newest events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import tzinfo

from nicegui import ui

from backend.serve.align import GroupKey
from backend.serve.console.charts import Options, Span, bars, bars_height, weights, weights_height
from backend.serve.console.desk import MINUTES, Desk
from backend.serve.console.parts import box, clock, pane, set_text, span_words, text
from backend.serve.situations import FRESH_S
from broker.messages import Event
from edge.clock import SECOND

_MOST_EVENTS = 10
_MOST_STREAMS = 16


class Happenings:
    """What happens to a group."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._key: GroupKey | None = None
        self._mark: Span | None = None
        self._now: dict[str, tuple[ui.label, ui.label]] = {}
        with pane("events", "Events"):
            self._decided = box("now")
            with box("held") as self._hint:
                self._when = text("")
                ui.button("Back to live", on_click=self._release).props("flat dense no-caps size=sm")
            self._hint.set_visibility(False)
            text(f"The last {MINUTES} minutes", "sub")
            self._line = ui.echart({"series": []}).classes("chart").style("height: 100px")
            with box("") as self._gate:
                text("Weight of each stream in what is decided now (the gate)", "sub")
                self._weights = ui.echart({"series": []}).classes("chart").style("height: 100px")
            self._gate.set_visibility(False)
            text("Newest events", "sub")
            with box("events"):
                self._events = [_Row() for _ in range(_MOST_EVENTS)]
            self._note = text("Nothing has happened yet.", "note")

    def turn_to(self, key: GroupKey) -> None:
        """Look at another group."""
        self._key, self._mark = key, None
        self._hint.set_visibility(False)
        self._decided.clear()
        self._now = {}

    def mark(self, span: Span) -> None:
        """Mark a time on the time line, which goes there."""
        self._mark = span
        ui.run_javascript(f"document.getElementById('{self._line.html_id}').scrollIntoView({{block: 'center'}})")

    async def update(self, zone: tzinfo) -> None:
        """Show what has changed."""
        assert self._key is not None
        key, words = self._key, self._desk.words()
        _, end = self._desk.minute(key)
        live = end - MINUTES * 60 * SECOND, end
        mark, span = self._mark, live
        if mark is not None:
            set_text(self._when, f"Evidence, {span_words(*mark, zone)}")
            self._hint.set_visibility(True)
            span = _around(live, mark)
        found = await self._desk.episodes(key, span if span != live else None)
        if key != self._key:  # the page has turned to another group meanwhile
            return

        def line() -> tuple[Options, int]:
            shown = [one for one in found if one.began <= span[1] and (one.ended or end) >= span[0]]
            return bars(shown, words, span, mark), bars_height(shown)

        _redraw(self._line, *(line() if mark is not None else self._desk.once(("line", key), line)))
        self._decide(words)
        self._list_events(await self._desk.events(key), words, zone)

    def _release(self) -> None:
        self._mark = None
        self._hint.set_visibility(False)

    def _decide(self, words: Mapping[str, Mapping[str, str]]) -> None:
        assert self._key is not None
        decided = self._desk.decisions(self._key)
        if not self._now.keys() <= decided.keys():
            self._decided.clear()
            self._now = {}
        old = time.time() - FRESH_S
        for task, (decision, t0) in decided.items():
            if task not in self._now:
                with self._decided, box("decision"):
                    text(_spoken(task), "task")
                    self._now[task] = text("", "label"), text("", "share")
            label, share = self._now[task]
            set_text(label, words.get(task, {}).get(decision.label, decision.label))
            set_text(share, f"{decision.confidence:.0%}" + ("" if t0 / SECOND > old else ", some time ago"))
        weighed = {task: one.attribution for task, (one, _) in decided.items() if one.attribution}
        self._gate.set_visibility(bool(weighed))
        if weighed:
            _redraw(self._weights, *self._desk.once(("weights", self._key), lambda: _weighed(weighed)))

    def _list_events(self, events: Sequence[Event], words: Mapping[str, Mapping[str, str]], zone: tzinfo) -> None:
        told = [event for event in events if event.phase != "update"][: -_MOST_EVENTS - 1 : -1]
        self._note.set_visibility(not told)
        for i, row in enumerate(self._events):
            row.show(told[i] if i < len(told) else None, words, zone)


class _Row:
    """A line of the list; rows stay, and their words change."""

    def __init__(self) -> None:
        self._id = ""
        with box("event") as self._box:
            self._when = text("", "when")
            with box("what"):
                self._label, self._about = text("", "label"), text("", "task")
        self._box.set_visibility(False)

    def show(self, event: Event | None, words: Mapping[str, Mapping[str, str]], zone: tzinfo) -> None:
        if event is None or event.id == self._id:
            self._box.set_visibility(event is not None)
            return
        self._id = event.id
        self._box.set_visibility(True)
        begins = event.phase == "start"
        label = words.get(event.task, {}).get(event.label, event.label)
        set_text(self._when, clock(event.time, zone))
        set_text(self._label, f"{label} {'begins' if begins else 'ends'}")
        more = f"{event.confidence:.0%}" if begins else f"since {clock(event.began, zone)}"
        set_text(self._about, f"{_spoken(event.task)}, {more}")


def _redraw(chart: ui.echart, options: Options, pixels: int) -> None:
    chart.options.clear()
    chart.options.update(options)
    chart.style(f"height: {pixels}px")
    chart.update()


def _weighed(weighed: Mapping[str, Mapping[str, float]]) -> tuple[Options, int]:
    """The table of weights by task and stream, and its height."""
    total = Counter[str]()
    for each in weighed.values():
        total.update(each)
    rows, columns = sorted(key for key, _ in total.most_common(_MOST_STREAMS)), list(weighed)
    values = {
        (row, column): weighed[task][key]
        for row, key in enumerate(rows)
        for column, task in enumerate(columns)
        if key in weighed[task]
    }
    return weights(rows, [_spoken(task) for task in columns], values), weights_height(len(rows))


def _around(span: Span, mark: Span) -> Span:
    """A time line that has the mark in it."""
    if mark[0] >= span[0] and mark[1] <= span[1]:
        return span
    room = max((mark[1] - mark[0]) // 4, 60 * SECOND)
    return mark[0] - room, mark[1] + room


def _spoken(task: str) -> str:
    return task.replace("-", " ")
