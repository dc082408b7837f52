"""The machine's microphone, through PortAudio.

Blocks come from PortAudio's thread in bursts; their samples are stamped by counting, steered slowly towards the
system's clock, so that sound stays as regular as it was sampled.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.sensors import Options, Reading
from edge.sensors.options import SECOND, choose

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

_BLOCK_S = 0.05
_LOST_S = 0.2  # off by more than this, samples have been lost: start counting anew
_STEER = 0.3  # samples per block; less than half a sample, so that none is ever left out or doubled


class SampleClock:
    """Event times of samples that arrive in blocks at `rate` Hz."""

    def __init__(self, rate: float) -> None:
        self._sample_ns = SECOND / rate
        self._next: int | None = None

    def stamp(self, n: int, arrived: int) -> NDArray[np.int64]:
        """(n,) ns UTC of the samples of a block that was complete at `arrived`."""
        length = round(n * self._sample_ns)
        late = arrived - length - self._next if self._next is not None else 0
        if self._next is None or abs(late) > _LOST_S * SECOND:
            self._next, late = arrived - length, 0
        limit = _STEER * self._sample_ns
        begin = self._next + round(min(max(0.01 * late, -limit), limit))
        self._next = begin + length
        stamps: NDArray[np.int64] = begin + np.rint(np.arange(n) * self._sample_ns).astype(np.int64)
        return stamps


def portaudio() -> Any:
    """The sounddevice module. Raises ConfigError that says how to install what is missing."""
    try:
        import sounddevice
    except ImportError:
        raise ConfigError("microphone: sounddevice is missing; pip install 'iotlm[microphone]'") from None
    except OSError:
        raise ConfigError("microphone: the PortAudio library is missing; apt install libportaudio2") from None
    return sounddevice


def names() -> list[str]:
    """The input devices there are. Raises ConfigError without PortAudio."""
    return [str(device["name"]) for device in portaudio().query_devices() if device["max_input_channels"]]


class MicrophoneSensor:
    """One channel of an input device. Options: device (part of its name; the system's default if not given)."""

    modality = "audio"

    def __init__(self, options: Options, stream: "Stream", clock: "Clock") -> None:
        if stream.modality != self.modality:
            raise ConfigError(f"stream {stream.name}: a microphone gives audio, not {stream.modality}")
        self._device = choose("microphone", options, device="")["device"] or None
        self._stream, self._clock = stream, clock
        self._portaudio = portaudio()

    async def readings(self) -> AsyncIterator[Reading]:
        """Blocks of a twentieth of a second. Raises ConfigError when there is no such device."""
        loop, blocks = asyncio.get_running_loop(), asyncio.Queue[tuple[NDArray[np.float32], int]]()

        def heard(data: NDArray[np.float32], frames: int, time: object, status: object) -> None:
            loop.call_soon_threadsafe(blocks.put_nowait, (data.copy(), self._clock.now()))

        stamps = SampleClock(self._stream.rate)
        try:
            source = self._portaudio.InputStream(
                samplerate=self._stream.rate,
                blocksize=round(_BLOCK_S * self._stream.rate),
                device=self._device,
                channels=1,
                dtype="float32",
                callback=heard,
            )
        except (self._portaudio.PortAudioError, ValueError) as error:
            raise ConfigError(f"microphone: device {self._device or 'default'} cannot be opened: {error}") from None
        with source:
            while True:
                data, arrived = await blocks.get()
                yield Reading(stamps.stamp(len(data), arrived), data)
