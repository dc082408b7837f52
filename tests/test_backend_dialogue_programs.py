"""Every program says what is true: its statement against numbers that are computed here in another way."""

import json
from statistics import fmean

import pytest

from backend.dialogue.programs import (
    MOST_LISTED,
    PROGRAMS,
    At,
    Beside,
    Changed,
    Compared,
    Facts,
    Heard,
    Known,
    Label,
    Lacking,
    Meanwhile,
    Number,
    Sensors,
    Statistic,
    Total,
    Unit,
    When,
    none_label,
    program_from,
)
from backend.dialogue.situation import Happening, named
from backend.dialogue.words import LARGEST, MEAN, NEWEST, SMALLEST
from edge.clock import SECOND
from tests.small_home import (
    ACTIVITY,
    COUNT,
    FACTS_OF,
    GPS,
    LEFT,
    MIC,
    NOW,
    RIGHT,
    SOUND,
    THERMAL,
    WHOLE,
    ago,
    home,
    last,
)

HOME = home()
ALL = [
    Statistic(MEAN, "imu.rms", LEFT, last(10)),
    Statistic(LARGEST, "audio.level", MIC, WHOLE),
    Statistic(SMALLEST, "thermal.coldest", THERMAL, last(60)),
    Statistic(NEWEST, "host.battery", GPS, WHOLE),
    Statistic(MEAN, "audio.level", MIC, (ago(30), ago(5)), "walking"),
    Compared("imu.rms", LEFT, RIGHT, last(10)),
    Compared("imu.rms", RIGHT, LEFT, (ago(120), ago(100))),
    Changed("imu.rms", LEFT, (ago(20), ago(10)), last(10)),
    Changed("thermal.coldest", THERMAL, (ago(60), ago(30)), last(30)),
    Changed("imu.frequency", RIGHT, (ago(60), ago(30)), last(30)),
    Total(ACTIVITY, "WALKING", WHOLE),
    Total(SOUND, "dog-bark", last(60)),
    Total(SOUND, "baby-cry", WHOLE),
    When(ACTIVITY, "WALKING", WHOLE),
    When(ACTIVITY, "WALKING", WHOLE, last=False),
    Beside(SOUND, "rain", WHOLE, before=True),
    Beside(ACTIVITY, "SEATED", WHOLE, before=False),
    Beside(ACTIVITY, "WALKING", WHOLE, before=False),
    At(ACTIVITY, ago(60)),
    Meanwhile(ACTIVITY, "WALKING", SOUND, WHOLE),
    Meanwhile(SOUND, "dog-bark", ACTIVITY, last(20)),
    Heard(ACTIVITY, last(60)),
    Sensors(),
    Facts(MIC),
    Unit("imu.rms"),
    Unit("audio.onsets"),
    Known(SOUND),
    Lacking("there is no LiDAR"),
    Label(ACTIVITY),
]
SAID = [
    "the mean rms of the IMU on the left wrist from 14:04:50 to 14:05:00 is 2.15 m/s2",
    "the largest level of the microphone in the kitchen from 14:03:00 to 14:05:00 is -30.5 dB, at 14:03:29",
    "the smallest coldest of the thermal camera in the kitchen from 14:04:00 to 14:05:00 is 288.0 K, at 14:04:59",
    "the device battery of the GPS on the pocket at 14:04:59 is 68 %",
    "the mean level of the microphone in the kitchen while walking, from 14:04:30 to 14:04:55, is -40.2 dB",
    "the mean rms from 14:04:50 to 14:05:00 is larger for the IMU on the left wrist, 2.15 m/s2, than for the IMU on "
    "the right wrist, 0.86 m/s2",
    "the mean rms from 14:03:00 to 14:03:20 is larger for the IMU on the right wrist, 1.91 m/s2, than for the IMU on "
    "the left wrist, 1.10 m/s2",
    "the mean rms of the IMU on the left wrist rose from 2.05 m/s2, from 14:04:40 to 14:04:50, to 2.15 m/s2, from "
    "14:04:50 to 14:05:00",
    "the mean coldest of the thermal camera in the kitchen fell from 288.8 K, from 14:04:00 to 14:04:30, to 288.3 K, "
    "from 14:04:30 to 14:05:00",
    "the mean frequency of the IMU on the right wrist stayed at 2.5 Hz, from 14:04:00 to 14:04:30, and was 2.5 Hz, "
    "from 14:04:30 to 14:05:00",
    "walking was seen 2 times, for 65 s in all, from 14:03:00 to 14:05:00",
    "a dog barking was heard once, for 6 s in all, from 14:04:00 to 14:05:00",
    "a baby crying was not heard from 14:03:00 to 14:05:00",
    "walking was last seen from 14:04:30 to 14:04:55",
    "walking was first seen from 14:03:30 to 14:04:10",
    "before rain, from 14:04:00 to 14:04:40, came a dog barking",
    "after sitting still, from 14:04:10 to 14:04:30, came walking",
    "after walking, from 14:04:30 to 14:04:55, came a dog barking",
    "at 14:04:00 it was walking",
    "while walking, from 14:03:30 to 14:04:55, there was a dog barking and rain",
    "while a dog barking, from 14:04:50 to 14:04:56, there was walking",
    "from 14:04:00 to 14:05:00 there was walking, then sitting still, then walking",
    "there are 5 sensors: the IMU on the left wrist, the IMU on the right wrist, the microphone in the kitchen, the "
    "GPS on the pocket and the thermal camera in the kitchen",
    "the microphone in the kitchen tells level, centroid, onsets and pitch",
    "the rms is in m/s2",
    "the onsets is a number without a unit",
    "what can be told: a dog barking, rain, a baby crying, knocking on a door, clapping hands",
    "there is no LiDAR",
    "walking",
]


