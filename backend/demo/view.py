"""What a person sees of a running system: devices, windows per second, events as they come.

It watches the wire as any subscriber could and refuses to know anything else, so what it shows is what is published.
On a terminal it redraws one screen; elsewhere it prints one line per event and a summary now and then.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from broker import topics
from broker.errors import MessageError
from broker.link import Link, Message
from broker.messages import Event, decode_event, decode_status

_EVENTS_SHOWN = 14
_RATE_OVER_S = 5.0
_SUMMARY_EVERY_S = 10.0

# What the simulated scene holds at a time (ns UTC) for a task: its label, or None where nothing is known.
Truth = Callable[[str, int], str | None]


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


class View:
    """State of the live view, fed with messages of the wire."""

    def __init__(self, footer: list[str], truth: Truth | None = None) -> None:
        self.devices: dict[str, DeviceRow] = {}
        self.events: deque[tuple[Event, str | None]] = deque(maxlen=_EVENTS_SHOWN)
        self.counts = {"windows": 0, "events": 0, "starts": 0, "right": 0, "judged": 0}
        self._footer, self._truth = footer, truth
        self._began = time.monotonic()

    async def follow(self, link: Link, console: Console) -> None:
        """Show what arrives until cancelled."""
        await link.subscribe(topics.STATUS_ALL, topics.FRAMES_ALL, topics.EVENTS_ALL)
        with self._screen(console) as refresh:
            ticker = asyncio.create_task(self._tick(refresh, console))
            try:
                async for message in link.messages():
                    event = self.take(message)
                    if event and not console.is_terminal:
                        console.print(self._line(event, self.events[-1][1]), soft_wrap=True)
            finally:
                ticker.cancel()

    def take(self, message: Message) -> Event | None:
        """Take one message in; the event if it is one. What cannot be read is passed over."""
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
                    row.streams = ", ".join(f"{s.modality} @ {s.placement}, {s.rate:g} Hz" for s in status.streams)
            elif isinstance(topic, topics.EventTopic):
                event = decode_event(message.payload)
                self._count(event)
                return event
        except MessageError:
            pass
        return None

    def summary(self) -> str:
        """One line about everything so far."""
        c = self.counts
        seconds = time.monotonic() - self._began
        windows, events = _counted(c["windows"], "window"), _counted(c["events"], "event")
        text = f"{windows} and {events} from {_counted(len(self.devices), 'device')} in {seconds:.0f} s"
        if c["judged"]:
            text += f"; {c['right']} of {c['judged']} starts agree with the simulated scene"
        return text

    def _count(self, event: Event) -> None:
        self.counts["events"] += 1
        truth = None
        if event.phase == "start":
            self.counts["starts"] += 1
            if self._truth and (truth := self._truth(event.task, _middle_ns(event))) is not None:
                self.counts["judged"] += 1
                self.counts["right"] += truth == event.label
        self.events.append((event, truth))

    @contextlib.contextmanager
    def _screen(self, console: Console) -> Iterator[Callable[[], None]]:
        if not console.is_terminal:
            yield lambda: None
            return
        with Live(self._render(), console=console, screen=False, auto_refresh=False, transient=True) as live:
            yield lambda: live.update(self._render(), refresh=True)

    async def _tick(self, refresh: Callable[[], None], console: Console) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.25)
            refresh()
            if not console.is_terminal and time.monotonic() - last >= _SUMMARY_EVERY_S:
                last = time.monotonic()
                console.print(self.summary(), soft_wrap=True)

    def _render(self) -> RenderableType:
        now = time.monotonic()
        devices = Table(expand=True, box=None, pad_edge=False)
        for title in ("device", "state", "sends", "windows", "per second"):
            devices.add_column(title, justify="right" if title in ("windows", "per second") else "left")
        for name, row in sorted(self.devices.items()):
            colour = "green" if row.state == "online" else "red"
            devices.add_row(name, f"[{colour}]{row.state}[/]", row.streams, str(row.windows), f"{row.rate(now):.1f}")
        events = Table(expand=True, box=None, pad_edge=False)
        for title in ("time", "task", "phase", "event", "sure", "heard or felt by", "scene"):
            events.add_column(title, justify="right" if title == "sure" else "left", no_wrap=True)
        for event, truth in reversed(self.events):
            events.add_row(*self._cells(event, truth), style="dim" if event.phase == "update" else "")
        return Group(
            Panel(devices, title="devices"),
            Panel(events, title="events, newest first"),
            Text(self.summary(), style="bold"),
            *[Text(line, style="dim") for line in self._footer],
        )

    def _cells(self, event: Event, truth: str | None) -> list[str]:
        mark = "" if truth is None else "[green]✓[/]" if truth == event.label else f"[red]{truth}[/]"
        return [
            _clock(event.time), event.task, event.phase, event.label, f"{event.confidence:.0%}", _sources(event), mark
        ]  # fmt: skip

    def _line(self, event: Event, truth: str | None) -> str:
        seen = "" if truth is None else "  (as in the scene)" if truth == event.label else f"  (scene: {truth})"
        return (
            f"{_clock(event.time)}  {event.task}  {event.phase:<6}  {event.label:<14}  "
            f"{event.confidence:4.0%}  {_sources(event)}{seen}"
        )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _clock(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")


def _sources(event: Event) -> str:
    ranked = sorted(event.attribution.items(), key=lambda item: -item[1])
    return " ".join(f"{stream} {weight:.0%}" for stream, weight in ranked if weight >= 0.01)


def _middle_ns(event: Event) -> int:
    """Middle of the window that decided, which the label is about; windows are one second long."""
    return int(datetime.fromisoformat(event.time).timestamp() * 1e9) - 500_000_000
