"""From a sensor to frames: reading -> window -> tokens and facts -> frame. What an agent stores and sends.

A `Source` yields the frames of some streams of a device, without numbers: the spool gives those. It is told what has
been stored before, so that after a kill it goes on where it was and neither repeats nor omits a window. A live sensor
that fails is opened again here, and nowhere else. It refuses to know about the spool's policy and the network.
"""

import hashlib
import logging
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError, IotlmError
from broker.messages import LIMIT, Frame, StreamInfo
from edge.clock import SECOND, Clock
from edge.encoder import Encoder
from edge.facts import facts
from edge.metrics import Metrics
from edge.sensors import Reading, Sensor
from edge.windows import Stream, Window, cutter_for

log = logging.getLogger(__name__)

_BESIDE_SAMPLES = 16 << 10  # bytes of a frame that are no samples, at most
_CLOCK_WAS_WRONG_NS = 60 * SECOND
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # between a sensor's failure and the next attempt to open it
_VAIN_NS = 10 * SECOND  # of samples without a window are told

Done = Callable[[str], int | None]
"""Event time (ns UTC) of the newest stored window of a stream; None before the first."""


class Source(Protocol):
    """Frames of one or more streams. `patient` sources wait for acknowledgements rather than have frames evicted."""

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """What the device announces of this source."""

    @property
    def patient(self) -> bool:
        """Whether its frames can wait: a recording's can, a microphone's cannot."""

    def frames(self, done: Done) -> AsyncIterator[tuple[str, Frame]]:
        """Stream names and frames in order of time, newer than what is done; ends where a recording ends."""


