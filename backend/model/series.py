"""The encoder of inertial windows: what the sensor says, seen in the sensor's frame and against gravity.

The frame of gravity makes a turn a turn however a watch is worn; the sensor's own frame keeps posture (a thigh
lies or stands). Offset and scale, which a convolution forgets, come back as statistics that join the tokens.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.trunk import Encoder

STANDARD_GRAVITY = 9.80665
GYRO_SCALE = 2.0
"""rad/s that count as one unit: about the standard deviation of a wrist that walks."""
FEATURES = 14


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


class ImuEncoder(Encoder):
    """Convolutions over the features, pooled into K parts of the window, with the window's statistics in each."""

    modality = "imu"
    channels = 6
    units = "m/s2, rad/s"

    def __init__(
        self,
        *,
        rate: float = 50.0,
        window_s: float = 1.0,
        hop_s: float = 0.5,
        tokens: int = 4,
        dim: int = 128,
        width: int = 48,
        blocks: int = 2,
        dropout: float = 0.15,
    ) -> None:
        super().__init__(rate=rate, window_s=window_s, hop_s=hop_s, tokens=tokens, dim=dim)
        self.stem = nn.Conv1d(FEATURES, width, 5, padding=2, bias=False)
        self.norm0 = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(Residual(width, 5, dropout) for _ in range(blocks))
        self.out = nn.Linear(2 * width, dim)
        self.scaled = nn.BatchNorm1d(8 * FEATURES)
        self.statistics = nn.Sequential(
            nn.Linear(8 * FEATURES, 2 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim)
        )
        self.norm = nn.LayerNorm(dim)

    def tokens_of(self, x_BTC: Tensor) -> Tensor:
        """(B, K, d) from (B, T, 6)."""
        f_BTC = inertial_features(x_BTC)
        y_BCT = F.relu(self.norm0(self.stem(f_BTC.transpose(1, 2))))
        for depth, block in enumerate(self.blocks):
            y_BCT = block(y_BCT)
            if depth == 0:
                y_BCT = F.max_pool1d(y_BCT, 2)
        seen_BKC = torch.stack([torch.cat([p.mean(-1), p.amax(-1)], -1) for p in self._parts(y_BCT, -1)], 1)
        whole_BC = statistics(f_BTC)
        stats_BKC = torch.stack([torch.cat([statistics(p), whole_BC], -1) for p in self._parts(f_BTC, 1)], 1)
        scaled_BKC = self.scaled(stats_BKC.flatten(0, 1)).unflatten(0, stats_BKC.shape[:2])
        tokens_BKd: Tensor = self.norm(self.out(seen_BKC) + self.statistics(scaled_BKC))
        return tokens_BKd

    def _parts(self, x: Tensor, dim: int) -> list[Tensor]:
        """K parts of (nearly) equal length, by slicing: adaptive pooling does not export for T = 50 and K = 4."""
        length = x.shape[dim]
        edges = [round(k * length / self.tokens) for k in range(self.tokens + 1)]
        return [x.narrow(dim, a, b - a) for a, b in pairwise(edges)]


def statistics(x_BTC: Tensor) -> Tensor:
    """Mean, standard deviation, greatest and least over time, (B, 4 C)."""
    mean = x_BTC.mean(1)
    deviation = ((x_BTC - mean[:, None]).square().mean(1) + 1e-6).sqrt()
    return torch.cat([mean, deviation, x_BTC.amax(1), x_BTC.amin(1)], -1)
