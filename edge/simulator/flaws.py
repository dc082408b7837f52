"""What is wrong with a device: noise, drift, lost samples, jittery stamps, a clock that is off.

Each flaw is a function of (seed, time) as the scene is, whatever the samples were chunked into. It knows nothing of
what is measured.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Reading

_LATTICE = 1 << 14  # random numbers per second and purpose: finer than sound is sampled


@dataclass(frozen=True, slots=True)
class Flaws:
    """How bad it is; all zero is a perfect device.

    `noise` is added with this standard deviation (units of the values); `drift` is an offset of this size that wanders
    over minutes; `dropout` is the share of half seconds in which samples are lost; `jitter_s` is the mean delay of time
    stamps; `clock_error_s` is what the device's clock is ahead.
    """

    noise: float = 0.0
    drift: float = 0.0
    dropout: float = 0.0
    jitter_s: float = 0.0
    clock_error_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.noise, self.drift, self.dropout, self.jitter_s, self.seed) < 0 or self.dropout > 1:
            raise ConfigError(f"simulator: {self}; flaws are not negative and dropout is at most 1")

    def apply(self, reading: Reading) -> Reading:
        """The reading as the flawed device would give it; times never fall within it."""
        t, values = reading.t, reading.values.astype(np.float64)
        channels = values.shape[1]
        if self.noise:
            values = values + self.noise * np.stack([self._random(t, 10 + c) for c in range(channels)], -1)
        if self.drift:
            phase = 6.28 * t[:, None] / (SECOND * np.linspace(90.0, 240.0, channels)) % 6.28
            values = values + self.drift * np.sin(phase + np.arange(channels))
        if self.jitter_s:
            delay = 1.2533 * self.jitter_s * np.abs(self._random(t, 1))  # the mean of a half-normal is 0.798 sigma
            t = np.maximum.accumulate(t + (delay * SECOND).astype(np.int64))
        if self.clock_error_s:
            t = t + round(self.clock_error_s * SECOND)
        kept = self._kept(reading.t)
        return Reading(t[kept], values[kept].astype(np.float32))

    def _kept(self, t: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not self.dropout:
            return np.ones(len(t), bool)
        halves = t // (SECOND // 2)
        lost = [h for h in np.unique(halves) if np.random.default_rng([self.seed, 2, int(h)]).random() < self.dropout]
        return ~np.isin(halves, lost)

    def _random(self, t: NDArray[np.int64], purpose: int) -> NDArray[np.float64]:
        """(n,) standard normal numbers that belong to the times."""
        seconds, within = np.divmod(t, SECOND)
        out = np.empty(len(t))
        for second in np.unique(seconds):
            now = seconds == second
            out[now] = _draw(self.seed, purpose, int(second))[within[now] * _LATTICE // SECOND]
        return out


@lru_cache(maxsize=64)
def _draw(seed: int, purpose: int, second: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, purpose, second]).standard_normal(_LATTICE)