@pytest.mark.parametrize(("program", "said"), list(zip(ALL, SAID, strict=True)))
def test_a_program_says_its_answer_in_these_words_also_after_json(program, said):
    assert program.evaluate(HOME).text == said
    read = program_from(json.loads(json.dumps(program.to_json())))
    assert read == program and read.evaluate(HOME) == program.evaluate(HOME)


def test_every_program_there_is_is_said_here():
    assert {type(program).__name__.lower() for program in ALL} == set(PROGRAMS)


@pytest.mark.parametrize("stream", FACTS_OF)
@pytest.mark.parametrize(("low", "high"), [(120, 0), (10, 0), (77, 31), (1, 0)])
def test_statistics_are_those_of_the_windows_within_the_span(stream, low, high):
    sensor = HOME.sensors[stream]
    for fact, of in FACTS_OF[stream].items():
        values = {k: of(k) for k in range(COUNT - low, COUNT - high)}
        wanted = {
            MEAN: (fmean(values.values()), None),
            LARGEST: max(((v, -k) for k, v in values.items())),
            SMALLEST: min(((v, k) for k, v in values.items())),
            NEWEST: (values[max(values)], max(values)),
        }
        for stat, (value, k) in wanted.items():
            found = Statistic(stat, fact, sensor, (ago(low), ago(high))).evaluate(HOME)
            (number,) = found.numbers
            assert number.value == pytest.approx(value)
            assert (number.stream, number.fact, number.stat) == (stream, fact, stat)
            assert found.times == (() if k is None else (ago(COUNT - abs(k)),))
            assert f"{value:.{number.digits}f}".replace("-0 ", "0 ") in found.text
            assert found.sensors == (sensor,) and found.span == (ago(low), ago(high))


def test_a_total_counts_what_was_cut_to_the_span_and_names_its_events():
    """Walking from 90 to 50 and from 30 to 5 s ago."""
    for low, high, count, seconds in ((120, 0, 2, 65), (60, 20, 2, 20), (80, 60, 1, 20), (49, 31, 0, 0), (4, 0, 0, 0)):
        found = Total(ACTIVITY, "WALKING", (ago(low), ago(high))).evaluate(HOME)
        assert [number.value for number in found.numbers] == [count, seconds]
        assert len(found.events) == count
        assert ("not seen" in found.text) is (count == 0)
    assert Total(ACTIVITY, "no-label", WHOLE).evaluate(HOME) is None
    assert Total("no-task", "WALKING", WHOLE).evaluate(HOME) is None


def test_what_came_beside_is_of_the_same_task_else_of_another_else_nothing():
    assert Beside(ACTIVITY, "SEATED", WHOLE, before=True).evaluate(HOME).text.endswith("came walking")
    assert Beside(SOUND, "dog-bark", last(12), before=True).evaluate(HOME).text.endswith(", came walking")
    assert Beside(SOUND, "rain", WHOLE, before=False).evaluate(HOME).labels == ((SOUND, "rain"), (SOUND, "dog-bark"))
    alone = home(happenings=(Happening(SOUND, "rain", ago(9), ago(2)),))
    for before in (True, False):
        found = Beside(SOUND, "rain", WHOLE, before).evaluate(alone)
        assert found.text.endswith("nothing was told") and found.labels == ((SOUND, "rain"),)
    assert Beside(SOUND, "baby-cry", WHOLE, before=True).evaluate(HOME) is None


