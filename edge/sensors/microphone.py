"""The machine's microphone, through PortAudio.

Blocks come from PortAudio's thread in bursts; their samples are stamped by counting, steered slowly towards the
system's clock, so that sound stays as regular as it was sampled. A microphone that is unplugged tells nobody: its
silence is what is noticed. Opening it again is not done here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from broker.errors import ConfigError
from edge.clock import SECOND
from edge.sensors import Options, Reading
from edge.sensors.options import choose

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.windows import Stream

_BLOCK_S = 0.05
_LOST_S = 0.2  # off by more than this, samples have been lost: start counting anew
_STEER = 0.3  # samples per block; less than half a sample, so that none is ever left out or doubled
_SILENCE_S = 5.0  # without any block for so long, the microphone has failed


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
        raise ConfigError("microphone: sounddevice is missing; pip install '.[microphone]' in the clone") from None
    except OSError:
        raise ConfigError("microphone: the PortAudio library is missing; apt install libportaudio2") from None
    return sounddevice


def names() -> list[str]:
    """The input devices there are, one at least. Raises ConfigError without any, or without PortAudio."""
    found = [str(device["name"]) for device in portaudio().query_devices() if device["max_input_channels"]]
    if not found:
        raise ConfigError("no input device")
    return found


class MicrophoneSensor:
    """One channel of an input device. Options: device (part of its name; the system's default if not given).

    Raises:
        ConfigError: there is no such device, or it does not record at the stream's rate.
    """

    modality = "audio"
    _listening: ClassVar[int] = 0  # open microphones of this process

    def __init__(self, options: Options, stream: "Stream", clock: "Clock", silence_s: float = _SILENCE_S) -> None:
        self._clock, self._rate, self._silence_s = clock, stream.rate, silence_s
        self._portaudio = portaudio()
        device = choose("microphone", options, device="")["device"] or None
        self._settings = {"samplerate": stream.rate, "device": device, "channels": 1, "dtype": "float32"}
        try:
            if not MicrophoneSensor._listening:
                # PortAudio knows the devices that were there when it began; beginning anew would end other streams.
                with contextlib.suppress(self._portaudio.PortAudioError):  # it may not have begun the last time
                    self._portaudio._terminate()
                self._portaudio._initialize()
            self._portaudio.check_input_settings(**self._settings)
        except (self._portaudio.PortAudioError, ValueError) as error:
            raise ConfigError(f"microphone: device {device or 'default'} cannot be opened: {error}") from None

    async def readings(self) -> AsyncIterator[Reading]:
        """Blocks of a twentieth of a second. Raises OSError when the device fails, or is silent for 5 s."""
        loop, blocks = asyncio.get_running_loop(), asyncio.Queue[tuple[NDArray[np.float32], int]]()

        def heard(data: NDArray[np.float32], frames: int, time: object, status: object) -> None:
            loop.call_soon_threadsafe(blocks.put_nowait, (data.copy(), self._clock.now()))

        stamps = SampleClock(self._rate)
        MicrophoneSensor._listening += 1
        try:
            block = round(_BLOCK_S * self._rate)
            # `closing`, not the stream's own `with`: that waits for a device that may be gone.
            with contextlib.closing(
                self._portaudio.InputStream(**self._settings, blocksize=block, callback=heard)
            ) as source:
                source.start()
                while True:
                    data, arrived = await self._next(blocks)
                    yield Reading(stamps.stamp(len(data), arrived), data)
        except (self._portaudio.PortAudioError, ValueError) as error:  # the latter: no device of that name any more
            raise OSError(f"microphone: {error}") from None
        finally:
            MicrophoneSensor._listening -= 1

    async def _next(self, blocks: "asyncio.Queue[tuple[NDArray[np.float32], int]]") -> tuple[NDArray[np.float32], int]:
        try:
            async with asyncio.timeout(self._silence_s):
                return await blocks.get()
        except TimeoutError:
            raise TimeoutError(f"microphone: no samples for {self._silence_s:g} s; is it still plugged in?") from None
