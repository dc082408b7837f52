"""Encoders of single frames: image, camera, depth, thermal, capacitance and the range image of a lidar.

A picture is what the sensor measures without offset and scale, beside masks and what is absolute; offset and scale go
to every token as numbers. Where nothing was measured (0) a picture is 0, and its mask says so, which also keeps gaps
out of the neighbours when a frame is resized. Nothing here knows of tasks or of lenses: a camera's geometry comes with
its frames, as rays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.trunk import (
    Encoder,
    EncoderOptions,
    Gather,
    Layout,
    PictureTrunk,
    block,
    compass,
    compressed,
    fitted,
    resized,
    sides,
)

FLAT = 0.02
"""Contrast (of full scale) below which an image is noise and not made stronger."""
NEAREST_M = 0.05
"""A range below this counts as this: no sensor measures it."""
NEAR_M = 0.25
"""Nearness is 1 / (range + this), in 1/m: it does not grow without end."""
BODY_K, ROOM_K = 4.0, 293.0
"""Kelvin above the background that count as one unit (a hand is two), and the usual background."""
TOUCH = 0.02
"""Capacitance (of full scale) above the background that may be a touch: less is noise and not made stronger."""


class FrameEncoder(Encoder):
    """2-D convolutions over the picture of a frame, and K tokens that attend to all of it.

    A subclass implements `picture`, and may set `width` (channels of the first convolution), `wraps` (the frame's
    right edge is the neighbour of its left) and `closer` (a module whose `features` go to every token). Frames of any
    size from 4 x 4 on are resized to `size`.
    """

    width = 16
    wraps = False
    closer: type[TouchView] | None = None

    def __init__(
        self, *, size: Sequence[int] = (), width: int = 0, dropout: float = 0.1, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(**options)
        self.size = sides(self.modality, size)
        drawn, levels = (made.shape[1] for made in self.picture(torch.zeros(1, self.channels, *self.size)))
        self.trunk = PictureTrunk(drawn, self.size, width or self.width, wraps=self.wraps)
        self.dropout = nn.Dropout(dropout)
        self.near = self.closer() if self.closer else None
        levels += self.near.features if self.near else 0
        along = len(self.trunk.place) - 2  # an elevation, which no token prefers
        self.layout = Layout(self.trunk.channels, self.trunk.place.shape[1], self.tokens, self.dim)
        self.gather = Gather(self.trunk.channels, F.pad(compass(self.tokens), (along, 0)), levels, self.dim)

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The picture (B, F, H, W) of frames in the modality's units, and their level (B, L), both of about one."""
        raise NotImplementedError

    def tokens_of(self, x: Tensor) -> Tensor:
        """(B, K, d) from (B, H, W, C) in the modality's units."""
        x_BCHW = fitted(x, self.channels).permute(0, 3, 1, 2)
        picture_BFHW, level_BL = self.picture(x_BCHW)
        if self.near is not None:
            level_BL = torch.cat([level_BL, self.near(resized(x_BCHW, self.size))], 1)
        seen_BCP = self.dropout(self.trunk(picture_BFHW)).flatten(2)
        tokens_BKd: Tensor = self.gather(seen_BCP, self.trunk.place, level_BL, self.layout(seen_BCP))
        return tokens_BKd


def average(x_BCX: Tensor) -> Tensor:
    """Mean over all axes after the second, which stay with length 1: axis by axis.

    ONNX Runtime adds the pixels of a whole frame up in one row, and tokens were five times further off with that.
    """
    for axis in range(x_BCX.dim() - 1, 1, -1):
        x_BCX = x_BCX.mean(axis, keepdim=True)
    return x_BCX


def centred(rgb_BCX: Tensor) -> tuple[Tensor, Tensor]:
    """Colours in 0..1 around their mean over all places (B, 3, ...) and in units of their contrast; (B, 4): both."""
    mean_BC = average(rgb_BCX)
    from_mean = rgb_BCX - mean_BC
    contrast_B1 = (average(from_mean.square()).mean(1, keepdim=True) + FLAT**2).sqrt()
    level_BL = torch.cat([(mean_BC.flatten(1) - 0.5) * 4.0, (contrast_B1.flatten(1) / 0.2).log()], 1)
    return from_mean / contrast_B1, level_BL


