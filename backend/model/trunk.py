"""What every encoder is: a module that turns windows of one modality into a few tokens and a quality.

Featurisation belongs inside `forward`, so that training and an exported graph cannot differ. Here are also the pieces
that encoders of several kinds are built from. An encoder knows nothing of tasks, fusion or other modalities.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from broker.errors import CheckpointError
from broker.modalities import READABLE
from edge.stream import SIDES

COARSE = 12
"""Cells below which an axis is not divided any more: a token tells places apart by a sixth of a picture, or better
where it averages."""
APART = 2.0
"""How strongly a token prefers its own side before it has learned anything: nepers from middle to edge."""


class EncoderOptions(TypedDict, total=False):
    """What every encoder may be told: the type of the `**options` that a subclass hands on to `Encoder`."""

    rate: float
    window_s: float
    hop_s: float
    tokens: int
    dim: int
    channels: int


class Encoder(nn.Module):
    """Base of all encoders.

    A subclass sets `modality` and implements `tokens_of(x) -> (B, K, d)`; `forward` is what gets exported. Its
    constructor names its own options, and hands on those of every encoder: `rate` (Hz), `window_s` and `hop_s` (s) are
    the grid in time that windows lie on; what is 0 is the modality's own. `channels` are the class's, else as many as
    the modality may have. Raises CheckpointError for channels that it does not have.
    """

    modality: str
    channels: int = 0
    units: str
    size: tuple[int, int] = (0, 0)
    """Height and width of frames; (0, 0) where a window is no picture."""

    def __init__(
        self,
        *,
        rate: float = 0.0,
        window_s: float = 0.0,
        hop_s: float = 0.0,
        tokens: int = 4,
        dim: int = 128,
        channels: int = 0,
    ) -> None:
        super().__init__()
        row = READABLE[self.modality]
        self.rate, self.window_s, self.hop_s = (
            float(mine or its) for mine, its in ((rate, row.rate), (window_s, row.window_s), (hop_s, row.hop_s))
        )
        least, most = len(row.channels), max(len(row.channels), row.most_channels)
        self.channels = channels or self.channels or most
        if not row.takes(self.channels):
            raise CheckpointError(
                f"encoder of {self.modality!r}: channels {channels}; give a number in {least}..{most}, or none"
            )
        self.units = ", ".join(dict.fromkeys(row.units))
        self.tokens, self.dim = tokens, dim
        self.trust = nn.Linear(dim, 1)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, 3.0)

    @property
    def samples(self) -> int:
        """Points in time T of one window on the encoder's grid, where a window has time."""
        return round(self.rate * self.window_s)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one window on the encoder's grid: (T, C), (H, W, C) or (T, H, W, C)."""
        sides = {"time": self.samples, "height": self.size[0], "width": self.size[1]}
        return (*(sides[axis] for axis in READABLE[self.modality].axes), self.channels)

    def tokens_of(self, x: Tensor) -> Tensor:
        """Tokens (B, K, d) of windows (B, *shape) in physical units."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, K, d) and a quality (B,) in 0..1 that is learned through the gate."""
        tokens_BKD = self.tokens_of(x)
        quality_B = torch.sigmoid(self.trust(tokens_BKD.mean(1))).squeeze(-1)
        return tokens_BKD, quality_B

    def describe(self) -> dict[str, float | int | str | tuple[int, int]]:
        """The encoder's contract, as the exported file's metadata states it."""
        about: dict[str, float | int | str | tuple[int, int]] = {
            "modality": self.modality,
            "rate": self.rate,
            "window_s": self.window_s,
            "hop_s": self.hop_s,
            "tokens": self.tokens,
            "dim": self.dim,
            "channels": self.channels,
            "units": self.units,
        }
        return about | {"size": self.size} if any(self.size) else about

    def digest(self) -> str:
        """sha256 hex of the contract and of every weight: the encoder's identity on the wire."""
        sha = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()


def fitted(x: Tensor, channels: int) -> Tensor:
    """The first `channels` of the last axis; those that are absent are zero."""
    there = x.shape[-1]
    return x if there == channels else F.pad(x[..., :channels], (0, max(0, channels - there)))


def compressed(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): about x while that is small, and no more than a few units where it is large."""
    return x.sign() * (x.abs() + 1.0).log()


def resized(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames at `size`, untouched where they have it."""
    there = tuple(x_BCHW.shape[2:])
    if there == size:
        return x_BCHW
    shrinks = there[0] > size[0] or there[1] > size[1]
    return F.interpolate(x_BCHW, size, mode="bilinear", antialias=shrinks)


class Wrap(nn.Module):
    """Puts the last column before the first and the first behind the last: azimuths go round."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W + 2); by slices, because those export."""
        return torch.cat([x_BCHW[..., -1:], x_BCHW, x_BCHW[..., :1]], -1)


