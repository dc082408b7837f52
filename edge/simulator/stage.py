"""What every scene offers to those who record, replay or check it.

A scene is a pure function of (seed, absolute time): devices that are processes of their own render the same one when
they share a seed, and so does whoever checks their results. This module knows no scene in particular.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Source = tuple[str, str, str]
"""Something in a scene that measures: the device that it belongs to, its modality, its placement."""


@dataclass(frozen=True, slots=True)
class Span:
    """`label` holds from `start` to `end`, ns UTC."""

    start: int
    end: int
    label: str


class Stage(Protocol):
    """A scene of one seed."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of which it knows the truth: labels by `spans`, numbers by `truth`."""
        ...

    def streams(self) -> tuple[Source, ...]:
        """All that can be rendered; what is `Audible` has audio among it."""
        ...

    def render(self, modality: str, placement: str, t_ns: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, C) samples or (n, H, W, C) frames at times `t_ns` (n,) ns UTC, in the units of the modality.

        Raises ConfigError for what the scene does not have, and for audio.
        """
        ...

    def truth(self, task: str, t_ns: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, D) what is true at times `t_ns` (n,) for a task of numbers, NaN where unknown.

        Raises ConfigError for a task of which the scene knows no numbers.
        """
        ...

    def spans(self, task: str, start: int, end: int) -> Iterator[Span]:
        """The labels of a task over [start, end), ns UTC, in order and without holes.

        Raises ConfigError for a task of which the scene knows no labels.
        """
        ...


@runtime_checkable
class Audible(Protocol):
    """A scene that is heard, too: one of its streams is audio."""

    def audio(self, t0_ns: int, n: int, rate: float = 16000.0) -> NDArray[np.float32]:
        """(n,) full scale +-1: n samples from `t0_ns` at `rate` Hz, on a grid of the rate that is aligned to 1970."""
        ...
