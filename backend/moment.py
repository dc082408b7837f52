"""One group's sensor windows in the same slot of event time: what serving aligns and training learns from.

It knows nothing of the wire, of the store or of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.facts import facts
from edge.stream import Stream, Window


@dataclass(frozen=True)
class StreamWindow:
    """One window of one stream: raw samples, or the tokens that an encoder on the device made of them.

    `values` is (T, C), (H, W, C) or (T, H, W, C) float32 in the modality's units, `tokens` is (K, d);
    exactly one of them is given.
    `t0` is nanoseconds UTC of the first sample, `rate` is in Hz, `quality` is 0..1 and `encoder` is the digest
    of the encoder that made the tokens (empty for raw samples).
    """

    device: str
    stream: str
    modality: str
    placement: str
    t0: int
    rate: float
    quality: float = 1.0
    values: NDArray[np.float32] | None = None
    tokens: NDArray[np.floating] | None = None
    encoder: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    trace: str = ""

    def __post_init__(self) -> None:
        if (self.values is None) == (self.tokens is None):
            raise ValueError(f"{self.key}: a window carries either values or tokens, exactly one of them")

    @property
    def key(self) -> str:
        """Name of the stream within its group, as attribution reports it: `device/stream`."""
        return f"{self.device}/{self.stream}"


@dataclass(frozen=True)
class Moment:
    """The windows of one group in one slot; `slot` = t0 // hop, `t0` is nanoseconds UTC of the slot's start."""

    site: str
    group: str
    slot: int
    t0: int
    windows: tuple[StreamWindow, ...]


def facts_of(window: StreamWindow) -> dict[str, float]:
    """What a device would have told of the window's samples; nothing of tokens."""
    if window.values is None:
        return {}
    stream = Stream(window.stream, window.modality, window.placement, window.rate)
    return facts(Window(stream, window.t0, window.rate, window.values, window.quality))