def block(inputs: int, outputs: int, pool: tuple[int, int] = (1, 1), *, wraps: bool = False) -> list[nn.Module]:
    """Convolution, normalisation (folds into the convolution when exported), and a pool that divides both axes.

    With `wraps` the right edge of a picture is the neighbour of its left.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=(1, 0 if wraps else 1), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    return [*([Wrap()] if wraps else []), *layers, *([] if pool == (1, 1) else [nn.MaxPool2d(pool)])]


def pools(size: tuple[int, int], most: int) -> list[tuple[int, int]]:
    """By what each of `most` stages divides height and width: long sides first, until neither has COARSE cells."""
    height, width = size
    stages = []
    for _ in range(most):
        longest = max(height, width)
        down, across = (2 if side >= COARSE and 2 * side >= longest else 1 for side in (height, width))
        height, width = height // down, width // across
        stages.append((down, across))
    return stages


def ticks(cells: int, *, wraps: bool = False) -> Tensor:
    """Coordinates (1, cells) of cells along an axis, -1..1; of one that goes round, sine and cosine: (2, cells)."""
    at_N = (torch.arange(cells) + 0.5) / cells
    turn_N = 2.0 * math.pi * at_N
    return torch.stack([turn_N.sin(), turn_N.cos()] if wraps else [2.0 * at_N - 1.0])


def compass(tokens: int) -> Tensor:
    """(K, 2): directions for K tokens to prefer in a plane, one each."""
    angle_K = 2.0 * math.pi * (torch.arange(tokens) + 0.5) / tokens
    return APART * torch.stack([angle_K.sin(), angle_K.cos()], 1)


class PictureTrunk(nn.Module):
    """2-D convolutions over pictures (B, F, H, W) of any size, which are resized to `size`, with their coordinates.

    `place` (D, P) are the coordinates of the P cells of the map that comes out, `channels` those of the map.
    """

    rows: Tensor
    columns: Tensor
    place: Tensor

    def __init__(self, drawn: int, size: tuple[int, int], width: int, *, wraps: bool = False) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("rows", ticks(size[0])[None, :, :, None], persistent=False)
        self.register_buffer("columns", ticks(size[1], wraps=wraps)[None, :, None], persistent=False)
        place = self._coordinates(1)
        widths = [drawn + place.shape[1], width, 2 * width, 4 * width, 8 * width, 8 * width]
        layers: list[nn.Module] = []
        for inputs, outputs, pool in zip(widths, widths[1:], pools(size, len(widths) - 1), strict=False):
            layers += block(inputs, outputs, pool, wraps=wraps)
            place = F.avg_pool2d(place, pool)
        self.channels = widths[-1]
        self.register_buffer("place", place[0].flatten(1), persistent=False)
        # Channels last: frames come so, and training is a third faster on a CPU.
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, picture_BFHW: Tensor) -> Tensor:
        """The map (B, C, h, w)."""
        picture_BFHW = resized(picture_BFHW, self.size)
        seen_BCHW: Tensor = self.layers(torch.cat([picture_BFHW, self._coordinates(picture_BFHW.shape[0])], 1))
        return seen_BCHW

    def _coordinates(self, batch: int) -> Tensor:
        """(B, D, H, W)."""
        height, width = self.size
        return torch.cat([self.rows.expand(batch, -1, -1, width), self.columns.expand(batch, -1, height, -1)], 1)


class Layout(nn.Module):
    """What is where in a map of P cells (B, C, P), in a few channels: a share for each of K tokens, (B, K, d).

    Places that are looked at say too little where the answer is itself a picture, or a body of many joints.
    """

    channels = 8

    def __init__(self, channels: int, cells: int, tokens: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, self.channels, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(self.channels * cells, tokens * dim), nn.Unflatten(1, (tokens, dim)),
        )  # fmt: skip

    def forward(self, seen_BCP: Tensor) -> Tensor:
        """(B, K, d)."""
        share_BKd: Tensor = self.layers(seen_BCP)
        return share_BKd


class Gather(nn.Module):
    """K tokens from a map: each weighs all places and takes what is there, together with where that is.

    The mean coordinates under a softmax are where a token looks (spatial softmax, Levine et al. 2016). `towards` (K, D)
    is what each prefers at first in the D coordinates, so that tokens start apart. `levels` numbers go to all of them.
    """

    def __init__(self, channels: int, towards_KD: Tensor, levels: int, dim: int) -> None:
        super().__init__()
        tokens, coordinates = towards_KD.shape
        self.attend = nn.Conv1d(channels + coordinates, tokens, 1, bias=False)  # a softmax would not see a bias
        with torch.no_grad():
            self.attend.weight[:, channels:] = towards_KD[..., None]
        self.out = nn.Linear(channels + coordinates, dim)
        self.level = nn.Sequential(nn.Linear(levels, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.part = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)

    def forward(self, seen_BCP: Tensor, place_DP: Tensor, level_BL: Tensor, layout_BKd: Tensor) -> Tensor:
        """Tokens (B, K, d) from a map of P places, their coordinates, what featurisation removed, and a layout."""
        all_BCP = torch.cat([seen_BCP, place_DP.expand(seen_BCP.shape[0], -1, -1)], 1)
        weight_BKP = self.attend(all_BCP).softmax(-1)
        pooled_BKC = weight_BKP @ all_BCP.transpose(1, 2)
        tokens_BKD: Tensor = self.norm(self.out(pooled_BKC) + self.part + self.level(level_BL)[:, None] + layout_BKd)
        return tokens_BKD


def sides(modality: str, size: Sequence[int]) -> tuple[int, int]:
    """Height and width of an encoder's pictures, the modality's own where none are given; CheckpointError if wrong."""
    found = tuple(size) or READABLE[modality].size
    least, most = SIDES
    if len(found) != 2 or not all(isinstance(side, int) and least <= side <= most for side in found):
        raise CheckpointError(
            f"encoder of {modality!r}: size {list(found)}; give height and width, each {least}..{most}"
        )
    return found[0], found[1]
