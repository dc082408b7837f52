"""Where samples come from: what every sensor yields, and the table of the sensors there are.

A sensor stamps its samples with event time and yields them as they come. It knows nothing of windows, of facts or of
the wire. Adding one is a file and a row here; a row imports its file only when the sensor is used, because a
device without a microphone has no PortAudio.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream


@dataclass(frozen=True, slots=True)
class Reading:
    """Some consecutive samples: `t` (n,) int64 ns UTC when each was measured, `values` (n, C) float32 in the units of
    the modality. Samples that could not be measured are NaN or absent.
    """

    t: NDArray[np.int64]
    values: NDArray[np.float32]


class Sensor(Protocol):
    """A source of readings of one modality."""

    modality: str

    def readings(self) -> AsyncIterator[Reading]:
        """Readings in order of time, paced by the clock; ends where a recording ends, else never."""
        ...


Options = Mapping[str, Any]
Open = Callable[[Options, "Stream", "Clock"], Sensor]


def _simulator(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.simulator import SimulatorSensor

    return SimulatorSensor(options, stream, clock)


def _replay(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.replay import open_replay

    return open_replay(options, stream, clock)


def _microphone(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.microphone import MicrophoneSensor

    return MicrophoneSensor(options, stream, clock)


def _accelerometer(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.host import AccelerometerSensor

    return AccelerometerSensor(options, stream, clock)


SENSORS: dict[str, Open] = {
    "simulator": _simulator,
    "replay": _replay,
    "microphone": _microphone,
    "accelerometer": _accelerometer,
}
