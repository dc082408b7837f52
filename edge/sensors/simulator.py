"""A simulated scene as a sensor: rendered in steps of a tenth of a second as the clock reaches them."""

import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Options, Reading
from edge.sensors.options import choose, choose_time
from edge.simulator import SCENES, Audible, Flaws, Stage

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

_STEP_NS = SECOND // 10
_RATES = {"imu": 100, "gps": 5, "gaze": 60, "pose": 30, "video": 8}  # Hz, as devices do; the cutter makes the grid's
_FRAME_HZ = 4


class SimulatorSensor:
    """One stream of a simulated scene with a seed: motion, sound, pictures, ranges, places, whatever the scene has.

    Options: scene (home, drive, touch: the table SCENES); seed; start (a time; now if not given); seconds (0 = for
    ever); speed (0 = as fast as they are taken); flaws: noise, drift, dropout, jitter_s, clock_error_s, holes.
    """

    def __init__(self, options: Options, stream: "Stream", clock: "Clock") -> None:
        flaws = {"noise": 0.0, "drift": 0.0, "dropout": 0.0, "jitter_s": 0.0, "clock_error_s": 0.0, "holes": 0.0}
        chosen = choose("simulator", options, scene="home", seed=0, start="", seconds=0.0, speed=1.0, **flaws)
        if chosen["scene"] not in SCENES:
            raise ConfigError(f"sensor simulator: option scene is {chosen['scene']!r}; scenes: {', '.join(SCENES)}")
        self.modality = stream.modality
        self._scene = SCENES[chosen["scene"]](chosen["seed"])
        _check(self._scene, chosen["scene"], stream)
        self._stream, self._clock = stream, clock
        own = f"{chosen['seed']}/{stream.name}/{stream.modality}/{stream.placement}"  # no two sensors err alike
        seed = int.from_bytes(hashlib.blake2b(own.encode(), digest_size=8).digest())
        self._flaws = Flaws(**{name: chosen[name] for name in flaws}, seed=seed)
        self._speed, self._seconds = chosen["speed"], chosen["seconds"]
        self._start = choose_time("simulator", chosen["start"])

    async def readings(self) -> AsyncIterator[Reading]:
        """One reading per tenth of a second in which something is measured, on a grid of tenths, so that restarts
        render the same readings.
        """
        begun = self._clock.now()
        origin = (begun if self._start is None else self._start) // _STEP_NS
        last = origin + round(self._seconds * 10) if self._seconds else None
        step = origin
        while last is None or step < last:
            due = begun + round((step + 1 - origin) * _STEP_NS / self._speed) if self._speed else 0
            await self._clock.sleep(max(0.0, (due - self._clock.now()) / SECOND))
            reading = self._render(step * _STEP_NS)
            if len(reading.t):
                yield self._flaws.apply(reading, self.modality)
            step += 1

    def _render(self, t0: int) -> Reading:
        if self.modality == "audio" and isinstance(self._scene, Audible):
            rate = round(self._stream.rate)
            n = rate // 10
            t = t0 + np.arange(n, dtype=np.int64) * SECOND // rate
            return Reading(t, self._scene.audio(t0, n, rate)[:, None])
        rate = _RATES.get(self.modality, _FRAME_HZ)
        first, last = -(-t0 * rate // SECOND), -(-(t0 + _STEP_NS) * rate // SECOND)
        t = np.array([k * SECOND // rate for k in range(first, last)], np.int64)
        return Reading(t, self._scene.render(self.modality, self._stream.placement, t))


def _check(scene: Stage, name: str, stream: "Stream") -> None:
    """Raises ConfigError where the scene does not have the stream. A microphone hears the same at any placement."""
    there = [placement for _, modality, placement in scene.streams() if modality == stream.modality]
    if not there:
        known = ", ".join(dict.fromkeys(modality for _, modality, _ in scene.streams()))
        raise ConfigError(f"stream {stream.name}: no {stream.modality} in the simulated {name}; it has {known}")
    if stream.modality != "audio" and stream.placement not in there:
        raise ConfigError(
            f"stream {stream.name}: no {stream.modality} at {stream.placement!r} in the simulated {name}; "
            f"placements: {', '.join(there)}"
        )