class LiveSensor:
    """A live sensor that is opened again whenever it fails, while the device's other streams go on.

    A failure is told once, and so is the return; every attempt that fails is counted. Pauses double from 1 s to 60 s,
    and begin at 1 s again once the sensor has lasted for the longest of them. What was missed in between is a gap in
    time like any other.

    Args:
        stream: its name, for the log.
        open_sensor: called at once, so that a setting that can never work is an error at the start.

    Raises:
        ConfigError: it cannot be opened at the start.
    """

    def __init__(self, stream: str, open_sensor: Callable[[], Sensor], clock: Clock, metrics: Metrics) -> None:
        self._stream, self._open, self._clock, self._metrics = stream, open_sensor, clock, metrics
        self._first = open_sensor()
        self.modality = self._first.modality

    async def readings(self) -> AsyncIterator[Reading]:
        """The sensor's readings over any number of failures; ends where it ends."""
        sensor: Sensor | None = self._first
        pause, failed_at = _FIRST_PAUSE_S, None
        while True:
            opened_at = self._clock.now()
            try:
                sensor = sensor or self._open()
                async for reading in sensor.readings():
                    if failed_at is not None:
                        away_s = (self._clock.now() - failed_at) / SECOND
                        log.info("stream %s: its sensor is back after %.0f s", self._stream, away_s)
                        failed_at = None
                    yield reading
                return
            except (IotlmError, OSError) as error:
                self._metrics.sensor_failures.inc()
                if failed_at is None:
                    failed_at = self._clock.now()
                    log.warning("stream %s: its sensor failed, and is opened again: %s", self._stream, error)
            if self._clock.now() - opened_at > _LONGEST_PAUSE_S * SECOND:
                pause = _FIRST_PAUSE_S
            sensor = None
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class SensorSource:
    """One stream of one sensor.

    Args:
        site, device: whose sensor it is; they enter the windows' trace ids.
        encoder: makes tokens of the windows; without one they travel raw.
        patient: see `Source`.
        host_facts: what the device says of itself, to travel with every window.

    Raises:
        ConfigError: sensor, stream and encoder do not fit each other.
    """

    def __init__(
        self,
        site: str,
        device: str,
        stream: Stream,
        sensor: Sensor,
        clock: Clock,
        *,
        encoder: Encoder | None = None,
        patient: bool = False,
        metrics: Metrics | None = None,
        host_facts: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        if sensor.modality != stream.modality:
            raise ConfigError(f"stream {stream.name}: modality {stream.modality}, its sensor gives {sensor.modality}")
        if encoder is not None:
            encoder.check(stream)
        else:
            _check_travels(stream)
        self.patient = patient
        self._stream, self._sensor, self._encoder, self._clock = stream, sensor, encoder, clock
        self._metrics, self._host_facts = metrics or Metrics(), host_facts
        self._name = f"{site}/{device}/{stream.name}"
        self._newest: int | None = None  # sample, ns UTC
        self._vain_ns, self._told = 0, False  # of samples since the newest window

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """What the device announces of this stream."""
        stream, encoder = self._stream, self._encoder
        digest = "" if encoder is None else encoder.digest
        grid = (stream.rate, stream.window_s, stream.hop_s)
        return (StreamInfo(stream.name, stream.modality, stream.placement, stream.row.units, *grid, digest),)

    async def frames(self, done: Done) -> AsyncIterator[tuple[str, Frame]]:
        """The stream's frames; windows that are done already cost no encoding."""
        newest = done(self._stream.name)
        if newest is not None and not self.patient and newest > self._clock.now() + _CLOCK_WAS_WRONG_NS:
            newest = None  # or a device that once believed in a far future would be silent until then
        cutter = cutter_for(self._stream)
        async for reading in self._sensor.readings():
            windows = cutter.push(reading)
            self._note_vain(reading, windows)
            for window in windows:
                if newest is None or window.t0 > newest:
                    yield self._stream.name, self.frame(window)
        for window in cutter.flush():
            if newest is None or window.t0 > newest:
                yield self._stream.name, self.frame(window)

    def _note_vain(self, reading: Reading, windows: list[Window]) -> None:
        """Say so, once, when a live sensor's samples come and come and make no window. A recording is judged whole."""
        if not len(reading.t):
            return
        newest = int(reading.t[-1])
        step = min(max(newest - (self._newest or newest), 0), SECOND)  # an outage is not in vain
        self._newest, self._vain_ns = newest, 0 if windows or self.patient else self._vain_ns + step
        if self._vain_ns >= _VAIN_NS and not self._told:
            self._told = True
            log.warning("stream %s: its samples make no window: %s", self._stream.name, self._need())

    def _need(self) -> str:
        """What windows of this kind take, as an answer to why there are none."""
        row = self._stream.row
        if row.axes == ("time",):
            return f"{row.name} takes {row.min_rate:g} finite samples a second or more, for half of a window at least"
        if "time" in row.axes:
            return f"they show less than half of every clip; of a camera this slow make an image, not a {row.name}"
        return "over half of the numbers in every frame are not finite"

    def frame(self, window: Window) -> Frame:
        """One window as it travels; epoch and numbers are the spool's to give."""
        stream, encoder, quality = self._stream, self._encoder, window.quality
        data: NDArray[Any]
        if encoder is None:
            data, scale = raw(window)
        else:
            with self._metrics.encode_s.time():
                data, trust = encoder.encode(window.values)
            scale, quality = 1.0, quality * trust
        return Frame(
            epoch="",
            seq=1,
            base=1,
            modality=stream.modality,
            placement=stream.placement,
            kind="raw" if encoder is None else "tokens",
            t0=window.t0,
            rate=window.rate,
            data=data,
            scale=scale,
            encoder="" if encoder is None else encoder.digest,
            facts=facts(window) | (self._host_facts() if self._host_facts else {}),
            quality=quality,
            clock="synced" if self._clock.synced() else "unsynced",
            trace=traceparent(f"{self._name}/{window.t0}"),
        )


def stream_for(
    name: str,
    modality: str,
    placement: str,
    encoder: Encoder | None,
    grid: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Stream:
    """A stream with rate, window and hop as in `grid`; those that are 0 are the encoder's, else the modality's."""
    theirs = (encoder.rate, encoder.window_s, encoder.hop_s) if encoder else (0.0, 0.0, 0.0)
    in_time = (mine or its for mine, its in zip(grid, theirs, strict=True))
    return Stream(name, modality, placement, *in_time, size=encoder.size if encoder else (0, 0))


def raw(window: Window) -> tuple[NDArray[Any], float]:
    """A window's samples in the number type that its modality travels in, and the scale back to physical units.

    What the type cannot hold becomes the nearest number that it can.
    """
    row = window.stream.row
    dtype = np.dtype("<" + row.dtype)
    if dtype.kind == "f":
        largest = np.finfo(dtype).max
        return np.clip(window.values, -largest, largest).astype(dtype), row.scale
    limits = np.iinfo(dtype)
    return np.clip(np.rint(window.values / row.scale), limits.min, limits.max).astype(dtype), row.scale


def _check_travels(stream: Stream) -> None:
    """Raise `ConfigError` for a stream whose raw windows no broker would carry."""
    size = math.prod(stream.shape) * np.dtype(stream.row.dtype).itemsize
    if size > LIMIT - _BESIDE_SAMPLES:
        what = [f"size {list(stream.size)}"] if any(stream.size) else []
        what += [f"rate {stream.rate:g} Hz, window_s {stream.window_s:g}"] if "time" in stream.row.axes else []
        raise ConfigError(
            f"stream {stream.name}: {', '.join(what)}: a raw window of {stream.modality} has {size} bytes, a message "
            f"at most {LIMIT}; make it smaller, or give it an encoder"
        )


def traceparent(name: str) -> str:
    """A W3C traceparent that is always the same for the same window, so that a repetition is the same trace."""
    digest = hashlib.blake2b(name.encode(), digest_size=24).hexdigest()
    return f"00-{digest[:32]}-{digest[32:]}-01"
