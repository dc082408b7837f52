"""A frame's window: what came over the wire, as serving and data sets of recorded frames take it, or why not.

It knows nothing of who reads frames, of groups or of models.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from backend.moment import StreamWindow
from broker import topics
from broker.errors import MessageError
from broker.messages import Frame
from broker.modalities import MODALITIES, Modality
from edge.stream import SIDES

_MAX_VALUE = 3e7  # in the modality's units: half around the Earth is 2e7 m; more would poison the model
_MAX_TOKEN = 6e4  # half precision ends at 65504


def window_of(topic: topics.FrameTopic, frame: Frame) -> StreamWindow:
    """A frame's window, checked against the modality's row; raises `MessageError`."""
    with np.errstate(over="ignore"):
        values = frame.values()
    largest = _MAX_TOKEN if frame.kind == "tokens" else _MAX_VALUE
    if not np.abs(values).max() <= largest:
        raise MessageError("range", f"{topic.stream}: a value is above {largest:g}")
    raw = None if frame.kind == "tokens" else _samples(frame, values)
    return StreamWindow(
        device=topic.device,
        stream=topic.stream,
        modality=frame.modality,
        placement=frame.placement,
        t0=frame.t0,
        rate=frame.rate,
        quality=frame.quality,
        values=raw,
        tokens=values if raw is None else None,
        encoder=frame.encoder,
        facts=frame.facts,
        trace=frame.trace,
    )


def _samples(frame: Frame, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raw samples in the shape that the modality's axes say; raises `MessageError` for any other."""
    row = MODALITIES[frame.modality]
    if not row.min_rate <= frame.rate <= row.max_rate:
        raise MessageError("rate", f"{frame.rate:g} Hz is outside {row.min_rate:g}..{row.max_rate:g} of {row.name}")
    window = values[:, None] if values.ndim == 1 else values
    length = round(frame.rate * row.window_s)
    sides = [side for axis, side in zip(row.axes, window.shape, strict=False) if axis != "time"]
    if (
        window.ndim != len(row.axes) + 1
        or not row.takes(window.shape[-1])
        or ("time" in row.axes and window.shape[0] != length)
        or not all(SIDES[0] <= side <= SIDES[1] for side in sides)
    ):
        raise MessageError("shape", f"a window of {_wanted(row, frame.rate, length)}, not {_by(window.shape)}")
    return window


def _wanted(row: Modality, rate: float, length: int) -> str:
    """What the shape of a modality's windows should be, in words."""
    sides = f"{SIDES[0]}..{SIDES[1]}"
    axes = {"time": f"{length} (time)", "height": f"{sides} (height)", "width": f"{sides} (width)"}
    least, most = len(row.channels), max(len(row.channels), row.most_channels)
    channels = f"{least if most == least else f'{least}..{most}'} (channels)"
    at = f" at {rate:g} Hz" if "time" in row.axes else ""
    return f"{row.name}{at} is {_by([*(axes[axis] for axis in row.axes), channels])}"


def _by(numbers: Iterable[object]) -> str:
    return " x ".join(map(str, numbers))
