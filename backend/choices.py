"""What configurations are made of: kinds of numbers, choices of a table, and one way to build them from plain values.

A configuration is a pydantic dataclass: its fields say what they take. What a field means is its class's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from broker.errors import IotlmError

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, or a chance: 0 to 1."""
LessThanAll = Annotated[float, Field(ge=0, lt=1)]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if low > high:
        raise ValueError("give the lower end first")
    return ends


Range = Annotated[tuple[float, float], AfterValidator(_rising)]
"""From the one to the other."""

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For every configuration: no field that nobody knows, no number that is none."""

T = TypeVar("T")


def one_of(table: Collection[str]) -> AfterValidator:
    """For an annotated str: a name in the table."""

    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"choose one of {', '.join(table)}")
        return name

    return AfterValidator(check)


def different(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names; raises ValueError for one that is there twice."""
    if len(set(names)) < len(names):
        raise ValueError("give each name once")
    return names


def build(kind: type[T], values: Any, error: Callable[[str], IotlmError]) -> T:
    """A configuration from plain values, as JSON has them: types must fit, and a list may stand for a tuple.

    Raises:
        error: made of one line that names the first field that does not fit, its value and what is wanted.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as problems:
        raise error(_first_problem(problems)) from None


def _first_problem(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    value, wanted = detail["input"], detail["msg"].removeprefix("Value error, ")
    if isinstance(value, dict):  # a rule over several fields, whose text names them; or a dict of another kind
        return f"{where}: {wanted}" if where else wanted
    return f"{where} is {value!r:.80}: {wanted}"
