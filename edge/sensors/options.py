"""Options of a sensor as a person wrote them: read once, each with its kind, and none that nobody knows."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from broker.errors import ConfigError
from edge.clock import SECOND

T = TypeVar("T", str, int, float, bool)


def choose(sensor: str, options: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """The options with defaults for those not given; kinds follow the defaults. Raises ConfigError for others."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise ConfigError(f"sensor {sensor}: unknown option {unknown[0]!r}; options: {', '.join(defaults)}")
    return {name: _as_kind(sensor, name, options.get(name, default), default) for name, default in defaults.items()}


def _as_kind(sensor: str, name: str, value: Any, like: T) -> T:
    if isinstance(like, bool) != isinstance(value, bool):
        raise ConfigError(f"sensor {sensor}: option {name} is {value!r}; expected {type(like).__name__}")
    try:
        return type(like)(value)
    except (TypeError, ValueError):
        raise ConfigError(f"sensor {sensor}: option {name} is {value!r}; expected {type(like).__name__}") from None


def choose_time(sensor: str, text: str) -> int | None:
    """The option `start` in ns UTC, None where it is empty. Raises ConfigError for what is no time."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        raise ConfigError(f"sensor {sensor}: option start is {text!r}; write 2026-01-01T12:00:00Z") from None


def parse_time(text: str) -> int:
    """Nanoseconds UTC of an ISO 8601 time (UTC where it names no zone) or of unix seconds, ms, us or ns by size.

    Raises ValueError.
    """
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds * 1000
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no time")
    unit = next(ns for limit, ns in ((1e11, SECOND), (1e14, 10**6), (1e17, 1000), (math.inf, 1)) if number < limit)
    return int(text) * unit if text.strip().lstrip("-").isdigit() else round(number * unit)
