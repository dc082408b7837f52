"""The pane of devices: who is there, what each sends, and how it is."""

from __future__ import annotations

import time

from nicegui import ui

from backend.serve.align import GroupKey
from backend.serve.console.desk import Desk
from backend.serve.console.parts import ago, box, pane, set_text, text
from backend.serve.recent import Health
from broker.messages import StreamInfo

_MOST_DEVICES, _MOST_STREAMS = 50, 32
_FIGURES = ("windows/s", "last window", "on their way", "lost", "late")


class Devices:
    """The devices of a group."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._key: GroupKey | None = None
        self._rows: dict[str, _Row] = {}
        with pane("devices", "Devices"):
            self._list = box("devices")
            with ui.expansion("Messages that could not be used").classes("refused") as self._refused:
                self._letters = [text("", "letter") for _ in range(5)]
        self._refused.set_visibility(False)

    def turn_to(self, key: GroupKey) -> None:
        """Look at another group."""
        self._key = key
        self._list.clear()
        self._rows = {}

    def update(self) -> None:
        """Show what has changed."""
        assert self._key is not None
        found = {health.device: (health, pending) for health, pending in self._desk.devices(self._key)[:_MOST_DEVICES]}
        if any(name not in found or row.streams != _streams(found[name][0]) for name, row in self._rows.items()):
            self._list.clear()
            self._rows = {}
        for name, (health, pending) in found.items():
            if name not in self._rows:
                with self._list:
                    self._rows[name] = _Row(health)
            self._rows[name].update(health, pending)
        refused = self._desk.refused()
        self._refused.set_visibility(bool(refused))
        for i, letter in enumerate(self._letters):
            set_text(letter, refused[i] if i < len(refused) else "")


class _Row:
    def __init__(self, health: Health) -> None:
        self.streams = _streams(health)
        with box("device"):
            with box("device-top"):
                self._dot = box("dot")
                text(health.device, "card-name")
                self._word = text("", "card-about")
            with box("figures"):
                self._figures = []
                for name in _FIGURES:
                    with box("figure"):
                        self._figures.append(text("", "number"))
                        text(name, "task")
            for info in self.streams[:_MOST_STREAMS]:
                encoder = f", tokens of encoder {info.encoder[:12]}" if info.encoder else ""
                name = info.name if info.name == info.modality else f"{info.name}, {info.modality}"
                text(f"{name} at {info.placement}, {_rate(info.rate)}{encoder}", "stream")

    def update(self, health: Health, pending: int) -> None:
        now = time.time()
        said = health.status
        state = "bad" if said is not None and said.state == "offline" else "ok" if said is not None else "wait"
        self._dot.classes(replace=f"dot {state}")
        word = {"ok": "online", "bad": "offline", "wait": "has given no status"}[state]
        set_text(self._word, f"{word}, version {said.version}" if said is not None and said.version else word)
        heard = ago(now - health.heard) if health.heard else "none"
        for label, figure in zip(
            self._figures,
            (f"{health.rate(now):.1f}", heard, str(pending), str(health.lost), str(health.late)),
            strict=True,
        ):
            set_text(label, figure)


def _rate(hz: float) -> str:
    return f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz:g} Hz"


def _streams(health: Health) -> tuple[StreamInfo, ...]:
    return health.status.streams if health.status is not None else ()
