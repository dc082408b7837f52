"""The encoder of numbers that somebody else has computed: a row of a table, each number of about one, 0 where absent.

Columns of different tables are different channels: which of them are there says what kind of row it is, so that one
encoder serves them all. It knows neither names nor units.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from backend.model.trunk import Encoder, EncoderOptions, compressed, fitted
from broker.modalities import READABLE


class FeaturesEncoder(Encoder):
    """Two layers over the row of a window, beside which of its numbers are there."""

    modality = "features"
    size = READABLE["features"].size

    def __init__(self, *, width: int = 128, dropout: float = 0.3, **options: Unpack[EncoderOptions]) -> None:
        super().__init__(**options)
        self.layers = nn.Sequential(
            nn.Linear(2 * self.channels, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, self.tokens * self.dim),
        )
        self.norm = nn.LayerNorm(self.dim)

    def tokens_of(self, x: Tensor) -> Tensor:
        """(B, K, d) from (B, 1, 1, C)."""
        row_BC = fitted(x.flatten(1), self.channels)
        there_BC = (row_BC != 0).to(row_BC.dtype)
        tokens_BKd: Tensor = self.norm(
            self.layers(torch.cat([compressed(row_BC), there_BC], -1)).unflatten(1, (self.tokens, self.dim))
        )
        return tokens_BKd
