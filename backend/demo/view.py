"""What a person sees of a running system: devices, windows per second, events and estimates as they come.

It watches the wire as any subscriber could and refuses to know anything else but what a `Judge` says of the simulated
scene. With a judge, only the scene's tasks are shown: a model answers all that its sensors permit, and where the driver
of a car looks on a screen is no question. On a terminal it redraws one screen; elsewhere it prints one line per event,
now and then one per task of estimates, and a summary.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backend.demo.judge import Judge
from backend.demo.words import amount, said, sent, sources
from broker import topics
from broker.errors import MessageError
from broker.link import Link, Message
from broker.messages import Estimate, Event, decode_estimate, decode_event, decode_status

_EVENTS_SHOWN, _FEWEST_EVENTS_SHOWN = 14, 3
_RATE_OVER_S = 5.0
_SUMMARY_EVERY_S = 10.0
_ESTIMATE_EVERY_S = 5.0  # of a task, where lines are printed


@dataclass
class DeviceRow:
    """One line of the table of devices."""

    state: str = "?"
    streams: str = ""
    windows: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=1000))

    def rate(self, now: float) -> float:
        """Windows per second over the last seconds."""
        while self.recent and self.recent[0] < now - _RATE_OVER_S:
            self.recent.popleft()
        return len(self.recent) / _RATE_OVER_S


@dataclass
class EstimateRow:
    """One task's newest estimate, and how far all of them were off, beside a constant answer; `off` of the newest."""

    newest: Estimate
    count: int = 0
    judged: int = 0
    off: float | None = None
    total: float = 0.0
    constant: float = 0.0
    printed: float = float("-inf")

    def means(self) -> tuple[float, float] | None:
        """Mean error of the estimates and of the constant answer, once there is a truth."""
        return (self.total / self.judged, self.constant / self.judged) if self.judged else None


