"""What a model answers about a moment: a label with its probability, or where something is. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decision:
    """A classification's calibrated answer. `attribution`: weight of each stream, summing to one."""

    label: str
    confidence: float
    probs: dict[str, float]
    attribution: dict[str, float]


@dataclass(frozen=True)
class Estimation:
    """A regression's answer: `values` (task.size,) in the task's unit; `attribution` as in a decision."""

    values: NDArray[np.float32]
    attribution: dict[str, float]


Answer = Decision | Estimation
