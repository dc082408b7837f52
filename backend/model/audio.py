"""The encoder of sound: log-mel bands of a window, 2-D convolutions, and K tokens that attend to the whole picture.

The spectrum is a fixed Conv1d, whose export is exact and fast; `torch.stft` is neither. Loudness is taken out of the
picture, so that a far dog is a dog, and given back to every token as a number. Nothing here knows of labels,
recordings or augmentation of waveforms; hiding bands of the picture while training is its own business, because
only it has the picture.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.trunk import Encoder, EncoderOptions, block

FRAME = 512
"""Samples of one spectral frame: 32 ms at 16 kHz, a line every 31 Hz."""
STRIDE = 160
"""Samples from frame to frame: 10 ms at 16 kHz."""
LOWEST_HZ, HIGHEST_HZ = 40.0, 7800.0
FLOOR = 1e-8
"""Mean square of a line (full scale is 1) that counts as silence: -80 dB."""
PICTURE_SCALE, LEVEL_SCALE, LEVEL_OFFSET = 4.0, 5.0, 2.5
"""Nepers that count as one unit in the picture and in the level, and the usual level in that unit."""


def dft_kernel(frame: int) -> NDArray[np.float32]:
    """Cosines then sines of the lines 0..frame/2 under a Hann window: (frame + 2, 1, frame).

    Scaled so that a full-scale sine on a line has a squared magnitude of 1 / FLOOR: silence is 1, which can be added
    before the logarithm. (A small number in its place is taken for zero, and dropped, when a graph is exported.)
    """
    phase = 2.0 * np.pi * np.outer(np.arange(frame // 2 + 1), np.arange(frame)) / frame
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(frame) / frame)
    kernel = np.concatenate([np.cos(phase), np.sin(phase)]) * hann * 2.0 / hann.sum() / FLOOR**0.5
    return np.asarray(kernel[:, None], np.float32)


def mel_bank(bands: int, frame: int, rate: float) -> NDArray[np.float32]:
    """Triangles over DFT lines (bands, frame/2 + 1), each of sum 1, equally spaced in mel (O'Shaughnessy 1987).

    Where a band is narrower than the lines are apart it takes the line nearest to its centre.
    """
    highest = min(HIGHEST_HZ, rate / 2)
    mel = np.linspace(_mel(LOWEST_HZ), _mel(highest), bands + 2)
    edge = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    line = np.arange(frame // 2 + 1) * rate / frame
    rise = (line - edge[:-2, None]) / np.diff(edge)[:-1, None]
    fall = (edge[2:, None] - line) / np.diff(edge)[1:, None]
    bank = np.minimum(rise, fall).clip(min=0.0)
    for band in np.flatnonzero(bank.sum(1) < 1e-3):
        bank[band, np.abs(line - edge[band + 1]).argmin()] = 1.0
    return np.asarray(bank / bank.sum(1, keepdims=True), np.float32)


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


class LogMel(nn.Module):
    """Nepers above silence of each mel band: (B, T) -> (B, bands, frames). Fixed, so no part of the weights."""

    kernel: Tensor
    bank: Tensor

    def __init__(self, bands: int, rate: float) -> None:
        super().__init__()
        self.lines = FRAME // 2 + 1
        self.register_buffer("kernel", torch.from_numpy(dft_kernel(FRAME)), persistent=False)
        self.register_buffer("bank", torch.from_numpy(mel_bank(bands, FRAME, rate))[..., None], persistent=False)

    def forward(self, x_BT: Tensor) -> Tensor:
        """Needs at least one frame of samples (32 ms). Always in float32: a spectrum has more range than bfloat16."""
        if torch.is_autocast_enabled(x_BT.device.type):
            with torch.autocast(x_BT.device.type, enabled=False):
                picture_BFT: Tensor = self(x_BT.float())
                return picture_BFT
        wave = F.conv1d(x_BT[:, None], self.kernel, stride=STRIDE)
        power = wave[:, : self.lines].square() + wave[:, self.lines :].square()
        return (F.conv1d(power, self.bank) + 1.0).log()


class Masks(nn.Module):
    """Hides stripes of the picture while training (SpecAugment, Park et al. 2019): some bands, some time."""

    def __init__(self, bands: int = 10, frames: int = 16) -> None:
        super().__init__()
        self.bands, self.frames = bands, frames

    def forward(self, x_BFT: Tensor) -> Tensor:
        """Same shape; stripes are 0, the mean of the picture. Does nothing in evaluation."""
        if not self.training:
            return x_BFT
        for dim, widest in ((1, self.bands), (1, self.bands), (2, self.frames)):
            hidden_BL = _stripe(len(x_BFT), x_BFT.shape[dim], widest, x_BFT.device)
            x_BFT = x_BFT.masked_fill(hidden_BL.unsqueeze(3 - dim), 0.0)
        return x_BFT


def _stripe(rows: int, length: int, widest: int, device: torch.device) -> Tensor:
    """One stripe per row, of a random width up to `widest`: bool (rows, length)."""
    width = torch.randint(0, min(widest, length // 4) + 1, (rows, 1), device=device)
    start = (torch.rand(rows, 1, device=device) * (length - width + 1)).long()
    place = torch.arange(length, device=device)
    return (place >= start) & (place < start + width)


class AudioEncoder(Encoder):
    """Sound of a quarter of a second or more at 16 kHz, full scale 1, to K tokens."""

    modality = "audio"

    def __init__(
        self, *, bands: int = 64, width: int = 16, dropout: float = 0.2, **options: Unpack[EncoderOptions]
    ) -> None:
        super().__init__(**options)
        self.spectrum = LogMel(bands, self.rate)
        self.masks = Masks()
        widths = [1, width, 2 * width, 4 * width, 8 * width, 8 * width]
        layers: list[nn.Module] = []
        for depth, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += block(inputs, outputs, (2, 2) if depth < 4 else (1, 1))
        # Channels last: twice as fast on a CPU, in training and in the trunk alike.
        self.trunk = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout(dropout)
        self.attend = nn.Conv2d(8 * width, self.tokens, 1)
        self.out = nn.Linear(8 * width, self.dim)
        self.level = nn.Linear(2, self.dim)
        self.part = nn.Parameter(torch.randn(self.tokens, self.dim) * 0.02)
        self.norm = nn.LayerNorm(self.dim)

    def tokens_of(self, x_BTC: Tensor) -> Tensor:
        """(B, K, d) from (B, T, 1), full scale 1."""
        mel_BFT = self.spectrum(x_BTC.squeeze(-1))  # not [..., 0]: a Gather costs 6 % of a window on a device
        mean_B11 = mel_BFT.mean((1, 2), keepdim=True)
        level_B2 = torch.cat([mean_B11[:, 0], mel_BFT.amax((1, 2), keepdim=True)[:, 0]], 1) / LEVEL_SCALE - LEVEL_OFFSET
        picture_BFT = self.masks((mel_BFT - mean_B11) / PICTURE_SCALE)
        seen_BCP = self.dropout(self.trunk(picture_BFT[:, None]))
        weight_BKP = self.attend(seen_BCP).flatten(2).softmax(-1)
        pooled_BKC = weight_BKP @ seen_BCP.flatten(2).transpose(1, 2)
        tokens_BKD: Tensor = self.norm(self.out(pooled_BKC) + self.part + self.level(level_B2)[:, None])
        return tokens_BKD
