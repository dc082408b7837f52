"""The host's own sensors: a Linux accelerometer as a stream; temperatures, fans and battery as facts.

Temperatures and fans belong to none of the modalities, so they make no stream: `facts` gives them as numbers that
can ride on any frame, `survey` lists them one by one.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Options, Reading
from edge.sensors.options import choose

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

IIO = Path("/sys/bus/iio/devices")
Groups = dict[str, list[Any]]
_AXES = "xyz"
_BLOCK = 5  # samples per reading


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of one of the host's sensors."""

    name: str
    value: float
    unit: str


def survey() -> list[Measured]:
    """Every temperature (degC), fan (rpm) and battery (%) that the system tells of; empty where it tells nothing."""
    temperatures: Groups = getattr(psutil, "sensors_temperatures", dict)()  # Linux and FreeBSD only
    fans: Groups = getattr(psutil, "sensors_fans", dict)()
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    found = [
        Measured(f"{chip} {each.label}".strip(), float(each.current), unit)
        for groups, unit in ((temperatures, "degC"), (fans, "rpm"))
        for chip, sensors in groups.items()
        for each in sensors
    ]
    return found + ([Measured("battery", float(battery.percent), "%")] if battery else [])


def facts() -> dict[str, float]:
    """The hottest temperature, the fastest fan and the charge: `host.temperature`, `host.fan`, `host.battery`."""
    names = {"degC": "host.temperature", "rpm": "host.fan", "%": "host.battery"}
    out: dict[str, float] = {}
    for each in survey():
        out[names[each.unit]] = max(out.get(names[each.unit], -np.inf), each.value)
    return out


class HostFacts:
    """`facts()`, read anew every few seconds: temperatures move slowly, and reading them takes longer than a window."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._every_s, self._read_at, self._facts = every_s, -every_s, dict[str, float]()

    def __call__(self) -> dict[str, float]:
        """The newest facts."""
        if time.monotonic() - self._read_at >= self._every_s:
            self._read_at, self._facts = time.monotonic(), facts()
        return self._facts


def accelerometers(root: Path = IIO) -> dict[str, Path]:
    """Industrial I/O devices that measure acceleration, one at least, by their own name.

    Raises:
        ConfigError: there is none.
    """
    found = {
        _text(folder / "name") or folder.name: folder for folder in sorted(root.glob("iio:device*")) if _has(folder)
    }
    if not found:
        raise ConfigError(f"accelerometer: none in {root}; this machine has no Industrial I/O accelerometer")
    return found


def _has(folder: Path) -> bool:
    return (folder / "in_accel_x_raw").exists()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


class AccelerometerSensor:
    """An accelerometer, with gyroscope where the chip has one, read through the files of Linux Industrial I/O.

    Turn rates of a chip without a gyroscope are 0. Options: device (its name; the first one if not given), rate (Hz).
    """

    modality = "imu"

    def __init__(self, options: Options, stream: "Stream", clock: "Clock", root: Path = IIO) -> None:
        chosen = choose("accelerometer", options, device="", rate=stream.rate)
        found = accelerometers(root)
        name = chosen["device"] or next(iter(found))
        if name not in found:
            raise ConfigError(f"accelerometer: device {name!r} is none of {', '.join(found)}")
        if chosen["rate"] <= 0:
            raise ConfigError(f"accelerometer: rate {chosen['rate']:g} Hz; give a positive one")
        self._folder, self._clock, self._period = found[name], clock, 1.0 / chosen["rate"]
        self._channels = [self._channel(kind, axis) for kind in ("accel", "anglvel") for axis in _AXES]

    async def readings(self) -> AsyncIterator[Reading]:
        """Samples in blocks of five; a value that cannot be read is NaN. Raises OSError when the chip is gone."""
        t, values = np.empty(_BLOCK, np.int64), np.empty((_BLOCK, 6), np.float32)
        due = self._clock.now()
        while True:
            for i in range(_BLOCK):
                due += round(self._period * SECOND)
                if abs(due - self._clock.now()) > SECOND:  # the clock was set: no hour of silence, and no burst
                    due = self._clock.now()
                await self._clock.sleep(max(0.0, (due - self._clock.now()) / SECOND))
                t[i], values[i] = self._clock.now(), self._sample()
            if np.isnan(values[:, :3]).all():
                raise OSError(f"accelerometer: {self._folder} tells nothing; is the chip still there?")
            yield Reading(t.copy(), values.copy())

    def _channel(self, kind: str, axis: str) -> tuple[Path, float, float] | None:
        """File, offset and scale of a channel: (raw + offset) x scale is in m/s2 or rad/s."""
        raw = self._folder / f"in_{kind}_{axis}_raw"
        if not raw.exists():
            return None
        scale, offset = (
            _text(self._folder / f"in_{kind}_{axis}_{what}") or _text(self._folder / f"in_{kind}_{what}")
            for what in ("scale", "offset")
        )
        channel = raw, _number(offset or "0"), _number(scale or "1")
        if not np.isfinite(channel[1:]).all():
            raise ConfigError(f"accelerometer: {raw} has the offset {offset!r} and the scale {scale!r}: no numbers")
        return channel

    def _sample(self) -> NDArray[np.float32]:
        sample = np.zeros(6, np.float32)
        for i, channel in enumerate(self._channels):
            if channel:
                raw, offset, scale = channel
                sample[i] = (_number(_text(raw)) + offset) * scale
        return sample
