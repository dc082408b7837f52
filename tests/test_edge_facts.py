"""Facts: one property per fact, over generated motion and sound."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.facts import AUDIO, FACTS, IMU, facts
from edge.windows import Stream, Window

MOTION, SOUND = Stream("imu", "imu", "wrist"), Stream("mic", "audio", "room")
RATE = 16000
TIME = np.arange(RATE) / RATE

seeds = st.integers(0, 2**32)
sizes = st.floats(0.05, 20.0)
tones = st.floats(80.0, 1200.0)
levels = st.floats(0.01, 1.0)
checked = settings(max_examples=40, deadline=None)


def of_motion(acc: np.ndarray, gyro: np.ndarray | None = None) -> dict[str, float]:
    values = np.concatenate([acc, np.zeros_like(acc) if gyro is None else gyro], 1).astype(np.float32)
    return facts(Window(MOTION, 0, 50.0, values, 1.0))


def of_sound(x: np.ndarray) -> dict[str, float]:
    return facts(Window(SOUND, 0, float(RATE), x.astype(np.float32)[:, None], 1.0))


def moved(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal([0, 0, 9.81], 2, (50, 3))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, RATE)


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


@checked
@given(seeds, st.floats(0.1, 10))
def test_imu_rms_scales_with_motion_and_ignores_gravity_and_orientation(seed, factor):
    acc = moved(seed)
    still = acc.mean(0)
    rms = of_motion(acc)["imu.rms"]
    assert of_motion(still + factor * (acc - still))["imu.rms"] == pytest.approx(factor * rms, rel=1e-3)
    assert of_motion(acc @ rotation(seed).T)["imu.rms"] == pytest.approx(rms, rel=1e-4)
    assert of_motion(np.repeat(still[None], 50, 0))["imu.rms"] == pytest.approx(0, abs=1e-5)


@checked
@given(seeds, st.integers(0, 49), st.floats(30, 150))
def test_imu_peak_is_the_spike(seed, at, height):
    acc = np.clip(moved(seed), -12, 12)
    acc[at] = height * rotation(seed)[0]
    assert of_motion(acc)["imu.peak"] == pytest.approx(height, rel=1e-5)


@checked
@given(seeds, st.integers(0, 49))
def test_imu_peak_time_is_when_the_spike_was(seed, at):
    acc = np.clip(moved(seed), -12, 12)
    acc[at] = [0, 99, 0]
    assert of_motion(acc)["imu.peak_time"] == pytest.approx(at / 50)


@checked
@given(st.floats(-300, 300), seeds)
def test_imu_jerk_of_a_ramp_is_its_slope(slope, seed):
    acc = np.arange(50)[:, None] / 50 * slope * rotation(seed)[0] + [0, 0, 9.81]
    assert of_motion(acc)["imu.jerk"] == pytest.approx(abs(slope), rel=1e-3, abs=1e-3)


@checked
@given(st.integers(2, 20), st.floats(0.2, 5), st.floats(0, 6.28))
def test_imu_frequency_finds_a_shaking(hertz, size, phase):
    acc = np.array([0, 0, 9.81]) + size * np.sin(2 * np.pi * hertz * np.arange(50) / 50 + phase)[:, None] * [0, 0, 1]
    assert of_motion(acc)["imu.frequency"] == pytest.approx(hertz)


@checked
@given(st.integers(2, 20), seeds)
def test_imu_regularity_is_high_for_a_shaking_and_low_for_noise(hertz, seed):
    shaking = np.array([0, 0, 9.81]) + np.sin(2 * np.pi * hertz * np.arange(50) / 50)[:, None] * [0, 0, 3]
    random = np.array([0, 0, 9.81]) + np.random.default_rng(seed).normal(0, 1, (50, 1)) * [0, 0, 1]
    assert of_motion(shaking)["imu.regularity"] > 0.95
    assert 0 < of_motion(random)["imu.regularity"] < 0.8


@checked
@given(st.floats(0, 180), st.floats(0, 360))
def test_imu_tilt_is_the_angle_of_the_z_axis(tilt, heading):
    a, b = np.radians([tilt, heading])
    up = 9.81 * np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])
    assert of_motion(np.repeat(up[None], 50, 0))["imu.tilt"] == pytest.approx(tilt, abs=1e-3)


@checked
@given(seeds, sizes)
def test_imu_turn_rms_of_steady_turning_is_its_rate_about_any_axis(seed, rate):
    gyro = np.repeat(rate * rotation(seed)[:1], 50, 0)
    assert of_motion(moved(seed), gyro)["imu.turn_rms"] == pytest.approx(rate, rel=1e-5)


@checked
@given(seeds, st.integers(0, 49), st.floats(5, 40))
def test_imu_turn_peak_is_the_fastest_sample(seed, at, rate):
    gyro = np.clip(np.random.default_rng(seed).normal(0, 1, (50, 3)), -2, 2)
    gyro[at] = rate * rotation(seed)[0]
    found = of_motion(moved(seed), gyro)
    assert found["imu.turn_peak"] == pytest.approx(rate, rel=1e-5)
    assert found["imu.turn_rms"] <= found["imu.turn_peak"]


@checked
@given(seeds, st.floats(-180, 180), st.floats(-5, 5))
def test_imu_turned_is_the_angle_about_the_vertical_however_the_device_lies(seed, angle, swing):
    lie = rotation(seed)
    gyro = np.array([swing, -swing, np.radians(angle)])
    acc = np.repeat((lie @ [0, 0, 9.81])[None], 50, 0)
    turned = of_motion(acc, np.repeat((lie @ gyro)[None], 50, 0))["imu.turned"]
    assert turned == pytest.approx(angle, abs=0.01)


@checked
@given(tones, st.floats(0.001, 1.0))
def test_audio_level_of_a_sine(hertz, size):
    found = of_sound(size * np.sin(2 * np.pi * round(hertz) * TIME))
    assert found["audio.level"] == pytest.approx(20 * np.log10(size) - 3.01, abs=0.02)


@checked
@given(seeds, st.integers(0, RATE - 1), st.floats(0.9, 1.0), st.sampled_from([-1, 1]))
def test_audio_peak_is_the_greatest_sample_of_either_sign(seed, at, height, sign):
    x = np.clip(noise(seed), -0.8, 0.8)
    x[at] = sign * height
    assert of_sound(x)["audio.peak"] == pytest.approx(height, rel=1e-6)


@checked
@given(seeds, levels)
def test_audio_crest_is_of_the_shape_and_not_of_the_level(seed, level):
    assert of_sound(level * noise(seed))["audio.crest"] == pytest.approx(of_sound(noise(seed))["audio.crest"], abs=1e-3)
    assert of_sound(level * np.sin(2 * np.pi * 440 * TIME))["audio.crest"] == pytest.approx(3.01, abs=0.01)


@checked
@given(st.integers(20, 7000), levels)
def test_audio_zero_crossings_are_twice_the_frequency(hertz, level):
    found = of_sound(level * np.sin(2 * np.pi * hertz * TIME + 0.3))
    assert found["audio.zero_crossings"] == pytest.approx(2 * hertz, abs=2)


@checked
@given(st.integers(100, 7000), st.integers(100, 7000))
def test_audio_centroid_lies_between_two_equal_tones(low, high):
    x = 0.4 * np.sin(2 * np.pi * low * TIME) + 0.4 * np.sin(2 * np.pi * high * TIME + 1.57)
    if abs(low - high) > 4:
        assert of_sound(x)["audio.centroid"] == pytest.approx((low + high) / 2, rel=0.01)


@checked
@given(st.integers(100, 3000), st.integers(50, 2000))
def test_audio_bandwidth_of_two_equal_tones_is_half_their_distance(low, apart):
    x = 0.4 * np.sin(2 * np.pi * low * TIME) + 0.4 * np.sin(2 * np.pi * (low + apart) * TIME)
    assert of_sound(x)["audio.bandwidth"] == pytest.approx(apart / 2, rel=0.02, abs=1)


@checked
@given(st.integers(100, 3000), st.floats(0.0, 0.3))
def test_audio_rolloff_stays_at_the_stronger_tone(low, weaker):
    x = 0.6 * np.sin(2 * np.pi * low * TIME) + 0.6 * weaker * np.sin(2 * np.pi * 2 * low * TIME)
    assert of_sound(x)["audio.rolloff"] == pytest.approx(low, abs=2)


@checked
@given(seeds, tones, levels)
def test_audio_flatness_tells_noise_from_a_tone(seed, hertz, level):
    tone, white = level * np.sin(2 * np.pi * hertz * TIME), level * noise(seed)
    assert of_sound(tone)["audio.flatness"] < 0.01
    assert 0.45 < of_sound(white)["audio.flatness"] < 0.7


@checked
@given(st.integers(0, 6), seeds)
def test_audio_onsets_counts_beeps(beeps, seed):
    x = 0.001 * noise(seed)
    for k in range(beeps):
        start = 1600 + k * 2240
        x[start : start + 640] += 0.5 * np.sin(2 * np.pi * 1000 * TIME[:640])
    assert of_sound(x)["audio.onsets"] == beeps


@checked
@given(tones, levels)
def test_audio_pitch_of_a_harmonic_sound_is_its_fundamental(hertz, level):
    x = level * sum(np.sin(2 * np.pi * k * hertz * TIME + k) / k for k in range(1, 6)) / 2
    assert of_sound(x)["audio.pitch"] == pytest.approx(hertz, rel=0.01)


@checked
@given(seeds, st.integers(100, 800))
def test_audio_voicing_tells_a_voice_from_noise(seed, hertz):
    voice = sum(np.sin(2 * np.pi * k * hertz * TIME) / k for k in range(1, 4)) / 3
    assert of_sound(voice)["audio.voicing"] > 0.85
    found = of_sound(noise(seed))
    assert found["audio.voicing"] < 0.1
    assert found["audio.pitch"] == 0.0


@pytest.mark.parametrize("values", [np.zeros((50, 6)), np.full((50, 6), 1e4), np.full((1, 6), 9.0)])
def test_motion_without_motion_has_finite_facts(values):
    found = facts(Window(MOTION, 0, 50.0, values.astype(np.float32), 1.0))
    assert set(found) == set(IMU)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("values", [np.zeros(16000), np.ones(16000), np.full(16000, 1e-30), np.ones(3)])
def test_silence_has_finite_facts(values):
    found = of_sound(values)
    assert set(found) == set(AUDIO)
    assert np.isfinite(list(found.values())).all()
    assert found["audio.level"] >= -120


def test_every_fact_has_a_unit_a_formula_and_a_property():
    assert len(IMU) >= 8
    assert len(AUDIO) >= 8
    tested = " ".join(name for name in globals() if name.startswith("test_"))
    for name, fact in {**IMU, **AUDIO}.items():
        assert FACTS[name] == fact.unit
        assert re.search(r": .*[(/|]", fact.of.__doc__ or ""), f"{name} has no formula"
        assert f"test_{name.replace('.', '_')}" in tested, f"{name} has no property test"


def test_a_modality_without_facts_has_none():
    stream = Stream("gps", "gps", "car")
    assert facts(Window(stream, 0, 5.0, np.zeros((5, 3), np.float32), 1.0)) == {}
