"""What is wrong with a device: noise, drift, holes, lost samples, jittery stamps, a clock that is off.

Each flaw is a function of (seed, time) as the scene is, whatever the samples were chunked into. Of what is measured it
knows only what no sensor would say.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Reading

Floats = NDArray[np.float64]

_LATTICE = 1 << 14  # random numbers per second and purpose: finer than sound is sampled
_NARROW = 8  # channels of a series up to which noise comes from lattices, one for each
_HOLES, _WIDE = 3, 4  # purposes
_EXACT_FROM = {"camera": 3}  # channels from here on are no measurement: the rays of a camera's pixels
# The least and the most that a sensor gives, for all measured channels or for each.
_GIVEN: dict[str, tuple[float | tuple[float, ...], float | tuple[float, ...]]] = {
    "image": (0.0, 1.0),
    "video": (0.0, 1.0),
    "camera": (0.0, 1.0),
    "depth": (0.0, np.inf),
    "lidar": (0.0, (np.inf, 1.0)),
    "gps": ((-np.inf, -np.inf, -np.inf, 0.0), np.inf),
}


@dataclass(frozen=True, slots=True)
class Flaws:
    """How bad it is; all zero is a perfect device.

    `noise` is added with this standard deviation (units of the values); `drift` is an offset of this size that wanders
    over minutes; `dropout` is the share of half seconds in which samples are lost; `jitter_s` is the mean delay of time
    stamps; `clock_error_s` is what the device's clock is ahead; `holes` is the share of pixels of a frame that read 0,
    as a depth camera's do where its light does not come back. What reads 0 in a frame has no noise either.
    """

    noise: float = 0.0
    drift: float = 0.0
    dropout: float = 0.0
    jitter_s: float = 0.0
    clock_error_s: float = 0.0
    seed: int = 0
    holes: float = 0.0

    def __post_init__(self) -> None:
        least = min(self.noise, self.drift, self.dropout, self.jitter_s, self.seed, self.holes)
        if least < 0 or max(self.dropout, self.holes) > 1:
            raise ConfigError(f"simulator: {self}; flaws are not negative, dropout and holes are at most 1")

    def apply(self, reading: Reading, modality: str = "") -> Reading:
        """The reading as the flawed device would give it; times never fall within it.

        Of a `modality` that is given, values stay what its sensors can say: colours within 0..1, no negative range or
        speed; and what a camera knows of its optics stays exact.
        """
        values, measured = reading.values.astype(np.float64), _EXACT_FROM.get(modality)
        least, most = _GIVEN.get(modality, (-np.inf, np.inf))
        values[..., :measured] = np.clip(self._flawed(reading.t, values[..., :measured]), least, most)
        t, kept = self.stamps(reading.t)
        return Reading(t, values[kept].astype(np.float32))

    def stamps(self, t: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The device's stamps of the samples at times `t` (n,), without those that are lost; and (n,) which are not."""
        kept = self._kept(t)
        if self.jitter_s:
            delay = 1.2533 * self.jitter_s * np.abs(self._random(t, 1))  # the mean of a half-normal is 0.798 sigma
            t = np.maximum.accumulate(t + (delay * SECOND).astype(np.int64))
        if self.clock_error_s:
            t = t + round(self.clock_error_s * SECOND)
        return t[kept], kept

    def _flawed(self, t: NDArray[np.int64], values: Floats) -> Floats:
        frames, channels = values.ndim > 2, values.shape[-1]
        nothing = values == 0
        if self.noise and (frames or channels > _NARROW):
            noise = [self._at(now, _WIDE).standard_normal(values.shape[1:], np.float32) for now in t]
            values = values + self.noise * np.asarray(noise).reshape(values.shape)
        elif self.noise:
            values = values + self.noise * np.stack([self._random(t, 10 + c) for c in range(channels)], -1)
        if self.drift:
            phase = 6.28 * t[:, None] / (SECOND * np.linspace(90.0, 240.0, channels)) % 6.28
            wandered = self.drift * np.sin(phase + np.arange(channels))
            values = values + wandered.reshape(len(t), *[1] * (values.ndim - 2), channels)
        if frames and self.holes:
            holes = [self._at(now, _HOLES).random(values.shape[1:3], np.float32) < self.holes for now in t]
            nothing = nothing | np.asarray(holes, bool).reshape(*values.shape[:3], 1)
        return np.where(nothing, 0.0, values) if frames else values

    def _at(self, t: np.int64, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, int(t)])

    def _kept(self, t: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not self.dropout:
            return np.ones(len(t), bool)
        halves = t // (SECOND // 2)
        lost = [h for h in np.unique(halves) if np.random.default_rng([self.seed, 2, int(h)]).random() < self.dropout]
        return ~np.isin(halves, lost)

    def _random(self, t: NDArray[np.int64], purpose: int) -> Floats:
        """(n,) standard normal numbers that belong to the times."""
        seconds, within = np.divmod(t, SECOND)
        out = np.empty(len(t))
        for second in np.unique(seconds):
            now = seconds == second
            out[now] = _draw(self.seed, purpose, int(second))[within[now] * _LATTICE // SECOND]
        return out


@lru_cache(maxsize=64)
def _draw(seed: int, purpose: int, second: int) -> Floats:
    return np.random.default_rng([seed, purpose, second]).standard_normal(_LATTICE)