def median(x_B1HW: Tensor) -> Tensor:
    """The (upper) median of each frame, (B, 1, 1, 1): an object of less than half of the frame does not move it."""
    x_BP = x_B1HW.flatten(1)
    return x_BP.topk((x_BP.shape[1] + 1) // 2).values.amin(1)[:, None, None, None]


def ranges(x_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Ranges in m, 0 where there is none: (B, 3, H, W) log range around its mean, nearness, and a mask; (B, 4) levels.

    Those are the mean log range, the deviation from it, the greatest nearness and the share of the mask.
    """
    there = (x_B1HW > 0).to(x_B1HW.dtype)
    range_B1HW = x_B1HW.clamp_min(NEAREST_M)
    log_range, nearness = range_B1HW.log(), there / (range_B1HW + NEAR_M)
    share = average(there)
    count = share.clamp_min(1e-6)
    mean = average(log_range * there) / count
    relative = (log_range - mean) * there
    spread = (average(relative.square()) / count + 1e-4).sqrt()
    level = torch.cat([mean, spread, nearness.amax((2, 3), keepdim=True), share], 1)
    return torch.cat([relative, nearness, there], 1), level.flatten(1)


class ImageEncoder(FrameEncoder):
    """Red, green, blue in 0..1."""

    modality = "image"

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Colours around their mean; level: that mean, and the contrast."""
        return centred(x_BCHW)


class CameraEncoder(FrameEncoder):
    """Red, green, blue in 0..1, and of every pixel the ray: (column - centre) / focal length, and so for rows."""

    modality = "camera"

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Colours around their mean, and rays as they are; level: that of an image, and how wide the view is."""
        colours, level_BL = centred(x_BCHW[:, :3])
        rays = x_BCHW[:, 3:]
        wide_B2 = (average(rays.square()).flatten(1) + 1e-4).sqrt()
        return torch.cat([colours, rays], 1), torch.cat([level_BL, wide_B2], 1)


class DepthEncoder(FrameEncoder):
    """Range in m, 0 where there is none."""

    modality = "depth"

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """As `ranges` says."""
        return ranges(x_BCHW)


class LidarEncoder(FrameEncoder):
    """Range in m (0: no return) and intensity in 0..1 over rings and azimuths, which go round."""

    modality = "lidar"
    width = 12
    wraps = True

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """As `ranges` says, and the intensity of what returned; level: the mean of that besides."""
        picture, level_BL = ranges(x_BCHW[:, :1])
        intensity = x_BCHW[:, 1:] * picture[:, 2:]
        return torch.cat([picture, intensity], 1), torch.cat([level_BL, average(intensity).flatten(1)], 1)


class ThermalEncoder(FrameEncoder):
    """Temperature in K."""

    modality = "thermal"

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """How much warmer than the background (the median); level: that background, the warmest and the coldest."""
        ground = median(x_BCHW)
        warmer = compressed((x_BCHW - ground) / BODY_K)
        level = [(ground - ROOM_K) / 10.0, warmer.amax((2, 3), keepdim=True), warmer.amin((2, 3), keepdim=True)]
        return warmer, torch.cat(level, 1).flatten(1)


def shifted(x_B1HW: Tensor, fill: float) -> list[Tensor]:
    """The frame as each of a cell's nine neighbours sees it, row by row (itself the fifth); `fill` is beyond edges."""
    height, width = x_B1HW.shape[2:]
    padded = F.pad(x_B1HW, (1, 1, 1, 1), value=fill)
    return [padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)]


def unspiked(x_B1HW: Tensor) -> Tensor:
    """Without glitches: no cell is above twice its strongest neighbour, or below its weakest one."""
    around = {fill: torch.stack(shifted(x_B1HW, fill)) for fill in (-torch.inf, torch.inf)}
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    most, least = around[-torch.inf][others].amax(0), around[torch.inf][others].amin(0)
    return torch.minimum(torch.maximum(x_B1HW, least - TOUCH), 2.0 * most.clamp_min(0.0) + TOUCH)


class TouchView(nn.Module):
    """Features (B, N) of the strongest contact: convolutions over the cells around it, unscaled, and where it is.

    Which finger of which hand touches shows in the shape of its mark wherever that is (Le, Mayer, Henze 2019).
    """

    reach = 5
    features = 66

    def __init__(self) -> None:
        super().__init__()
        side = 2 * self.reach + 1
        self.layers = nn.Sequential(
            *block(2, 32), *block(32, 32, (2, 2)), *block(32, 64), *block(64, 64, (2, 2)),
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * (side // 4) ** 2, self.features - 2), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x_B1HW: Tensor) -> Tensor:
        """Of frames in the modality's units."""
        above_B1HW = unspiked(x_B1HW - median(x_B1HW))
        mark_B1SS, place_B2 = self.centred(above_B1HW)
        drawn = torch.cat([mark_B1SS, compressed(mark_B1SS / TOUCH) / 3.0], 1)
        return torch.cat([self.layers(drawn), place_B2], 1)

    def centred(self, x_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, S, S) cells about the middle of the strongest 3 x 3, 0 beyond the panel, and (B, 2) where, -1..1."""
        height, width = x_B1HW.shape[2:]
        sum_B1HW = torch.stack(shifted(x_B1HW, 0.0)).sum(0)
        peak_B = sum_B1HW.flatten(1).argmax(1)
        row_B, column_B = peak_B // width, peak_B % width
        span_S = torch.arange(2 * self.reach + 1, device=x_B1HW.device)
        padded = F.pad(x_B1HW, (self.reach,) * 4)
        index_BSS = (row_B[:, None, None] + span_S[:, None]) * padded.shape[3] + column_B[:, None, None] + span_S
        mark_BX = padded.flatten(1).gather(1, index_BSS.flatten(1))
        place_B2 = torch.stack([(2 * row_B + 1) / height, (2 * column_B + 1) / width], 1) - 1.0
        return mark_BX.reshape(-1, 1, len(span_S), len(span_S)), place_B2


class CapacitanceEncoder(FrameEncoder):
    """Capacitance of a touch screen's cells, of full scale: the whole panel, and the strongest contact close up."""

    modality = "capacitance"
    closer = TouchView

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Above the background (the median), by itself and of the peak; level: the background, the peak, the mass."""
        ground = median(x_BCHW)
        above = x_BCHW - ground
        peak = above.abs().amax((2, 3), keepdim=True).clamp_min(TOUCH)
        level = [compressed(ground / TOUCH), (peak / TOUCH).log(), average(above / peak) * 10.0]
        return torch.cat([compressed(above / TOUCH), above / peak], 1), torch.cat(level, 1).flatten(1)
