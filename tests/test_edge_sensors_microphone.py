"""The microphone: times of what it hears, and what becomes of one that is absent, unplugged or silent."""

import asyncio

import numpy as np
import pytest

from broker.errors import ConfigError
from edge.clock import ManualClock
from edge.metrics import Metrics
from edge.sensors.microphone import MicrophoneSensor, SampleClock, portaudio
from edge.sources import LiveSensor
from edge.windows import SECOND, Stream
from tests.test_edge_sensors import taken

T0 = 1_700_000_000 * SECOND
AUDIO = Stream("mic", "audio", "room")


def test_sound_from_the_microphone_is_stamped_evenly():
    """Blocks arrive in bursts and the card's clock runs 40 ppm fast; stamps stay even and true to a few ms."""
    clock, rng, block = SampleClock(16000), np.random.default_rng(0), 800
    stamps, true = [], []
    for k in range(1200):
        done = T0 + round((k + 1) * block / 16000 * (1 - 40e-6) * SECOND)
        stamps.append(clock.stamp(block, done + int(rng.exponential(0.004) * SECOND)))
        true.append(done - block * 62500)
    steps = np.diff(np.concatenate(stamps))
    assert np.all(np.abs(steps - 62500) < 0.5 * 62500)
    assert np.abs([s[0] - t for s, t in zip(stamps, true, strict=True)][100:]).max() < 0.012 * SECOND


def test_the_microphone_starts_counting_anew_after_a_loss():
    clock = SampleClock(16000)
    clock.stamp(800, T0)
    assert clock.stamp(800, T0 + SECOND)[-1] == T0 + SECOND - 62500


def test_a_microphone_that_is_not_there_is_one_clear_error():
    async def listen() -> None:
        await asyncio.wait_for(taken(MicrophoneSensor({"device": "no such device"}, AUDIO, ManualClock()), 1), 10)

    with pytest.raises(ConfigError, match="microphone"):
        asyncio.run(listen())


async def test_the_microphone_hears():
    try:
        if not [d for d in portaudio().query_devices() if d["max_input_channels"]]:
            pytest.skip("this machine has no input device")
    except ConfigError as error:
        pytest.skip(str(error))
    from edge.clock import SystemClock

    reading = await asyncio.wait_for(taken(MicrophoneSensor({}, AUDIO, SystemClock()), 5), 20)
    assert reading.values.shape == (4000, 1)


class FakePortAudio:
    """PortAudio with a microphone that gives `blocks` and then says nothing; `there` is whether it is plugged in."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks: int = 3) -> None:
        self.there, self.blocks, self.begun, self.closed = True, blocks, 0, 0
        self.failing, self.on = False, True

    def _terminate(self) -> None:
        if not self.on:
            raise self.PortAudioError("PortAudio not initialized")
        self.on = False

    def _initialize(self) -> None:
        if self.failing:
            raise self.PortAudioError("Unanticipated host error")
        self.begun, self.on = self.begun + 1, True

    def check_input_settings(self, **settings) -> None:
        if not self.there:
            raise self.PortAudioError("Invalid device")

    def InputStream(self, *, blocksize, callback, **settings):  # noqa: N802 (PortAudio's name)
        if not self.there and settings["device"]:
            raise ValueError(f"No input device matching {settings['device']!r}")
        self.blocksize, self.callback = blocksize, callback
        return self

    def start(self) -> None:
        if not self.there:
            raise self.PortAudioError("Device unavailable")
        for _ in range(self.blocks):
            self.callback(np.zeros((self.blocksize, 1), np.float32), self.blocksize, None, None)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake_portaudio(monkeypatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setattr("edge.sensors.microphone.portaudio", lambda: fake)
    return fake


async def test_a_microphone_that_falls_silent_has_failed(fake_portaudio):
    readings = MicrophoneSensor({}, AUDIO, ManualClock(T0), silence_s=0.1).readings()
    assert [len((await anext(readings)).t) for _ in range(3)] == [800] * 3
    with pytest.raises(OSError, match=r"no samples for 0\.1 s; is it still plugged in"):
        await anext(readings)
    assert fake_portaudio.closed == 1


async def test_opened_again_the_microphone_looks_for_devices_anew_unless_another_listens(fake_portaudio):
    listening = MicrophoneSensor({}, AUDIO, ManualClock(T0))
    readings = listening.readings()
    await anext(readings)
    assert fake_portaudio.begun == 1
    MicrophoneSensor({}, AUDIO, ManualClock(T0))
    assert fake_portaudio.begun == 1  # beginning anew would end the one that listens
    await readings.aclose()
    MicrophoneSensor({}, AUDIO, ManualClock(T0))
    assert fake_portaudio.begun == 2


async def test_a_microphone_that_is_unplugged_fails_to_open_and_to_start(fake_portaudio):
    sensor = MicrophoneSensor({}, AUDIO, ManualClock(T0))
    fake_portaudio.there = False
    with pytest.raises(OSError, match="Device unavailable"):
        await anext(sensor.readings())
    with pytest.raises(ConfigError, match="device default cannot be opened: Invalid device"):
        MicrophoneSensor({}, AUDIO, ManualClock(T0))
    fake_portaudio.there = True
    sensor = MicrophoneSensor({"device": "usb"}, AUDIO, ManualClock(T0))
    fake_portaudio.there = False
    with pytest.raises(OSError, match="No input device matching 'usb'"):
        await anext(sensor.readings())


async def test_portaudio_that_cannot_begin_anew_is_tried_again(fake_portaudio):
    metrics, failures = Metrics(), []

    class Clock(ManualClock):
        async def sleep(self, seconds: float) -> None:
            failures.append(metrics.sensor_failures._value.get())
            fake_portaudio.failing, fake_portaudio.there = len(failures) < 3, True
            await super().sleep(seconds)

    live = LiveSensor("mic", lambda: MicrophoneSensor({}, AUDIO, Clock(T0)), Clock(T0), metrics)
    fake_portaudio.there = False
    readings = live.readings()
    assert len((await anext(readings)).t) == 800
    assert failures == [1, 2, 3]
    await readings.aclose()
