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

from broker.errors import ConfigError
from broker.modalities import MODALITIES

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
        """Readings in order of time, paced by the clock; ends where a recording ends, else never.

        Raises:
            IotlmError, OSError: the sensor has failed; a live one is then opened anew (`edge.sources.LiveSensor`).
        """
        ...


Options = Mapping[str, Any]
Open = Callable[[Options, "Stream", "Clock"], Sensor]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sensor, called to open one for a stream.

    `modalities` are what it can measure. `survey` says which there are on this machine, or raises ConfigError that says
    why there is none. The samples of a `patient` one can wait, as a recording's can and a microphone's cannot.
    """

    name: str
    modalities: tuple[str, ...]
    open: Open
    survey: Callable[[], str]
    patient: bool = False

    def __call__(self, options: Options, stream: "Stream", clock: "Clock") -> Sensor:
        """Open it. Raises ConfigError for options that cannot be used, DataError for a recording that cannot."""
        if stream.modality not in self.modalities:
            has = f"it has {', '.join(self.modalities)}"
            raise ConfigError(f"stream {stream.name}: sensor {self.name} has no {stream.modality}; {has}")
        return self.open(options, stream, clock)


def _simulator(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.simulator import SimulatorSensor

    return SimulatorSensor(options, stream, clock)


def _replay(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.replay import open_replay

    return open_replay(options, stream, clock)


def _microphone(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.microphone import MicrophoneSensor

    return MicrophoneSensor(options, stream, clock)


def _microphones() -> str:
    from edge.sensors.microphone import names

    return ", ".join(names())


def _accelerometer(options: Options, stream: "Stream", clock: "Clock") -> Sensor:
    from edge.sensors.host import AccelerometerSensor

    return AccelerometerSensor(options, stream, clock)


def _accelerometers() -> str:
    from edge.sensors.host import accelerometers

    return ", ".join(accelerometers())


def _table(*kinds: Kind) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds}


_SERIES = tuple(name for name, row in MODALITIES.items() if row.axes == ("time",))

SENSORS: dict[str, Kind] = _table(
    Kind("simulator", tuple(MODALITIES), _simulator, lambda: "scenes home, drive and touch; options scene, seed"),
    Kind("replay", _SERIES, _replay, lambda: "CSV, WAV, FLAC, OGG, sp_sw_har, esc10; option path", patient=True),
    Kind("microphone", ("audio",), _microphone, _microphones),
    Kind("accelerometer", ("imu",), _accelerometer, _accelerometers),
)
