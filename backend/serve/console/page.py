"""One open page: its header, its panes, and the beat in which they are brought up to date.

A page is sent something new when its browser has taken what it was sent before, and is looked at: a slow one gets less,
and holds up nobody. It ends with its browser.
"""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import Any

from nicegui import Client, ui
from nicegui.events import ValueChangeEventArguments

from backend.serve.align import GroupKey
from backend.serve.console.ask import Ask
from backend.serve.console.desk import Desk
from backend.serve.console.devices import Devices
from backend.serve.console.happenings import Happenings
from backend.serve.console.parts import box, set_text, text
from backend.serve.console.signals import Signals

BEAT_S = 1.0
_PATIENCE_S = 30.0  # for a browser that is slow
_TABS = {"signals": "Signals", "events": "Events", "ask": "Ask", "devices": "Devices"}
_HIDDEN = "document.hidden"
_BEHIND_UTC = "new Date().getTimezoneOffset()"  # minutes


class Page:
    """What one browser sees.

    Args:
        client: the browser.
        desk: what is there.
        answer_s: how long an answer is waited for.
        group: whom to begin with, as site/group; the first one there if that is none.
    """

    def __init__(self, client: Client, desk: Desk, answer_s: float, group: str) -> None:
        self._client, self._desk, self._wanted = client, desk, group
        self._key: GroupKey | None = None
        self._zone: timezone | None = None
        client.content.classes("console")
        with ui.header(elevated=False).classes("top"):
            text("IoT-LM", "brand")
            self._group = ui.select({}, on_change=self._choose).props('dense outlined options-dense aria-label="group"')
            self._group.classes("group")
            with box("state"):
                self._dot = box("dot wait")
                self._state = text("connecting", "state-text").props('role="status"')
        self._root = box("panes on-signals")
        with self._root:
            self._tabs = ui.tabs(on_change=self._show).props("dense no-caps").classes("tabs")
            with self._tabs:
                for name, title in _TABS.items():
                    ui.tab(name, title)
            self._tabs.set_value("signals")
            with box("wide"):
                self._signals = Signals(desk)
                self._devices = Devices(desk)
            with box("side"):
                self._ask = Ask(desk, self._mark, answer_s)
                self._happenings = Happenings(desk)
        client.on_delete(self._ask.leave)
        self._update_top()
        ui.timer(BEAT_S, self._beat)

    def _show(self, event: ValueChangeEventArguments[Any]) -> None:
        self._open(str(event.value))

    def _open(self, tab: str) -> None:
        """Show a pane where there is room for one."""
        self._root.classes(remove=" ".join(f"on-{name}" for name in _TABS), add=f"on-{tab}")

    def _choose(self, event: ValueChangeEventArguments[Any]) -> None:
        """A person's choice: what the page offers by itself it has turned to before."""
        key = _key(str(event.value or ""))
        if key == self._key or key not in self._desk.groups():
            return
        self._wanted = ""
        self._turn_to(key)
        ui.navigate.history.replace(f"?group={key.site}/{key.group}")  # known names: a-z, 0-9 and '-'

    def _turn_to(self, key: GroupKey) -> None:
        if key == self._key:
            return
        self._key = key
        for pane in (self._signals, self._happenings, self._ask, self._devices):
            pane.turn_to(key)

    async def _beat(self) -> None:
        try:
            if await self._client.run_javascript(_HIDDEN, timeout=_PATIENCE_S):
                return
            if self._zone is None:
                behind = await self._client.run_javascript(_BEHIND_UTC, timeout=_PATIENCE_S)
                self._zone = timezone(-timedelta(minutes=behind)) if isinstance(behind, int | float) else UTC
        except TimeoutError:  # it has not yet drawn what it has
            return
        self._update_top()
        if self._key is None or self._zone is None:
            return
        self._signals.update(self._zone)
        await self._happenings.update(self._zone)
        self._ask.update(self._zone)
        self._devices.update()

    def _update_top(self) -> None:
        state, words = self._desk.state()
        self._dot.classes(replace=f"dot {state}")
        set_text(self._state, words)
        names = [f"{key.site}/{key.group}" for key in self._desk.groups()]
        if names and names != list(self._group.options):
            chosen = self._group.value if self._group.value in names else names[0]
            if self._wanted in names:  # it may be heard of later than others
                chosen, self._wanted = self._wanted, ""
            self._turn_to(_key(chosen))
            self._group.set_options({name: name.replace("/", " / ") for name in names}, value=chosen)

    async def _mark(self, stream: str, span: tuple[int, int], fact: str) -> None:
        """Show a time on a stream's plot, or on the time line where it is about no stream."""
        if stream and self._signals.has(stream):
            self._open_tab("signals")
            await self._signals.hold(stream, span, fact)
        else:
            self._open_tab("events")
            self._happenings.mark(span)

    def _open_tab(self, tab: str) -> None:
        self._open(tab)
        self._tabs.set_value(tab)


def _key(name: str) -> GroupKey:
    site, _, group = name.partition("/")
    return GroupKey(site, group)
