"""What a microphone in a car hears: its engine, the road under it, and now and then a horn or a siren.

The engine's pitch follows its turns and the road's noise follows speed, so that sound and motion agree. Time is
rendered in blocks of 8 s. This module knows nothing of labels: a horn is part of the street here, no event.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.clock import SECOND
from edge.simulator.ride import LAP_S, lap_of
from edge.simulator.sound import shaped_noise

Floats = NDArray[np.float64]
Random = np.random.Generator

_BLOCK_S = 8.0
_BLOCKS = round(LAP_S / _BLOCK_S)
_SOUND, _CABIN = 20, 21  # one stream of random numbers each
_FADE_S = 0.05


def sound_of(seed: int, t0_ns: int, n: int, rate: float) -> NDArray[np.float32]:
    """(n,) full scale +-1: n samples from `t0_ns` on, at `rate` Hz.

    Samples lie on a grid of the rate that is aligned to 1970; `t0_ns` counts as the nearest point of it.
    """
    rate_hz = round(rate)
    per_block = round(_BLOCK_S * rate_hz)
    first = (t0_ns * rate_hz + SECOND // 2) // SECOND
    pieces = []
    while n > 0:
        number, at = divmod(first, per_block)
        pieces.append(_block(seed, number, rate_hz)[at : at + n])
        first, n = first + len(pieces[-1]), n - len(pieces[-1])
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


@lru_cache(maxsize=4)
def _block(seed: int, number: int, rate: int) -> NDArray[np.float32]:
    """(samples of a block,)"""
    lap, u = lap_of(seed, number // _BLOCKS), number % _BLOCKS * _BLOCK_S + np.arange(round(_BLOCK_S * rate)) / rate
    rng, cabin = np.random.default_rng([seed, _SOUND, number]), np.random.default_rng([seed, _CABIN])
    speed, throttle, turns = (lap.at(name, u) for name in ("speed", "throttle", "turns"))
    level = 10 ** (cabin.uniform(-32, -24) / 20)
    colour = cabin.uniform(0.5, 1.3)
    engine = sum(np.sin(2 * np.pi * k * turns + k * k) / k**colour for k in (1, 2, 3, 4, 6, 8, 10, 12, 16))
    road: list[tuple[float, float]] = [(20, -6), (60, 0), (250, -6), (1000, -16), (4000, -32), (8000, -44)]
    rolling = _noise(seed, number, rate, road)
    air = shaped_noise(rng, len(u), rate, [(20, 0), (100, -4), (1000, -24), (8000, -36)])
    sound = level * (0.35 + 0.9 * throttle) * engine / 1.5
    sound = sound + 1.4 * level * (speed / 10.0) ** 1.3 * rolling + 0.05 * level * air
    sound = sound + _street(rng, u - u[0], rate, level)
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def _noise(seed: int, number: int, rate: int, points: list[tuple[float, float]]) -> Floats:
    """The road's noise, blended over from the block before, so that no block begins with a click."""
    n, fade = round(_BLOCK_S * rate), round(_FADE_S * rate)
    before, now = (
        shaped_noise(np.random.default_rng([seed, _SOUND, max(number - back, 0), 1]), n + fade, rate, points)
        for back in (1, 0)
    )
    share = np.arange(fade) / fade
    blended = now[:n].copy()
    blended[:fade] = np.sqrt(share) * now[:fade] + np.sqrt(1 - share) * before[n:]
    return blended


def _street(rng: Random, u: Floats, rate: int, level: float) -> Floats:
    """A horn in one block of six, a siren in one of ten; both end within their block."""
    heard = np.zeros_like(u)
    if rng.random() < 1 / 6:
        start, pitch = rng.uniform(0.2, 6.0), rng.uniform(330.0, 480.0)
        for length in rng.uniform(0.15, 0.7, rng.integers(1, 3)):
            shape = np.clip((u - start) / 0.02, 0, 1) * np.clip((start + length - u) / 0.03, 0, 1)
            tones = sum(np.sin(2 * np.pi * pitch * k * u) / k for k in (1.0, 1.25, 2.0, 2.5, 3.0))
            heard += rng.uniform(1.0, 4.0) * level * shape * tones
            start += length + 0.15
    if rng.random() < 1 / 10:
        swell = np.sin(np.pi * u / _BLOCK_S) ** 2
        sweep = 950.0 + 350.0 * np.sin(2 * np.pi * u / rng.uniform(1.5, 4.0))
        phase = 2 * np.pi * np.cumsum(sweep) / rate
        heard += rng.uniform(0.5, 2.5) * level * swell * (np.sin(phase) + 0.4 * np.sin(2 * phase))
    return heard
