"""A picture of the newest frame of a stream: colours as they are, and ranges, heat and touch in false colours.

It refuses to know who looks at it.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.serve.recent import Strip
from broker.modalities import MODALITIES

_COLOURS_N3 = np.array([[48, 18, 59], [65, 105, 225], [30, 180, 170], [190, 220, 60], [250, 150, 40], [170, 30, 20]])
_NOTHING = np.array([128, 128, 128])
_NO_RETURN = ("depth", "lidar")  # where 0 is no range


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URL, its width and height; and what the false colours go from and to, or nothing."""

    url: str
    size: tuple[int, int]
    scale: str


def picture(strip: Strip) -> Picture | None:
    """The newest frame; None where the stream has none."""
    frame_HWC = strip.picture
    if frame_HWC is None:
        return None
    row = MODALITIES[strip.modality]
    if row.channels[0] == "red":
        return Picture(_url((np.clip(frame_HWC[..., :3], 0, 1) * 255).astype(np.uint8)), _size(frame_HWC), "")
    values_HW = frame_HWC[..., 0].astype(np.float64)
    there_HW = values_HW > 0 if strip.modality in _NO_RETURN else np.isfinite(values_HW)
    low, high = (values_HW[there_HW].min(), values_HW[there_HW].max()) if there_HW.any() else (0.0, 0.0)
    share_HW = (values_HW - low) / max(high - low, 1e-9)
    at_N = np.linspace(0, 1, len(_COLOURS_N3))
    false_HW3 = np.stack([np.interp(share_HW, at_N, colour_N) for colour_N in _COLOURS_N3.T], -1)
    false_HW3[~there_HW] = _NOTHING
    return Picture(_url(false_HW3.astype(np.uint8)), _size(frame_HWC), f"{low:.4g} to {high:.4g}")


def _size(frame_HWC: NDArray[np.float32]) -> tuple[int, int]:
    return frame_HWC.shape[1], frame_HWC.shape[0]


def _url(pixels_HW3: NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels_HW3).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
