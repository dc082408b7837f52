"""What is known: values within spans, happenings cut to them, names that tell sensors apart, and plain JSON."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.dialogue.situation import Happening, Reading, Situation, from_json, named, to_json
from backend.dialogue.words import Sensor
from edge.facts import FACTS
from tests.small_home import ACTIVITY, FACTS_OF, GPS, LEFT, NOW, RIGHT, SOUND, ago, home

IMU = Sensor("imu", "wrist")
TIMES = st.integers(0, 30)


@given(st.lists(st.tuples(TIMES, st.booleans(), st.floats(-9, 9)), max_size=20), TIMES, TIMES)
@settings(max_examples=200, deadline=None)
def test_values_of_a_span_are_those_that_began_within_it_in_order(told, low, high):
    """However windows come, and where some of them lack the fact."""
    readings = tuple(Reading("w/imu", IMU, t, {"imu.rms": value} if has else {}) for t, has, value in told)
    known = Situation({"w/imu": IMU}, readings, 30)
    wanted = sorted(t for t, has, _ in told if has and low <= t < high)
    found = known.values(IMU, "imu.rms", (low, high))
    assert [t for t, _ in found] == wanted
    assert all((t, True, value) in told for t, value in found)
    assert len(known.values(IMU, "imu.rms")) == sum(has for _, has, _ in told)
    assert known.values(IMU, "imu.tilt", (low, high)) == known.values(GPS, "imu.rms") == []


def test_a_sensor_tells_what_any_of_its_windows_tells_in_the_order_of_the_table():
    known = home()
    for stream, sensor in known.sensors.items():
        order = [list(FACTS).index(fact) for fact in known.facts_of(sensor)]
        assert set(known.facts_of(sensor)) == set(FACTS_OF[stream])
        assert all(one < other for one, other in pairwise(order))
    late = Situation(
        {"w/imu": IMU}, (Reading("w/imu", IMU, 1, {"imu.tilt": 1.0}), Reading("w/imu", IMU, 2, {"imu.rms": 1.0})), 3
    )
    assert late.facts_of(IMU) == ["imu.rms", "imu.tilt"]
    assert late.facts_of(GPS) == []


def test_what_somebody_has_sorted_is_not_sorted_again():
    known = Situation({"w/imu": IMU}, (), 30, index={(IMU, "imu.rms"): [(1, 0.5), (4, 0.7)]})
    assert known.facts_of(IMU) == ["imu.rms"] and known.facts_of(GPS) == []
    assert known.values(IMU, "imu.rms", (2, 9)) == [(4, 0.7)] and known.values(IMU, "imu.tilt") == []


@given(st.lists(st.tuples(st.sampled_from("ab"), TIMES, TIMES), max_size=12), TIMES, TIMES)
@settings(max_examples=200, deadline=None)
def test_what_happened_is_cut_to_the_span_and_nothing_of_it_is_lost(told, low, high):
    happenings = tuple(Happening(task, "x", min(a, b), max(a, b)) for task, a, b in told)
    known = Situation({}, (), 30, happenings)
    for task in ("a", "b", None):
        moments = [
            t for h in happenings for t in range(h.began, h.ended) if h.task in (task or "ab") and low <= t < high
        ]
        found = known.told(task, (low, high))
        assert sorted(t for h in found for t in range(h.began, h.ended)) == sorted(moments)
        assert all(h.began < h.ended for h in found)
    assert known.told() == [h for h in happenings if h.began < h.ended]


def test_it_is_known_since_the_first_window_or_happening():
    assert home().began == ago(120)
    assert home(readings=()).began == ago(120)
    assert home(happenings=()).began == ago(120)
    assert home(readings=(), happenings=()).began == NOW
    early = Happening(ACTIVITY, "SEATED", 5, 9)
    assert home(happenings=(early,)).began == 5


def test_sensors_of_one_name_are_told_apart_by_device_and_of_one_device_by_key():
    found = named(
        [
            ("watch/imu", "imu", "wrist"),
            ("band/imu", "imu", "wrist"),
            ("phone/gps", "gps", "pocket"),
            ("cam/a", "audio", "kitchen"),
            ("cam/b", "audio", "kitchen"),
        ]
    )
    assert [str(one) for one in found.values()] == [
        "IMU on the wrist of watch",
        "IMU on the wrist of band",
        "GPS on the pocket",
        "microphone in the kitchen of cam-a",
        "microphone in the kitchen of cam-b",
    ]
    assert len(set(found.values())) == 5


@pytest.mark.parametrize(
    ("place", "at"),
    [("left wrist", True), ("wrist", True), ("left", True), ("right wrist", False), ("w", False), ("rist", False)],
)
def test_a_placement_is_said_by_its_side_and_by_its_part(place, at):
    assert LEFT.is_at(place) is at
    assert not Sensor("imu", "living room").is_at("living")


def test_a_situation_is_the_same_after_json():
    known = home()
    read = from_json(json.loads(json.dumps(to_json(known))))
    assert read == known
    assert read.values(RIGHT, "imu.rms") == known.values(RIGHT, "imu.rms")
    assert read.told(SOUND)[0].events == ("dog-bark-80",)


def test_a_label_that_is_unknown_has_its_own_name_as_words():
    assert home().words(SOUND, "dog-bark") == "a dog barking"
    assert home().words(SOUND, "glass_BREAKING-loud") == "glass breaking loud"
    assert home().words("no-task", "WALKING") == "walking"
