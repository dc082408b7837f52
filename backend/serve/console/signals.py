"""The pane of signals: a card for each stream, with its newest picture and a plot of the last minute.

A card can be held at a time that somebody wants to see; until it is let go, its plot stays there, with the time marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from nicegui import ui

from backend.serve.align import GroupKey
from backend.serve.console.charts import Span, datasets, height, plot, times, unit_sign
from backend.serve.console.desk import Desk
from backend.serve.console.lines import Lines, shape
from backend.serve.console.parts import box, pane, set_text, span_words, text
from backend.serve.recent import Strip
from broker.modalities import MODALITIES

MOST_CARDS = 24
_PIXELS = 96  # least width of a picture


class Signals:
    """The signals of a group."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._key: GroupKey | None = None
        self._cards: dict[str, _Card] = {}
        self._zone: tzinfo | None = None
        with pane("signals", "Signals"):
            self._grid = box("cards")
            self._note = text("Nothing has been measured yet.", "note")

    def turn_to(self, key: GroupKey) -> None:
        """Look at another group."""
        self._key = key
        self._grid.clear()
        self._cards = {}

    def has(self, stream: str) -> bool:
        """Whether there is a card of it."""
        return stream in self._cards

    def update(self, zone: tzinfo) -> None:
        """Draw what has changed."""
        assert self._key is not None
        self._zone = zone
        strips = {strip.key: strip for strip in self._desk.strips(self._key)}
        shown = {key: strips[key] for key in list(strips)[:MOST_CARDS]}
        gone = [key for key, card in self._cards.items() if key not in shown or card.shape != shape(shown[key])]
        for key in gone:
            self._cards.pop(key).remove()
        span = self._desk.minute(self._key)
        for key, strip in shown.items():
            if key not in self._cards:
                with self._grid:
                    self._cards[key] = _Card(strip)
            self._cards[key].update(self._desk, strip, span)
        more = f"and {len(strips) - len(shown)} more streams" if len(strips) > len(shown) else ""
        set_text(self._note, more if strips else "Nothing has been measured yet.")
        self._note.set_visibility(bool(more) or not strips)

    async def hold(self, stream: str, span: Span, fact: str) -> None:
        """Hold a stream's plot at a time and bring it into view."""
        card = self._cards[stream]
        strip = next((one for one in self._desk.strips(self._key) if one.key == stream), None) if self._key else None
        if strip is None or self._key is None or self._zone is None:
            return
        panels = await self._desk.span(self._key, strip, span, fact)
        card.hold(panels, span, span_words(*span, self._zone))


class _Card:
    def __init__(self, strip: Strip) -> None:
        self.shape = shape(strip)
        self._held, self._version = False, -1
        row = MODALITIES[strip.modality]
        self._picture: ui.element | None = None
        with box("card") as self._box:
            with box("card-top"):
                text(strip.key, "card-name")
                self._about = text("", "card-about")
            with box("held") as self._hint:
                self._when = text("")
                ui.button("Back to live", on_click=self._release).props("flat dense no-caps size=sm")
            with box("card-body"):
                if strip.picture is not None:
                    with box("picture"):
                        self._picture = ui.element("img").props(f'alt="newest frame of a {row.name} stream"')
                        self._scale = text("", "scale")
                self._plot = box("plot")
        self._hint.set_visibility(False)
        self._chart: ui.echart | None = None
        self._look: tuple[object, ...] = ()

    def remove(self) -> None:
        self._box.delete()

    def update(self, desk: Desk, strip: Strip, span: Span) -> None:
        rate = f"{strip.rate:g} Hz, " if strip.shown and strip.modality != "audio" else ""
        kind = "tokens" if strip.tokens else strip.modality
        set_text(self._about, f"{rate}{kind} at {strip.placement}")
        if self._picture is not None and strip.version != self._version and (picture := desk.picture(strip)):
            width, _ = picture.size
            self._picture.props["src"] = picture.url
            self._picture.style(f"width: {width * -(-_PIXELS // width)}px")
            self._picture.update()
            unit = unit_sign(MODALITIES[strip.modality].units[0])
            set_text(self._scale, f"{picture.scale} {unit}" if picture.scale else "")
        self._version = strip.version
        if not self._held:
            self._draw(desk.panels(strip, span), span)

    def hold(self, panels: Sequence[Lines], span: Span, when: str) -> None:
        self._held = True
        set_text(self._when, f"Evidence, {when}")
        self._hint.set_visibility(True)
        self._box.classes(add="is-held")
        times = [row[0] for panel in panels for row in panel.rows if row[0] is not None]
        around = (round(min(times) * 1e6), round(max(times) * 1e6)) if times else span
        self._draw(panels, (min(around[0], span[0]), max(around[1], span[1])), span)
        ui.run_javascript(f"document.getElementById('{self._box.html_id}').scrollIntoView({{block: 'center'}})")

    def _release(self) -> None:
        self._held = False
        self._hint.set_visibility(False)
        self._box.classes(remove="is-held")

    def _draw(self, panels: Sequence[Lines], span: Span, mark: Span | None = None) -> None:
        if not any(panel.names for panel in panels):
            return
        look = (mark, *((panel.names, panel.unit) for panel in panels))
        if self._chart is not None and look == self._look:  # points alone are another
            self._chart.options.update(dataset=datasets(panels), xAxis=times(panels, span))
            self._chart.update()
            return
        self._look, options = look, plot(panels, span, mark)
        if self._chart is None:
            with self._plot:
                self._chart = ui.echart(options)
        self._chart.options.update(options)
        self._chart.style(f"height: {height(panels)}px")
        self._chart.update()
