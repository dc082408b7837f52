"""What the panes of a page are made of. All text is put on the page as text, whoever wrote it: never as HTML."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path

from nicegui import ui

from edge.clock import SECOND

STYLE = Path(__file__).with_name("console.css")
_LONGEST = 240  # characters of a stranger's word


def box(classes: str) -> ui.element:
    """A plain box."""
    return ui.element("div").classes(classes)


def text(words: str, classes: str = "") -> ui.label:
    """Words, whoever wrote them."""
    return ui.label(_cut(words)).classes(classes)


def pane(name: str, title: str) -> ui.element:
    """A part of the page with a title; on a phone, one of them is shown at a time."""
    whole = ui.element("section").classes(f"pane pane-{name}").props(f'aria-label="{title}"')
    with whole:
        text(title, "pane-title").props('role="heading" aria-level="2"')
    return whole


def set_text(label: ui.label, words: str) -> None:
    """Change words where they differ; what is equal is not sent again."""
    if label.text != (words := _cut(words)):
        label.set_text(words)


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def clock(time: int | str | None, zone: tzinfo) -> str:
    """A time, ns UTC or ISO 8601, as a clock on the wall of whoever looks; with the day where that is another one."""
    if not time:
        return ""
    try:
        seconds = datetime.fromisoformat(time).timestamp() if isinstance(time, str) else time / SECOND
        then = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return ""
    today = datetime.now(UTC).astimezone(zone).date()
    return f"{then:%H:%M:%S}" if then.date() == today else f"{then:%Y-%m-%d %H:%M:%S}"


def span_words(began: int | str | None, ended: int | str | None, zone: tzinfo) -> str:
    """From when to when, or when."""
    return " to ".join(dict.fromkeys(filter(None, (clock(began, zone), clock(ended, zone)))))


def ns(time: str) -> int | None:
    """ISO 8601 as ns UTC; None for none."""
    try:
        return round(datetime.fromisoformat(time).timestamp() * 1000) * (SECOND // 1000)
    except (ValueError, OverflowError, OSError):
        return None


def ago(seconds: float) -> str:
    """How long ago, in words."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"