def test_what_happened_meanwhile_is_what_overlaps():
    assert Meanwhile(ACTIVITY, "SEATED", SOUND, last(60)).evaluate(HOME).text.endswith("there was rain")
    assert Meanwhile(ACTIVITY, "SEATED", SOUND, (ago(120), ago(90))).evaluate(HOME).text.endswith("nothing else")
    assert Meanwhile(SOUND, "baby-cry", ACTIVITY, WHOLE).evaluate(HOME) is None


@pytest.mark.parametrize(
    "program",
    [
        Statistic(MEAN, "imu.rms", LEFT, (NOW, NOW + SECOND)),
        Statistic(MEAN, "imu.jerk", LEFT, WHOLE),
        Statistic(MEAN, "imu.rms", named([("x/imu", "imu", "ankle")])["x/imu"], WHOLE),
        Compared("imu.rms", LEFT, MIC, WHOLE),
        Changed("imu.rms", LEFT, (ago(200), ago(150)), WHOLE),
        When(SOUND, "baby-cry", WHOLE),
        At(SOUND, ago(100)),
        Heard(SOUND, last(3)),
        Facts(named([("x/imu", "imu", "ankle")])["x/imu"]),
        Known("gesture-classification"),
        Label("gesture-classification"),
    ],
)
def test_where_there_is_nothing_to_tell_nothing_is_said(program):
    assert program.evaluate(HOME) is None


def test_what_is_equal_as_it_is_told_is_the_same():
    found = Compared("imu.frequency", LEFT, RIGHT, WHOLE).evaluate(
        home(readings=tuple(one for one in HOME.readings if one.stream != "band/imu"))
    )
    assert found is None
    same = Compared("imu.rms", LEFT, RIGHT, (ago(70), ago(69))).evaluate(HOME)  # both 1.5, at k = 50
    assert "is the same for the IMU on the left wrist and for the IMU on the right wrist, 1.50 m/s2" in same.text


def test_long_lists_are_cut_and_say_so():
    many = named([(f"d{i}/imu", "imu", f"place {i}") for i in range(15)])
    assert Sensors().evaluate(home(sensors=many)).text.endswith(", and 3 more")
    assert len(Sensors().evaluate(home(sensors=many)).sensors) == MOST_LISTED
    one = named([("d/imu", "imu", "wrist")])
    assert Sensors().evaluate(home(sensors=one)).text == "there is 1 sensor: the IMU on the wrist"
    assert Sensors().evaluate(home(sensors={})).lacks
    words = {ACTIVITY: {f"l{i}": f"label {i}" for i in range(20)}}
    assert Known(ACTIVITY).evaluate(home(labels=words)).text.endswith(", label 11, and 8 more")
    told = tuple(Happening(ACTIVITY, f"l{i}", ago(40 - i), ago(39 - i)) for i in range(20))
    assert Heard(ACTIVITY, WHOLE).evaluate(home(happenings=told, labels=words)).text.count("then") == MOST_LISTED - 1


@pytest.mark.parametrize(
    ("value", "digits", "said", "half", "holds"),
    [
        (2.345, 2, 2.35, None, True),
        (2.345, 2, 2.34, None, True),
        (2.345, 2, 2.36, None, False),
        (2.31, 2, 2.3, 0.05, True),
        (2.31, 2, 2.0, 0.5, True),
        (2.31, 2, 2.4, 0.05, False),
        (2.3149, 2, 2.3149, 0.00005, True),
        (2.3149, 2, 2.31, 0.0005, True),
        (2.3149, 2, 2.312, 0.0005, False),
        (-40.1, 1, 40.1, None, False),
        (3.0, 0, 2.0, None, False),
        (0.04, 1, 0.0, None, True),
    ],
)
def test_a_number_holds_as_far_as_it_is_rounded(value, digits, said, half, holds):
    assert Number(value, "m/s2", digits).holds(said, half) is holds


def test_no_minus_zero_is_told():
    assert Number(-0.001, "m/s2", 2).text == "0.00 m/s2"
    assert Number(-0.2, "", 0).text == "0"


def test_what_is_no_event_is_known_of_tasks_alone():
    assert none_label(SOUND) == "none"
    assert none_label(ACTIVITY) is None and none_label("no-task") is None and none_label("gaze-estimation") is None
