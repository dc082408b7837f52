"""Times that people say: the last minute, between 14:02 and 14:03, half past two, ten seconds ago.

They are read against the now of a situation, in its time zone. What they are asked for it does not know.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from backend.dialogue.situation import Situation, Span
from edge.clock import SECOND

_AHEAD = timedelta(hours=1)
"""A time up to so much after now is meant of today: clocks differ, and a span may end later."""
_DAY = timedelta(days=1)
UNITS = {"s": 1, "m": 60, "h": 3600}
"""Seconds in a unit, by its first letter."""
NUMBERS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "forty-five": 45,
    "fifty": 50, "sixty": 60, "ninety": 90,
}  # fmt: skip
"""Numbers in words."""
_SAID = NUMBERS | {
    "a": 1, "an": 1, "couple of": 2, "a couple of": 2, "few": 5, "a few": 5, "half a": 0.5, "half an": 0.5,
}  # fmt: skip

_AMOUNT = (
    rf"(?<![\w.])(?P<amount>\d{{1,6}}(?:\.\d{{1,3}})?|(?:{'|'.join(sorted(_SAID, key=len, reverse=True))})\b)"
    r"[ -]?(?P<unit>s|secs?|seconds?|min|mins|minutes?|h|hrs?|hours?)\b"
)
_HOURS = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_HALF = r"(?: ?[ap]\.?m\b\.?)"
TIME = (
    rf"(?:\d{{1,2}}:\d{{2}}(?::\d{{2}})?{_HALF}?(?!\d|:\d)|\d{{1,2}}{_HALF}"
    rf"|(?:\d{{1,2}}|{_HOURS}) ?o'clock{_HALF}?|midnight|noon|midday"
    rf"|(?:(?:half|quarter|ten|twenty|five|\d{{1,2}}) past|(?:quarter|ten|twenty|five) to)"
    rf" (?:\d{{1,2}}|{_HOURS})\b{_HALF}?)"
)
"""A time of day, whatever stands around it."""
_PERHAPS = rf"(?:{TIME}|\d{{1,2}}(?![\d.:%°]|\s?(?:m/s|m\b|s\b|hz|db|deg|rad|k\b|rpm|sec|min|times)))"
"""One, where a time is said: a full hour may stand alone."""
LAST = re.compile(rf"\b(?:last|past|previous|latest|recent) (?:{_AMOUNT}|(?P<one>second|minute|hour)\b)")
_BETWEEN = re.compile(rf"\b(?:between|from) ({_PERHAPS})(?: and | to | until | till | ?[-–] ?)({_PERHAPS})")
_SINCE = re.compile(rf"\b(?:since ({_PERHAPS})|(?:after|from) ({TIME}))")
_UNTIL = re.compile(rf"\b(?:until|till|before|up to) ({TIME})")
AGO = re.compile(rf"{_AMOUNT} (?:ago|before now|earlier|back)\b")
_AT = re.compile(rf"(?<![\w:.])({TIME})")


def said_times(text: str, situation: Situation) -> tuple[Span | None, int | None]:
    """The span, or the moment, that a text in small letters names."""
    span = _said_span(text, situation)
    if span is not None:
        return span, None
    if match := AGO.search(text):
        return None, situation.now - round(seconds_in(match) * SECOND)
    match = _AT.search(text)
    return None, _clock(match[1], situation) if match else None


def _said_span(text: str, situation: Situation) -> Span | None:
    now, since, until = situation.now, None, None
    if match := LAST.search(text):
        return now - round((UNITS[match["one"][0]] if match["one"] else seconds_in(match)) * SECOND), now
    if match := _BETWEEN.search(text):
        return _between(match[1], match[2], situation)
    if match := _SINCE.search(text):
        since = _clock(match[1] or match[2], situation)
    elif match := _UNTIL.search(text):
        until = _clock(match[1], situation)
    if since is not None:
        return min(since, now), now
    return None if until is None else (min(situation.began, until), until)


def without_times(text: str) -> str:
    """The text with its spans and moments blanked out, so that `before 14:03` is nothing that came before."""
    for pattern in (LAST, _BETWEEN, _SINCE, _UNTIL, AGO, _AT):
        text = pattern.sub("#", text)
    return text


def seconds_in(match: re.Match[str]) -> float:
    """Of an amount of time, as `LAST` and `AGO` find it."""
    amount = match["amount"]
    return float(_SAID.get(amount, amount)) * UNITS[match["unit"][0]]


def _between(first: str, second: str, situation: Situation) -> Span | None:
    """From one time to another, which may be of the next day; the first is in the half of day that the second says."""
    half = re.search(r"[ap]\.?m\b\.?$", second)
    if half and not re.search(r"[ap]\.?m\b\.?$|midnight|noon|midday|o'clock|past|to", first):
        both = (_clock(f"{first} {half[0]}", situation), _clock(first, situation))
        end = _clock(second, situation)
        starts = [one for one in both if one is not None and end is not None and one <= end]
        low, high = max(starts, default=both[0]), end
    else:
        low, high = _clock(first, situation), _clock(second, situation)
    if low is None or high is None:
        return None
    day = round(_DAY.total_seconds()) * SECOND
    if high < low and high + day <= situation.now + round(_AHEAD.total_seconds()) * SECOND:
        high += day
    elif high < low:
        low -= day
    return low, max(low, min(high, situation.now))


def _clock(text: str, situation: Situation) -> int | None:
    """The newest time of that name that is not after now, or hardly; of two, the one of which something is known."""
    now = datetime.fromtimestamp(situation.now // SECOND, situation.zone)
    found = []
    for hour, minute, second in read_clock(text):
        if 0 <= hour <= 24 and 0 <= minute <= 59 and second <= 59:
            at = now.replace(hour=hour % 24, minute=minute, second=second, microsecond=0)
            found.append(round((at if at <= now + _AHEAD else at - _DAY).timestamp()) * SECOND)
    known = [at for at in found if at >= situation.began]
    return max(known[:1] or found, default=None)


def read_clock(text: str) -> list[tuple[int, int, int]]:
    """Hours, minutes and seconds that a time of day may mean: 2:05 may be 14:05, and 02:05 or 10:05 is what it is."""
    if text in ("midnight", "noon", "midday"):
        return [(0 if text == "midnight" else 12, 0, 0)]
    half = re.search(r"([ap])\.?m\b\.?$", text)
    bare = text[: half.start()].strip() if half else text
    bare = bare.replace("o'clock", "").strip()
    minute = second = 0
    if said := re.fullmatch(r"(\w+) (past|to) (\w+)", bare):
        minute, hour = {"half": 30, "quarter": 15}.get(said[1], -1), _hour(said[3])
        minute = minute if minute >= 0 else _hour(said[1])
        hour, minute = (hour, minute) if said[2] == "past" else ((hour - 1) % 24, 60 - minute)
    elif ":" in bare:
        hour, minute, second = [*map(int, bare.split(":")), 0][:3]
    else:
        hour = _hour(bare)
    if half:
        return [(hour % 12 + (12 if half[1] == "p" else 0), minute, second)] if 1 <= hour <= 12 else []
    spoken = "o'clock" in text or said is not None
    either = 1 <= hour <= 12 and (spoken or len(bare.partition(":")[0]) == 1)
    return [(hour, minute, second), *([((hour + 12) % 24, minute, second)] if either else [])]


def _hour(text: str) -> int:
    return NUMBERS[text] if text in NUMBERS else int(text)