class View:
    """State of the live view, fed with messages of the wire; `judge` knows the truth, where there is one."""

    def __init__(self, footer: list[str], judge: Judge | None = None) -> None:
        self.devices: dict[str, DeviceRow] = {}
        self.events: deque[tuple[Event, str | None]] = deque(maxlen=_EVENTS_SHOWN)
        self.estimates: dict[str, EstimateRow] = {}
        self.counts = {"windows": 0, "events": 0, "starts": 0, "right": 0, "judged": 0}
        self._footer, self._judge = footer, judge
        self._began = time.monotonic()

    async def follow(self, link: Link, console: Console) -> None:
        """Show what arrives until cancelled."""
        await link.subscribe(topics.STATUS_ALL, topics.FRAMES_ALL, topics.EVENTS_ALL, topics.ESTIMATES_ALL)
        with self._screen(console) as refresh:
            ticker = asyncio.create_task(self._tick(refresh, console))
            try:
                async for message in link.messages():
                    taken = self.take(message)
                    if taken and not console.is_terminal and (line := self._news(taken)):
                        console.print(_plain(line), soft_wrap=True)
            finally:
                ticker.cancel()

    def take(self, message: Message) -> Event | Estimate | None:
        """Take one message in; the event or estimate if it is one to show. What cannot be read is passed over."""
        try:
            topic = topics.parse(message.topic)
            if isinstance(topic, topics.FrameTopic):
                row = self.devices.setdefault(topic.device, DeviceRow())
                row.windows += 1
                row.recent.append(time.monotonic())
                self.counts["windows"] += 1
            elif isinstance(topic, topics.StatusTopic) and message.payload:
                status = decode_status(message.payload)
                row = self.devices.setdefault(topic.device, DeviceRow())
                row.state = status.state
                if status.streams:
                    row.streams = sent(status.streams)
            elif isinstance(topic, topics.EventTopic | topics.EstimateTopic):
                if self._judge and topic.task not in self._judge.tasks:
                    return None
                is_event = isinstance(topic, topics.EventTopic)
                told = decode_event(message.payload) if is_event else decode_estimate(message.payload)
                _clock(told.time)
                if told.task == topic.task:
                    return self._event(told) if isinstance(told, Event) else self._estimate(told)
        except (MessageError, ValueError, OverflowError):  # the latter two: a time that is none
            pass
        return None

    def progress(self) -> str:
        """How much has come so far."""
        c = self.counts
        seconds = time.monotonic() - self._began
        windows, events = _counted(c["windows"], "window"), _counted(c["events"], "event")
        text = f"{windows} and {events} from {_counted(len(self.devices), 'device')} in {seconds:.0f} s"
        if c["judged"]:
            text += f"; {c['right']} of {c['judged']} starts agree with the simulated scene"
        return text

    def summary(self) -> str:
        """One line about everything so far."""
        parts = [self.progress()]
        for task, row in sorted(self.estimates.items()):
            if self._judge and (means := row.means()):
                unit = self._judge.metric(task)[1]
                mean, constant = map(amount, means)
                parts.append(f"{task} off by {mean} {unit} on average (a constant answer {constant} {unit})")
            else:
                parts.append(f"{row.count} of {task}")
        if self.counts["windows"] and not (self.counts["events"] or self.estimates):
            parts.append("nothing was decided yet: a busy machine takes long to load the model, so let it run longer")
        return "; ".join(parts)

    def _event(self, event: Event) -> Event:
        truth = self._judge.label(event) if self._judge and event.phase == "start" else None
        self.counts["events"] += 1
        self.counts["starts"] += event.phase == "start"
        if truth is not None:
            self.counts["judged"] += 1
            self.counts["right"] += truth == event.label
        self.events.append((event, truth))
        return event

    def _estimate(self, estimate: Estimate) -> Estimate:
        error = self._judge.error(estimate) if self._judge else None
        row = self.estimates.setdefault(estimate.task, EstimateRow(estimate))
        row.newest, row.off = estimate, error.off if error else None
        row.count += 1
        if error:
            row.judged += 1
            row.total += error.off
            row.constant += error.constant
        return estimate

    @contextlib.contextmanager
    def _screen(self, console: Console) -> Iterator[Callable[[], None]]:
        if not console.is_terminal:
            yield lambda: None
            return
        with Live(self._render(console), console=console, screen=False, auto_refresh=False, transient=True) as live:
            yield lambda: live.update(self._render(console), refresh=True)

    async def _tick(self, refresh: Callable[[], None], console: Console) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            refresh()
            if not console.is_terminal and time.monotonic() - last >= _SUMMARY_EVERY_S:
                last = time.monotonic()
                console.print(self.progress(), soft_wrap=True)

    def _render(self, console: Console) -> RenderableType:
        parts: list[RenderableType] = [Panel(self._device_table(), title="devices")]
        if self.estimates:
            parts.append(Panel(self._estimate_table(), title="estimates"))
        rows = len(self.devices) + len(self.estimates) + 3 * (len(parts) + 1) + len(self._footer) + 2
        shown = max(_FEWEST_EVENTS_SHOWN, min(_EVENTS_SHOWN, console.height - rows))
        parts.append(Panel(self._event_table(shown), title="events, newest first"))
        return Group(*parts, Text(self.progress(), style="bold"), *[Text(line, style="dim") for line in self._footer])

    def _device_table(self) -> Table:
        table = _table({"device": "left", "state": "left", "sends": "fill", "windows": "right", "per s": "right"})
        now = time.monotonic()
        for name, row in sorted(self.devices.items()):
            state = Text(row.state, "green" if row.state == "online" else "red")
            table.add_row(name, state, _plain(row.streams), str(row.windows), f"{row.rate(now):.1f}")
        return table

    def _estimate_table(self) -> Table:
        columns = {"task": "left", "estimate": "left", "off by": "right", "mean": "right", "constant": "right"}
        table = _table(
            {**(columns if self._judge else {"task": "left", "estimate": "left"}), "seen or felt by": "fill"}
        )
        for task, row in sorted(self.estimates.items()):
            cells = [task, said(row.newest)]
            if self._judge:
                cells += [self._off(row) or "no truth", *map(amount, row.means() or ())]
                cells += [""] * (len(columns) - len(cells))
            table.add_row(*map(_plain, cells), _plain(sources(row.newest.attribution)))
        return table

    def _event_table(self, shown: int) -> Table:
        columns = {"time": "left", "task": "left", "phase": "left", "event": "left", "sure": "right"}
        scene = {"scene": "left"} if self._judge else {}
        table = _table({**columns, "heard, seen or felt by": "fill", **scene})
        for event, truth in list(reversed(self.events))[:shown]:
            cells = [_clock(event.time), event.task, event.phase, event.label, f"{event.confidence:.0%}"]
            row = [*map(_plain, cells), _plain(sources(event.attribution))]
            if self._judge:
                right = truth == event.label
                row.append(Text("✓" if right and truth else truth or "", "green" if right else "red"))
            table.add_row(*row, style="dim" if event.phase == "update" else "")
        return table

    def _off(self, row: EstimateRow) -> str:
        """How far the newest estimate is off, with the metric's name and unit; empty where nobody knows."""
        if row.off is None or self._judge is None:
            return ""
        kind, unit = self._judge.metric(row.newest.task)
        return f"{amount(row.off)} {unit} {kind}".strip()

    def _news(self, taken: Event | Estimate) -> str | None:
        """A line about what has just been taken; None where the task's last one was a moment ago."""
        if isinstance(taken, Event):
            return self._event_line(taken, self.events[-1][1])
        row, now = self.estimates[taken.task], time.monotonic()
        if now - row.printed < _ESTIMATE_EVERY_S:
            return None
        row.printed = now
        return self._estimate_line(row)

    def _event_line(self, event: Event, truth: str | None) -> str:
        seen = "" if truth is None else "  (as in the scene)" if truth == event.label else f"  (scene: {truth})"
        return (
            f"{_clock(event.time)}  {event.task}  {event.phase:<6}  {event.label:<14}  "
            f"{event.confidence:4.0%}  {sources(event.attribution)}{seen}"
        )

    def _estimate_line(self, row: EstimateRow) -> str:
        text = f"{_clock(row.newest.time)}  {row.newest.task}  {said(row.newest)}  {sources(row.newest.attribution)}"
        if self._judge is None:
            return text
        means = row.means()
        so_far = f"; mean {amount(means[0])}, a constant answer {amount(means[1])}" if means else ""
        off = self._off(row)
        return f"{text}  ({f'off by {off}' if off else 'no truth'}{so_far})"


def _table(columns: Mapping[str, str]) -> Table:
    """A table without lines, as wide as the terminal: columns "left" and "right" as wide as they need, "fill" the rest.

    Rows stay rows: what does not fit ends in dots.
    """
    table = Table(expand=True, box=None, pad_edge=False)
    for title, kind in columns.items():
        ratio = 1 if kind == "fill" else None
        table.add_column(title, justify="right" if kind == "right" else "left", no_wrap=True, ratio=ratio)
    return table


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _plain(text: str) -> Text:
    """Words off the wire: one line without markup, whatever is in them."""
    return Text("".join(letter if letter.isprintable() else "?" for letter in text))


def _clock(text: str) -> str:
    """The time of day here. Raises ValueError or OverflowError for what is no time."""
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")
