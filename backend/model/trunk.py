"""What every encoder is: a module that turns windows of one modality into a few tokens and a quality.

Featurisation belongs inside `forward`, so that training and an exported graph cannot differ. An encoder knows
nothing of tasks, fusion or other modalities.
"""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Base of all encoders.

    A subclass sets `modality` and `channels`, and implements `tokens_of(x_BTC) -> (B, K, d)`. `rate` (Hz) and
    `window_s` (s) are the grid that `x` lies on; `forward` is what gets exported.
    """

    modality: str
    channels: int
    units: str

    def __init__(self, *, rate: float, window_s: float, hop_s: float, tokens: int, dim: int) -> None:
        super().__init__()
        self.rate, self.window_s, self.hop_s = rate, window_s, hop_s
        self.tokens, self.dim = tokens, dim
        self.trust = nn.Linear(dim, 1)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, 3.0)

    @property
    def samples(self) -> int:
        """Samples T of one window on the encoder's grid."""
        return round(self.rate * self.window_s)

    def tokens_of(self, x_BTC: Tensor) -> Tensor:
        """Tokens (B, K, d) of windows (B, T, C) in physical units."""
        raise NotImplementedError

    def forward(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, K, d) and a quality (B,) in 0..1 that is learned through the gate."""
        tokens_BKD = self.tokens_of(x_BTC)
        quality_B = torch.sigmoid(self.trust(tokens_BKD.mean(1))).squeeze(-1)
        return tokens_BKD, quality_B

    def describe(self) -> dict[str, float | int | str]:
        """The encoder's contract, as the exported file's metadata states it."""
        return {
            "modality": self.modality,
            "rate": self.rate,
            "window_s": self.window_s,
            "hop_s": self.hop_s,
            "tokens": self.tokens,
            "dim": self.dim,
            "channels": self.channels,
            "units": self.units,
        }

    def digest(self) -> str:
        """sha256 hex of the contract and of every weight: the encoder's identity on the wire."""
        sha = hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()
