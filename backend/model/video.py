"""The encoder of clips: a trunk that every frame goes through, convolutions over time at each place, and K tokens.

Tokens attend to all places at all times, and say where and when they looked. Colours lose their mean over the clip and
not over each frame, so that light that goes on stays an event; what changed since the frame before is a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.frames import average, centred
from backend.model.trunk import APART, Encoder, EncoderOptions, Gather, Layout, PictureTrunk, fitted, sides, ticks

DRAWN = 4
LEVELS = 5


class OverTime(nn.Module):
    """A convolution over time, each place by itself, normalised over the batch and added to its input."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1), bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x_BCTP: Tensor) -> Tensor:
        """Same shape as the input."""
        return F.relu(x_BCTP + self.norm(self.mix(x_BCTP)))


class VideoEncoder(Encoder):
    """Red, green, blue in 0..1 over time, rows and columns; any number of frames, of any size from 4 x 4 on."""

    modality = "video"

    def __init__(
        self, *, size: Sequence[int] = (), width: int = 8, dropout: float = 0.1, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(**options)
        self.size = sides(self.modality, size)
        self.trunk = PictureTrunk(DRAWN, self.size, width)
        self.over_time = nn.Sequential(OverTime(self.trunk.channels, 1), OverTime(self.trunk.channels, 2))
        self.dropout = nn.Dropout(dropout)
        self.layout = Layout(self.trunk.channels, self.trunk.place.shape[1], self.tokens, self.dim)
        # As the parts of a series: the first token begins early in the clip, the last one late.
        towards_K = APART * torch.linspace(-1.0, 1.0, self.tokens)
        self.gather = Gather(self.trunk.channels, F.pad(towards_K[:, None], (0, 2)), LEVELS, self.dim)

    def picture(self, x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, T, H, W): colours around their mean, and how much brighter a frame is than the one before; (B, 5)."""
        colours, level_BL = centred(x_BCTHW)
        light = colours.mean(1, keepdim=True)
        brighter = F.pad(light[:, :, 1:] - light[:, :, :-1], (0, 0, 0, 0, 1, 0))
        change_B1 = (average(brighter.square()).flatten(1) + 1e-4).sqrt()
        return torch.cat([colours, brighter], 1), torch.cat([level_BL, change_B1], 1)

    def tokens_of(self, x: Tensor) -> Tensor:
        """(B, K, d) from (B, T, H, W, 3) in 0..1."""
        picture_BFTHW, level_BL = self.picture(fitted(x, self.channels).permute(0, 4, 1, 2, 3))
        times, cells = picture_BFTHW.shape[2], self.trunk.place.shape[1]
        seen_NCHW = self.trunk(picture_BFTHW.transpose(1, 2).flatten(0, 1))
        seen_BCTP = seen_NCHW.flatten(2).unflatten(0, (-1, times)).transpose(1, 2)
        seen_BCTP = self.dropout(self.over_time(seen_BCTP))
        when_1TP = ticks(times).to(x.device)[..., None].expand(-1, -1, cells)
        place_DTP = torch.cat([when_1TP, self.trunk.place[:, None].expand(-1, times, -1)])
        layout_BKd = self.layout(seen_BCTP.mean(2))
        tokens_BKd: Tensor = self.gather(seen_BCTP.flatten(2), place_DTP.flatten(1), level_BL, layout_BKd)
        return tokens_BKd
