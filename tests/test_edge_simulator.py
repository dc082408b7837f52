"""The simulated scene: the same for everybody who knows the seed, physically sound, and told apart by its labels."""

import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

from broker.errors import ConfigError
from edge.facts import facts
from edge.sensors import Reading
from edge.simulator import ACTIVITIES, ACTIVITY, EVENT, EVENTS, SCENES, Flaws, Scene
from edge.simulator.body import GRAVITY
from edge.windows import SECOND, Stream, cut

T0 = 1_700_000_000 * SECOND
ROUND = 32 * SECOND


def times(seconds: float, rate: int = 100, start: int = T0) -> np.ndarray:
    return start + np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate


def labelled(scene: Scene, placement: str, seconds: float = 96.0) -> dict[str, list]:
    """Windows that lie within one activity, by activity."""
    t = times(seconds)
    out: dict[str, list] = {name: [] for name in ACTIVITIES}
    spans = list(scene.spans(ACTIVITY, int(t[0]), int(t[-1])))
    for window in cut(Stream("imu", "imu", placement), t, scene.imu(placement, t)):
        for span in spans:
            if span.start <= window.t0 and window.t0 + SECOND <= span.end:
                out[span.label].append(window)
    return out


def fact(windows: list, name: str) -> float:
    return float(np.median([facts(w)[name] for w in windows]))


