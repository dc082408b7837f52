"""Encoders of single frames: image, camera, depth, thermal, capacitance and the range image of a lidar.

A picture is what the sensor measures without offset and scale, beside masks and what is absolute; offset and scale go
to every token as numbers. Where nothing was measured (0) a picture is 0, and its mask says so, which also keeps gaps
out of the neighbours when a frame is resized. Nothing here knows of tasks or of lenses: a camera's geometry comes with
its frames, as rays.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.trunk import Encoder, Gather, PictureTrunk, compass, compressed, fitted, sides

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

    A subclass implements `picture`, and may set `width` (channels of the first convolution) and `wraps` (the frame's
    right edge is the neighbour of its left). Frames of any size from 4 x 4 on are resized to `size`.
    """

    width = 16
    wraps = False

    def __init__(
        self,
        *,
        rate: float = 0.0,
        window_s: float = 0.0,
        hop_s: float = 0.0,
        tokens: int = 4,
        dim: int = 128,
        size: Sequence[int] = (),
        width: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(rate=rate, window_s=window_s, hop_s=hop_s, tokens=tokens, dim=dim)
        self.size = sides(self.modality, size)
        drawn, levels = (made.shape[1] for made in self.picture(torch.zeros(1, self.channels, *self.size)))
        self.trunk = PictureTrunk(drawn, self.size, width or self.width, wraps=self.wraps)
        self.dropout = nn.Dropout(dropout)
        along = len(self.trunk.place) - 2  # an elevation, which no token prefers
        self.gather = Gather(self.trunk.channels, F.pad(compass(tokens), (along, 0)), levels, dim)

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The picture (B, F, H, W) of frames in the modality's units, and their level (B, L), both of about one."""
        raise NotImplementedError

    def tokens_of(self, x: Tensor) -> Tensor:
        """(B, K, d) from (B, H, W, C) in the modality's units."""
        picture_BFHW, level_BL = self.picture(fitted(x, self.channels).permute(0, 3, 1, 2))
        seen_BCP = self.dropout(self.trunk(picture_BFHW)).flatten(2)
        tokens_BKd: Tensor = self.gather(seen_BCP, self.trunk.place, level_BL)
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


class CapacitanceEncoder(FrameEncoder):
    """Capacitance of a touch screen's cells, of full scale."""

    modality = "capacitance"

    def picture(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Above the background (the median), by itself and of the peak; level: the background, the peak, the mass."""
        ground = median(x_BCHW)
        above = x_BCHW - ground
        peak = above.abs().amax((2, 3), keepdim=True).clamp_min(TOUCH)
        level = [compressed(ground / TOUCH), (peak / TOUCH).log(), average(above / peak) * 10.0]
        return torch.cat([compressed(above / TOUCH), above / peak], 1), torch.cat(level, 1).flatten(1)
