"""Encoders of time series: convolutions over features, pooled into parts of the window; and that of motion.

The frame of gravity makes a turn a turn however a watch is worn; the sensor's own frame keeps posture (a thigh
lies or stands). Offset and scale, which a convolution forgets, come back as statistics that join the tokens.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.trunk import Encoder, EncoderOptions, fitted
from broker.errors import CheckpointError

STANDARD_GRAVITY = 9.80665
GYRO_SCALE = 2.0
"""rad/s that count as one unit: about the standard deviation of a wrist that walks."""
STILL = 0.05
"""Deviation within a window, in units of a feature, below which it is noise and not made larger."""

SHORTEST = 4
"""Points in time that a window must have."""


class SeriesOptions(EncoderOptions, total=False):
    """What an encoder of series may be told beside what every encoder may: the type of a subclass's `**options`."""

    width: int
    blocks: int
    dropout: float


class Residual(nn.Module):
    """Two convolutions, each normalised over the batch (which folds into it when exported), added to their input."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.second = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Same shape as the input."""
        y_BCT = F.relu(self.norm1(self.first(x_BCT)))
        return F.relu(x_BCT + self.norm2(self.second(self.dropout(y_BCT))))


class SeriesEncoder(Encoder):
    """Convolutions over what is seen, pooled into K parts of the window, with the window's statistics in each.

    A subclass implements `views`. Windows may be of any length from SHORTEST on, and lack channels at the end.
    """

    def __init__(
        self, *, width: int = 48, blocks: int = 2, dropout: float = 0.15, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(**options)
        if self.samples < SHORTEST:
            raise CheckpointError(
                f"encoder of {self.modality!r}: {self.rate:g} Hz and {self.window_s:g} s make {self.samples} points in "
                f"time; a series has at least {SHORTEST}"
            )
        seen, told = (view.shape[-1] for view in self.views(torch.zeros(1, SHORTEST, self.channels)))
        self.stem = nn.Conv1d(seen, width, 5, padding=2, bias=False)
        self.norm0 = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(Residual(width, 5, dropout) for _ in range(blocks))
        self.out = nn.Linear(2 * width, self.dim)
        self.scaled = nn.BatchNorm1d(8 * told)
        self.statistics = nn.Sequential(
            nn.Linear(8 * told, 2 * self.dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * self.dim, self.dim)
        )
        self.norm = nn.LayerNorm(self.dim)

    def views(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """What the convolutions see (B, T, S), and that of which the statistics tell (B, T, F)."""
        raise NotImplementedError

    def tokens_of(self, x: Tensor) -> Tensor:
        """(B, K, d) from (B, T, C) in the modality's units."""
        seen_BTS, told_BTF = self.views(fitted(x, self.channels))
        y_BCT = F.relu(self.norm0(self.stem(seen_BTS.transpose(1, 2))))
        for depth, block in enumerate(self.blocks):
            y_BCT = block(y_BCT)
            if depth == 0 and y_BCT.shape[-1] >= 2 * self.tokens:
                y_BCT = F.max_pool1d(y_BCT, 2)
        seen_BKC = torch.stack([torch.cat([p.mean(-1), p.amax(-1)], -1) for p in self._parts(y_BCT, -1)], 1)
        whole_BC = statistics(told_BTF)
        stats_BKC = torch.stack([torch.cat([statistics(p), whole_BC], -1) for p in self._parts(told_BTF, 1)], 1)
        scaled_BKC = self.scaled(stats_BKC.flatten(0, 1)).unflatten(0, stats_BKC.shape[:2])
        tokens_BKd: Tensor = self.norm(self.out(seen_BKC) + self.statistics(scaled_BKC))
        return tokens_BKd

    def _parts(self, x: Tensor, dim: int) -> list[Tensor]:
        """K parts of (nearly) equal length, by slicing: adaptive pooling does not export for T = 50 and K = 4.

        Fewer points than parts are taken more than once.
        """
        length = x.shape[dim]
        edges = [round(k * length / self.tokens) for k in range(self.tokens + 1)]
        return [x.narrow(dim, min(a, length - 1), max(b - a, 1)) for a, b in pairwise(edges)]


def statistics(x_BTC: Tensor) -> Tensor:
    """Mean, standard deviation, greatest and least over time, (B, 4 C)."""
    mean = x_BTC.mean(1)
    deviation = ((x_BTC - mean[:, None]).square().mean(1) + 1e-6).sqrt()
    return torch.cat([mean, deviation, x_BTC.amax(1), x_BTC.amin(1)], -1)


def standardised(x_BTC: Tensor) -> Tensor:
    """Each channel without its offset and scale over the window: what is left is the shape of the movement."""
    centred = x_BTC - x_BTC.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + STILL**2).sqrt()


def inertial_features(x_BTC: Tensor) -> Tensor:
    """(B, T, 14) from (B, T, 6) m/s2 and rad/s: the six axes, both norms, and parts along and across gravity.

    Gravity is the mean acceleration over the window; where that vanishes its direction is taken as zero and the
    parts along it are zero.
    """
    acc = x_BTC[..., :3] / STANDARD_GRAVITY
    gyro = x_BTC[..., 3:6] / GYRO_SCALE
    mean = acc.mean(1, keepdim=True)
    length2 = mean.square().sum(-1, keepdim=True) + 1e-4
    down, short = mean / length2.sqrt(), 1e-4 / length2  # |down|^2 = 1 - short
    parts = [acc, gyro]
    for vector in (acc, gyro):
        norm2 = vector.square().sum(-1, keepdim=True)
        along = (vector * down).sum(-1, keepdim=True)
        # This is norm2 - along^2, which cancels: below a root the rounding would differ from runtime to runtime.
        across2 = (vector - along * down).square().sum(-1, keepdim=True) + short * along.square()
        parts += [(norm2 + 1e-6).sqrt(), along, (across2 + 1e-6).sqrt()]
    jerk = F.pad(acc[:, 1:] - acc[:, :-1], (0, 0, 1, 0))
    parts += [
        (jerk.square().sum(-1, keepdim=True) + 1e-6).sqrt() * 4.0,
        (acc - mean).square().sum(-1, keepdim=True).clamp_min(1e-8).sqrt(),
    ]
    return torch.cat(parts, -1)


class ImuEncoder(SeriesEncoder):
    """Acceleration and rotation. Channels 7 to 9 are ignored: an orientation as axis times angle, rad, in sets that
    have one. A stream may have a magnetometer there; indoors it points at the nearest iron.
    """

    modality = "imu"
    channels = 6

    def views(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """The 14 inertial features, both times: their scale is physical."""
        f_BTF = inertial_features(x_BTC)
        return f_BTF, f_BTF
