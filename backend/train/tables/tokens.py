"""Windows as tokens: every sense is encoded once, and all rows of the tables learn above the same encoders.

The paper trains encoders with each row (Eq. 2, B.1 to B.5), on GPUs; here what a row costs is what stands above them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from backend.data.recording import Sequence, Series
from backend.model.sensorlm import SensorModel

AT_ONCE = 64
"""Windows that are encoded at once."""


def encoded(model: SensorModel, sequences: Iterable[Sequence]) -> list[Sequence]:
    """The sequences with tokens (L, K, d), as float16, in the place of windows; senses without an encoder have none."""
    found = []
    for one in sequences:
        series = tuple(_encoded(model, s) for s in one.series if s.modality in model.config.modalities)
        if series:
            found.append(replace(one, series=series))
    return found


@torch.inference_mode()
def _encoded(model: SensorModel, one: Series) -> Series:
    there = np.flatnonzero(one.present)
    values = np.zeros((len(one.values), model.config.tokens, model.config.dim), np.float16)
    quality = one.quality.copy()
    for first in range(0, len(there), AT_ONCE):
        chosen = there[first : first + AT_ONCE]
        x = torch.from_numpy(one.values[chosen].astype(np.float32) * np.float32(one.scale))
        tokens_nKd, trust_n = model.encode(one.modality, x, one.rate)
        values[chosen] = tokens_nKd.numpy()
        quality[chosen] *= trust_n.numpy()
    return replace(one, values=values, scale=1.0, quality=quality, encoded=True)
