"""Untrusted maps, read with care: each getter checks type, range and length, and names the field that is wrong.

`broker.messages` and `broker.questions` say which fields there are; this module knows no message.
"""

import json
import re
from datetime import datetime
from typing import Any

from broker.errors import MessageError

VERSION = 1  # of the protocol
LIMIT = 1 << 20  # bytes of one payload, unless configured
MAX_TEXT, MAX_ITEMS = 256, 128  # characters of a short text, items of a list or map

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")
_HALF = re.compile(r"[\ud800-\udfff]")
_PLAIN: dict[type | tuple[type, ...], str] = {
    int: "integers",
    str: "short strings",
    (int, float): "numbers",
    dict: "maps",
}


class Fields:
    """Typed access to an untrusted map: each getter checks type, range and length, or raises `MessageError`.

    A field without a default has to be there.
    """

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise MessageError("encoding", f"expected a map, not {type(body).__name__}")
        self.body = body

    def version(self) -> None:
        """Check `v`."""
        version = self.body.get("v")
        if type(version) is not int or version < 1:
            raise MessageError("version", f"v must be an integer from 1, not {version!r:.40}")

    def _get(self, name: str, default: object) -> Any:
        value = self.body.get(name, default)
        if value is None:
            raise MessageError(name, f"{name} is missing")
        return value

    def text(self, name: str, default: str | None = None, most: int = MAX_TEXT) -> str:
        """A string of at most `most` characters."""
        value = self._get(name, default)
        if not isinstance(value, str) or len(value) > most:
            raise MessageError(name, f"{name} must be a string of at most {most} characters")
        if not is_text(value, most):
            raise MessageError(name, f"{name} has half a character, a surrogate without its other half")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> Any:
        """One of `choices`."""
        value = self.text(name, default)
        if value not in choices:
            raise MessageError(name, f"{name} {value[:40]!r} is none of {', '.join(choices)}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], rule: str, default: str | None = None) -> str:
        """A short string that all of `pattern` covers, or just the default; `rule` says it in words."""
        value = self.text(name, default)
        if value != default and not pattern.fullmatch(value):
            raise MessageError(name, f"{name} {value[:40]!r} must be {rule}")
        return value

    def moment(self, name: str, default: str | None = None) -> str:
        """A moment, ISO 8601 in UTC, or just the default."""
        value = self.matching(name, _MOMENT, "ISO 8601 in UTC, such as 2026-01-01T00:00:01.500Z", default)
        if value == default:
            return value
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise MessageError(name, f"{name} {value!r} is on no calendar or clock") from None
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name, None)
        if type(value) is not bool:
            raise MessageError(name, f"{name} must be true or false, not {value!r:.40}")
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """An integer within low..high."""
        value = self._get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise MessageError(name, f"{name} must be an integer in {low}..{high}, not {value!r:.40}")
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number within low..high."""
        value = self._get(name, default)
        if type(value) not in (int, float) or not low <= value <= high:  # false for NaN, too
            raise MessageError(name, f"{name} must be a number in {low:g}..{high:g}, not {value!r:.40}")
        return float(value)

    def list(self, name: str, most: int, kind: type | tuple[type, ...], default: list[Any] | None = None) -> list[Any]:
        """A list of at most `most` of one kind."""
        value = self._get(name, default)
        if not isinstance(value, list) or len(value) > most or not all(_is_plain(item, kind) for item in value):
            raise MessageError(name, f"{name} must be a list of at most {most} {_PLAIN[kind]}")
        return value

    def numbers(self, name: str) -> dict[str, float]:
        """A map of finite numbers, empty where there is none."""
        value = self._get(name, {})
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise MessageError(name, f"{name} must be a map of at most {MAX_ITEMS} numbers")
        for key, number in value.items():
            if not is_text(key, MAX_TEXT):
                raise MessageError(name, f"{name} has a key that is no short string")
            if type(number) not in (int, float) or not abs(number) < 1e300:  # false for NaN, too
                raise MessageError(name, f"{name}.{key[:40]} must be a finite number")
        return {key: float(number) for key, number in value.items()}


def json_fields(payload: bytes) -> Fields:
    """The fields of a JSON object of at most `LIMIT` bytes, its version checked. Raises `MessageError`."""
    if len(payload) > LIMIT:
        raise MessageError("size", f"{len(payload)} bytes exceed the limit of {LIMIT}")
    try:
        fields = Fields(json.loads(payload))
    except (ValueError, RecursionError):
        raise MessageError("encoding", "not a JSON object") from None
    fields.version()
    return fields


def is_text(value: object, most: int) -> bool:
    """Whether this is a string of at most `most` characters that UTF-8 can carry: JSON can bring half of a pair."""
    return isinstance(value, str) and len(value) <= most and (value.isascii() or not _HALF.search(value))


def _is_plain(item: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(item, kind) and not isinstance(item, bool) and (kind is not str or is_text(item, MAX_TEXT))