@pytest.mark.parametrize("placement", ["wrist", "pocket"])
def test_motion_is_a_function_of_absolute_time_alone(placement):
    t = times(40.0)
    whole = Scene(3).imu(placement, t)
    pieces = [Scene(3).imu(placement, part) for part in np.array_split(t, 7)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(Scene(4).imu(placement, t), whole)


def test_sound_is_a_function_of_absolute_time_alone():
    whole = Scene(3).audio(T0, 16000 * 20)
    pieces = [Scene(3).audio(T0 + SECOND * k, 16000) for k in range(20)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_another_process_renders_the_same_scene():
    code = (
        "from edge.simulator import Scene; import numpy as np, hashlib\n"
        f"t = {T0} + np.arange(500) * 10_000_000; s = Scene(5)\n"
        f"print(hashlib.sha256(s.imu('wrist', t).tobytes() + s.audio({T0}, 8000).tobytes()).hexdigest())"
    )
    ends = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(ends) == 1


def test_labels_follow_one_another_without_holes():
    for task, names in ((ACTIVITY, set(ACTIVITIES)), (EVENT, {"none", *EVENTS})):
        spans = list(Scene(1).spans(task, T0 + 5, T0 + 900 * SECOND))
        assert spans[0].start == T0 + 5
        assert spans[-1].end == T0 + 900 * SECOND
        assert all(a.end == b.start for a, b in pairwise(spans))
        assert {span.label for span in spans} == names


def test_a_label_at_a_time_is_that_of_its_span():
    scene = Scene(2)
    for span in scene.spans(ACTIVITY, T0, T0 + 64 * SECOND):
        assert scene.labels((span.start + span.end) // 2)[ACTIVITY] == span.label


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("placement", ["wrist", "pocket"])
def test_activities_feel_as_they_should(seed, placement):
    windows = labelled(Scene(seed), placement)
    assert 9.6 < np.median([np.linalg.norm(w.values[:, :3].mean(0)) for w in windows["SEATED"]]) < 10.0
    assert fact(windows["WALKING"], "imu.rms") > 3 * fact(windows["SEATED"], "imu.rms")
    assert fact(windows["WALKING"], "imu.turn_rms") > 2 * fact(windows["SEATED"], "imu.turn_rms")
    if windows["TURNING"]:
        turned = [abs(facts(w)["imu.turned"]) for w in windows["TURNING"]]
        assert np.median(turned) > 3 * np.median([abs(facts(w)["imu.turned"]) for w in windows["WALKING"]])


@pytest.mark.parametrize("placement", ["wrist", "pocket"])
def test_turn_rate_integrates_to_the_half_turn_that_the_body_makes(placement):
    scene, t = Scene(8), times(96.0)
    values = scene.imu(placement, t).astype(np.float64)
    turned = []
    for span in scene.spans(ACTIVITY, int(t[0]), int(t[-1])):
        if span.label == "TURNING":
            now = (t >= span.start - SECOND // 2) & (t < span.end + SECOND // 2)
            up = values[now, :3].mean(0) / np.linalg.norm(values[now, :3].mean(0))
            turned.append(abs(np.degrees((values[now, 3:] @ up).sum() / 100)))
    assert np.median(turned) == pytest.approx(180, abs=25)


def test_standing_up_turns_the_thigh_and_keeps_gravity():
    scene, t = Scene(9), times(96.0)
    values = scene.imu("pocket", t)
    for span in scene.spans(ACTIVITY, int(t[0]), int(t[-1])):
        if span.label == "STANDING_UP" and span.start > t[0] + SECOND:
            before, after = (
                values[(t >= at) & (t < at + SECOND // 2), :3].mean(0)
                for at in (span.start - SECOND // 2, span.end + SECOND)
            )
            cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
            assert 35 < np.degrees(np.arccos(cosine)) < 110
            assert np.linalg.norm(before) == pytest.approx(GRAVITY, rel=0.05)


def test_people_differ():
    cadence = [fact(labelled(Scene(seed), "pocket")["WALKING"], "imu.rms") for seed in range(8)]
    assert np.std(cadence) / np.mean(cadence) > 0.08


def test_people_walk_at_the_cadence_of_people():
    steps = []
    for seed in range(12):
        t = times(64.0)
        size = np.linalg.norm(Scene(seed).imu("pocket", t)[:, :3], axis=1)
        for span in Scene(seed).spans(ACTIVITY, int(t[0]), int(t[-1])):
            now = (t >= span.start) & (t < span.end)
            if span.label == "WALKING" and now.sum() > 250:
                x = size[now] - size[now].mean()
                power = np.abs(np.fft.rfft(x * np.hanning(len(x)), 4096)) ** 2
                f = np.fft.rfftfreq(4096, 0.01)
                steps.append(f[(f > 1.2) & (f < 3)][power[(f > 1.2) & (f < 3)].argmax()])
    assert np.percentile(steps, 10) > 1.5
    assert 1.7 < np.median(steps) < 1.95
    assert np.percentile(steps, 90) < 2.2


@pytest.mark.parametrize("label", list(EVENTS))
@pytest.mark.parametrize("rate", [16000.0, 8000.0])
def test_every_event_can_be_synthesised(label, rate):
    for seed in range(4):
        sound = EVENTS[label](np.random.default_rng(seed), 4.0, rate)
        assert sound.shape == (round(4 * rate),)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 0


def heard(label: str, name: str) -> float:
    """Median of a fact over ten syntheses of an event."""
    found = []
    for seed in range(10):
        sound = EVENTS[label](np.random.default_rng(seed), 3.0, 16000.0)
        t = times(3.0, 16000)
        windows = cut(Stream("mic", "audio", "room"), t, (0.5 * sound / np.abs(sound).max())[:, None])
        found.append(np.median([facts(w)[name] for w in windows]))
    return float(np.median(found))


def test_events_sound_as_they_should():
    assert heard("rain", "audio.flatness") > 0.2 > heard("sea-waves", "audio.flatness")
    assert heard("rain", "audio.centroid") > 2000 > heard("sea-waves", "audio.centroid")
    assert heard("helicopter", "audio.centroid") < 800
    assert heard("baby-cry", "audio.voicing") > 2 * heard("person-sneeze", "audio.voicing")
    assert 1000 < heard("baby-cry", "audio.centroid") < 3500
    assert heard("dog-bark", "audio.onsets") >= 2
    assert heard("clock-tick", "audio.crest") > 15
    assert heard("fire-crackling", "audio.crest") > heard("rain", "audio.crest") + 5


def test_an_event_is_louder_than_the_room():
    scene, levels = Scene(6), {True: [], False: []}
    t = times(160.0, 16000)
    windows = cut(Stream("mic", "audio", "room"), t, scene.audio(T0, len(t))[:, None])
    for span in scene.spans(EVENT, T0, T0 + 160 * SECOND):
        inside = [w for w in windows if span.start <= w.t0 and w.t0 + SECOND <= span.end]
        levels[span.label != "none"] += [facts(w)["audio.level"] for w in inside]
    assert np.median(levels[True]) > np.median(levels[False]) + 10


def test_it_is_fast_enough_to_train_on():
    """At least 200 s of motion and 50 s of sound per second; measured alone it is some ten times that."""
    t = times(320.0, 50)
    began = time.process_time()
    Scene(11).imu("pocket", t)
    assert 320 / (time.process_time() - began) > 200
    began = time.process_time()
    Scene(11).audio(T0, 16000 * 160)
    assert 160 / (time.process_time() - began) > 50


def test_perfect_devices_change_nothing():
    reading = Reading(times(1.0), np.ones((100, 6), np.float32))
    same = Flaws().apply(reading)
    assert np.array_equal(same.t, reading.t)
    assert np.array_equal(same.values, reading.values)


def test_flaws_do_what_they_say():
    t = times(60.0)
    reading = Reading(t, np.zeros((len(t), 6), np.float32))
    assert Flaws(noise=0.5).apply(reading).values.std() == pytest.approx(0.5, rel=0.05)
    assert np.ptp(Flaws(drift=2.0).apply(reading).values[:, 0]) > 1.0
    assert len(Flaws(dropout=0.3).apply(reading).t) / len(t) == pytest.approx(0.7, abs=0.12)
    assert np.all(Flaws(clock_error_s=1.5).apply(reading).t - t == 3 * SECOND // 2)
    late = Flaws(jitter_s=0.005).apply(reading).t - t
    assert late.min() >= 0
    assert 0.004 < late.mean() / SECOND < 0.012
    assert not np.array_equal(Flaws(noise=1, seed=1).apply(reading).values, Flaws(noise=1).apply(reading).values)


def test_values_lost_and_added_do_not_depend_on_chunks():
    t = times(20.0)
    flaws, values = Flaws(noise=1.0, drift=1.0, dropout=0.3, clock_error_s=0.1), np.ones((len(t), 6), np.float32)
    whole = flaws.apply(Reading(t, values))
    parts = [flaws.apply(Reading(a, b)) for a, b in zip(np.split(t, 40), np.split(values, 40), strict=True)]
    assert np.array_equal(np.concatenate([p.t for p in parts]), whole.t)
    assert np.array_equal(np.concatenate([p.values for p in parts]), whole.values)


@pytest.mark.parametrize("make", [lambda: Scene(-1), lambda: Scene(1).imu("ear", times(1)), lambda: Flaws(dropout=2)])
def test_what_cannot_be_simulated_is_an_error(make):
    with pytest.raises(ConfigError, match="simulator"):
        make()


@pytest.mark.parametrize("placement", ["wrist", "pocket", "chest"])
def test_a_clock_that_was_never_set_shows_a_person_too(placement):
    """It begins in 1970, with the round that none is before, and goes on into the next one."""
    values = Scene(3).imu(placement, times(33.0, start=0))
    assert np.isfinite(values).all() and np.abs(np.diff(values[3150:], axis=0)).max() < 1.0


@pytest.mark.parametrize("scene", ["home", "drive"])
def test_a_clock_that_was_never_set_hears_something_too(scene):
    assert SCENES[scene](3).audio(0, 1600).any()
