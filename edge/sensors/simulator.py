"""The simulated scene as a sensor: rendered in steps of a tenth of a second as the clock reaches them."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import numpy as np

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Options, Reading
from edge.sensors.options import choose, choose_time
from edge.simulator import PLACEMENTS, Flaws, Scene

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

_STEP_NS = SECOND // 10
_IMU_HZ = 100  # as phones and watches do; the cutter takes it down to the grid


class SimulatorSensor:
    """Motion at a wrist or in a pocket, or the sound of the room, of the scene with that seed.

    Options: seed; start (a time; now if not given); seconds (0 = for ever); speed (0 = as fast as they are taken);
    flaws: noise, drift, dropout, jitter_s, clock_error_s.
    """

    def __init__(self, options: Options, stream: "Stream", clock: "Clock") -> None:
        flaws = {"noise": 0.0, "drift": 0.0, "dropout": 0.0, "jitter_s": 0.0, "clock_error_s": 0.0}
        chosen = choose("simulator", options, seed=0, start="", seconds=0.0, speed=1.0, **flaws)
        if stream.modality == "imu" and stream.placement not in PLACEMENTS:
            raise ConfigError(
                f"stream {stream.name}: no simulated imu at {stream.placement!r}; placements: {', '.join(PLACEMENTS)}"
            )
        self.modality = stream.modality
        self._scene, self._stream, self._clock = Scene(chosen["seed"]), stream, clock
        self._flaws = Flaws(**{name: chosen[name] for name in flaws}, seed=chosen["seed"])
        self._speed, self._seconds = chosen["speed"], chosen["seconds"]
        self._start = choose_time("simulator", chosen["start"])

    async def readings(self) -> AsyncIterator[Reading]:
        """One reading per tenth of a second, on a grid of tenths, so that restarts render the same readings."""
        begun = self._clock.now()
        origin = (begun if self._start is None else self._start) // _STEP_NS
        last = origin + round(self._seconds * 10) if self._seconds else None
        step = origin
        while last is None or step < last:
            due = begun + round((step + 1 - origin) * _STEP_NS / self._speed) if self._speed else 0
            await self._clock.sleep(max(0.0, (due - self._clock.now()) / SECOND))
            yield self._flaws.apply(self._render(step * _STEP_NS))
            step += 1

    def _render(self, t0: int) -> Reading:
        rate = _IMU_HZ if self.modality == "imu" else round(self._stream.rate)
        n = rate // 10
        t = t0 + np.arange(n, dtype=np.int64) * SECOND // rate
        if self.modality == "imu":
            return Reading(t, self._scene.imu(self._stream.placement, t))
        return Reading(t, self._scene.audio(t0, n, rate)[:, None])
