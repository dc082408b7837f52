"""What a question is about: times as people say them, sensors, facts, labels, what continues, and no exception ever."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.dialogue.recall import recall
from backend.dialogue.situation import Happening, Reading, Situation, named
from backend.dialogue.understand import understand
from backend.dialogue.wordings import CHOOSE, DESCRIBE, LABEL_ASK
from backend.dialogue.words import (
    ALSO_CALLED,
    CALLED,
    HEARD_FACTS,
    NEVER_THERE,
    NEVER_TOLD,
    SAID_FACTS,
    Sensor,
    fact_name,
)
from backend.tasks import TASKS, Classification
from edge.clock import SECOND
from edge.facts import FACTS, FAMILIES, HOST
from tests.small_home import ACTIVITY, BEGAN, GPS, LEFT, MIC, NOW, RIGHT, SOUND, THERMAL, home

HOME = home()


def at(text: str) -> int:
    """A time of the day of `home`, or of the one before."""
    day, _, clock = text.rpartition(" ")
    hour, minute, second = map(int, clock.split(":"))
    return int(datetime(2025, 11, 29 if day else 30, hour, minute, second, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("in the last 10 s", "14:04:50", "14:05:00"),
        ("over the past 10 seconds", "14:04:50", "14:05:00"),
        ("in the last minute", "14:04:00", "14:05:00"),
        ("during the previous two minutes", "14:03:00", "14:05:00"),
        ("in the last half a minute", "14:04:30", "14:05:00"),
        ("in the last half an hour", "13:35:00", "14:05:00"),
        ("over the last 1.5 min", "14:03:30", "14:05:00"),
        ("in the last couple of minutes", "14:03:00", "14:05:00"),
        ("over the past 3 hrs", "11:05:00", "14:05:00"),
        ("in the last forty-five secs", "14:04:15", "14:05:00"),
        ("between 14:03:10 and 14:03:40", "14:03:10", "14:03:40"),
        ("from 14:03 to 14:04", "14:03:00", "14:04:00"),
        ("from 14:03 until 14:04:", "14:03:00", "14:04:00"),
        ("between 2:03 and 2:04 pm", "14:03:00", "14:04:00"),
        ("between 2 and 3 p.m.", "14:00:00", "14:05:00"),
        ("from 11 am to noon", "11:00:00", "12:00:00"),
        ("between 9 and 10", "09:00:00", "10:00:00"),
        ("from 9 to 10 o'clock", "09:00:00", "10:00:00"),
        ("from 23:50 to 00:10", "29 23:50:00", "00:10:00"),
        ("from 10 pm to 6 am", "29 22:00:00", "06:00:00"),
        ("between 13:50 and 14:30", "13:50:00", "14:05:00"),
        ("since 14:04", "14:04:00", "14:05:00"),
        ("since 2 o'clock", "14:00:00", "14:05:00"),
        ("since midnight", "00:00:00", "14:05:00"),
        ("since 15:30", "29 15:30:00", "14:05:00"),
        ("after 14:04", "14:04:00", "14:05:00"),
        ("before 14:04", "14:03:00", "14:04:00"),
    ],
)
def test_spans_are_understood(said, low, high):
    found = understand(f"What was the mean rms {said}?", HOME)
    assert (found.span, found.moment) == ((at(low), at(high)), None)


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("at 14:04", "14:04:00"),
        ("at 14:04:10", "14:04:10"),
        ("around 14:04:10,", "14:04:10"),
        ("at 2:04 pm", "14:04:00"),
        ("at 2:04:10 p.m.", "14:04:10"),
        ("at 2:04", "14:04:00"),
        ("at 02:04", "02:04:00"),
        ("at 2:04 am", "02:04:00"),
        ("at 12:30", "12:30:00"),
        ("at 12:30 am", "00:30:00"),
        ("at 12 pm", "12:00:00"),
        ("at midnight", "00:00:00"),
        ("at noon", "12:00:00"),
        ("at 24:00", "00:00:00"),
        ("at half past one", "13:30:00"),
        ("at a quarter to two", "13:45:00"),
        ("at ten past 2", "14:10:00"),
        ("at 2 o'clock", "14:00:00"),
        ("at 15:30", "29 15:30:00"),
        ("30 seconds ago", "14:04:30"),
        ("one minute ago", "14:04:00"),
        ("half a minute ago", "14:04:30"),
        ("5 min before now", "14:00:00"),
    ],
)
def test_moments_are_understood(said, moment):
    found = understand(f"What was the rms {said}?", HOME)
    assert (found.span, found.moment) == (None, at(moment))


@pytest.mark.parametrize(
    "said",
    [
        "between 2 and 3 m/s2",
        "from 2 to 3 Hz",
        "at 25:00",
        "at 13:75",
        "at 75 past 2",
        "at 13 pm",
        "the last one",
        "at 2.5",
        "in 1234567 s",
    ],
)
def test_what_is_no_time_is_taken_for_none(said):
    found = understand(f"Was the rms {said}?", HOME)
    assert (found.span, found.moment) == (None, None)


def test_times_are_those_of_the_zone():
    berlin = home(zone=ZoneInfo("Europe/Berlin"))  # an hour before UTC
    assert understand("rms at 15:04", berlin).moment == at("14:04:00")
    assert understand("rms since 15:04:30", berlin).span == (at("14:04:30"), NOW)


@pytest.mark.parametrize(
    ("question", "sensors"),
    [
        ("the rms of the IMU on the left wrist", (LEFT,)),
        ("the right wrist's rms", (RIGHT,)),
        ("the rms of my left wrist", (LEFT,)),
        ("the rms of the left IMU", (LEFT,)),
        ("the rms of the left one", (LEFT,)),
        ("rms of the left wrist IMU", (LEFT,)),
        ("rms of the motion sensor on the right wrist", (RIGHT,)),
        ("the rms of the wrists", (LEFT, RIGHT)),
        ("the rms on the left and right wrist", (LEFT, RIGHT)),
        ("the rms of the IMUs", (LEFT, RIGHT)),
        ("what does the mic tell", (MIC,)),
        ("how is it in the kitchen", (MIC, THERMAL)),
        ("the heat camera", (THERMAL,)),
        ("the GPS", (GPS,)),
        ("the rms of the watch", (LEFT,)),
        ("the rms of the IMU of the band", (RIGHT,)),
        ("what is the rms right now", ()),
        ("what is left to say", ()),
    ],
)
def test_sensors_are_found_by_kind_place_and_device(question, sensors):
    found = understand(question, HOME)
    assert (found.sensors, found.missing) == (sensors, ())


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("the nearest distance of the LiDAR", "there is no LiDAR"),
        ("the rms of the IMU on the ankle", "there is no IMU on the ankle"),
        ("the level of the bedroom microphone", "there is no microphone in the bedroom"),
        ("how warm is it in the garage", "there is no sensor in the garage"),
        ("is it louder in the kitchen than in the bedroom", "there is no sensor in the bedroom"),
        ("what is on the desk", "there is no sensor on the desk"),
        ("the jerk of the left wrist IMU", "the IMU on the left wrist tells no jerk"),
        ("how bright is it", "there is no picture camera, which would tell the brightness"),
        ("what is the fan speed", "no device here tells its fan"),
        ("the humidity", "no sensor here tells the humidity"),
        ("what does the barometer say", "there is no barometer"),
    ],
)
def test_what_is_not_there_is_missing(question, missing):
    assert missing in understand(question, HOME).missing


def test_two_sensors_of_one_name_are_told_apart_by_device():
    sensors = named([("watch/imu", "imu", "wrist"), ("band/imu", "imu", "wrist")])
    watch, band = sensors.values()
    known = home(sensors=sensors, readings=tuple(Reading(k, s, NOW - 1, {"imu.rms": 1.0}) for k, s in sensors.items()))
    assert understand("the rms of the IMU on the wrist of band", known).sensors == (band,)
    assert understand("rms of the watch's IMU", known).sensors == (watch,)
    assert understand("rms of the IMU on the wrist", known).sensors == (watch, band)


def of_modality(modality: str, place: str = "wall") -> Situation:
    """One sensor that tells all facts of its modality, and its device's own."""
    sensor = Sensor(modality, place)
    facts = dict.fromkeys((*FAMILIES[modality].facts, *HOST), 1.0)
    return Situation({f"d/{modality}": sensor}, (Reading(f"d/{modality}", sensor, NOW - SECOND, facts),), NOW)


@pytest.mark.parametrize("modality", FAMILIES)
def test_every_fact_of_every_modality_is_found_and_answered(modality):
    known = of_modality(modality)
    (sensor,) = known.sensors.values()
    for fact in known.facts_of(sensor):
        names = {fact_name(fact), *(said for said in SAID_FACTS.get(fact, ()) if not said.startswith("how"))}
        for name in names:
            for question in (
                f"What is the {name} of the {sensor}?",
                f"{name} of the {sensor}?",
                f"Tell me the {name} of the {sensor}",
            ):
                found = recall(question, known)
                assert found.statements[0].numbers[0].fact == fact, question
                said = f"the {fact_name(fact)} of the {sensor} at 14:04:59 is "
                assert found.statements[0].text.startswith(said)
        assert fact in understand(f"the mean {fact_name(fact)}", known).facts
        for name in (*SAID_FACTS.get(fact, ()), *HEARD_FACTS.get(fact, ())):
            assert fact in understand(f"{name} is it?", known).facts, name


@pytest.mark.parametrize("modality", FAMILIES)
def test_every_sensor_is_found_by_all_of_its_names(modality):
    known = of_modality(modality)
    (sensor,) = known.sensors.values()
    for name in (CALLED[modality], *ALSO_CALLED.get(modality, ())):
        assert understand(f"What does the {name} on the wall tell?", known).sensors == (sensor,), name
        assert understand(f"And the {name.upper()}s?", known).sensors == (sensor,), name
        assert understand(f"What does the {name} tell?", home(sensors={}, readings=())).missing == (
            f"there is no {CALLED[modality]}",
        )


def test_what_nothing_tells_is_no_fact():
    assert not {*NEVER_TOLD, *NEVER_THERE} & {fact_name(fact) for fact in FACTS}
    for name in (*NEVER_TOLD, *NEVER_THERE):
        assert understand(f"What is the {name}?", HOME).missing, name


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if isinstance(task, Classification)])
def test_every_label_of_every_task_is_found_by_its_words(name):
    task = TASKS[name]
    known = Situation({}, (), NOW, labels={name: dict(task.words)})
    for label, said in task.words.items():
        if label == task.none_label:
            continue
        same = {(name, other) for other, words in task.words.items() if words == said}
        for question in (f"How often was there {said}?", f"{said}?", f"When was {said.upper()} last seen"):
            assert set(understand(question, known).labels) == same, question


@pytest.mark.parametrize(
    ("question", "labels"),
    [
        ("how long did she walk", [(ACTIVITY, "WALKING")]),
        ("when was she sitting", [(ACTIVITY, "SEATED")]),
        ("did the dog bark", [(SOUND, "dog-bark")]),
        ("was the dog heard", [(SOUND, "dog-bark")]),
        ("did the baby cry", [(SOUND, "baby-cry")]),
        ("how long did it rain", [(SOUND, "rain")]),
        ("was there any knocking", [(SOUND, "knocking")]),
        ("was there clapping hands", [(ACTIVITY, "clap"), (SOUND, "clapping")]),
        ("was clapping hands heard", [(SOUND, "clapping"), (ACTIVITY, "clap")]),
        ("what about the train", []),
        ("is a person there", []),
    ],
)
def test_labels_are_found_by_stems_and_things(question, labels):
    assert understand(question, HOME).labels == tuple(labels)


def test_of_labels_with_the_same_words_the_one_that_happened_comes_first():
    heard = home(happenings=(Happening(SOUND, "clapping", BEGAN, NOW),))
    assert understand("how often was there clapping hands", heard).labels[0] == (SOUND, "clapping")


ALL_LABELS = {name: dict(task.words) for name, task in TASKS.items() if isinstance(task, Classification)}


@pytest.mark.parametrize("task", LABEL_ASK)
@pytest.mark.parametrize("labels", [ALL_LABELS, HOME.labels], ids=["all labels", "some"])
def test_what_a_task_is_asked_by_is_its_label_of_now_also_with_choices(task, labels):
    known = home(labels=labels if task in labels else labels | {task: ALL_LABELS[task]})
    words = ", ".join(known.labels[task].values())
    for question in (*LABEL_ASK[task].learned, *LABEL_ASK[task].held_out):
        for form in ("{question}", *CHOOSE.learned, *CHOOSE.held_out):
            assert recall(form.format(question=question, choices=words), known).tasks == (task,), (question, form)
    if task == ACTIVITY:
        for question in (*DESCRIBE.learned, *DESCRIBE.held_out):
            assert recall(question, known).tasks == (task,), question


@pytest.mark.parametrize(
    ("question", "stat"),
    [
        ("the average rms", "mean"),
        ("the highest rms", "largest"),
        ("the peak rms", "largest"),
        ("the peak of the rms", "largest"),
        ("the minimum level", "smallest"),
        ("the current level", "newest"),
        ("when was it loudest", "largest"),
        ("when was it hottest", "largest"),
        ("when was it coldest", "smallest"),
        ("how hot did it get", "largest"),
        ("the slowest speed", "smallest"),
        ("rms in the last 5 min", ""),
        ("when was the tilt maximum", "largest"),
        ("the rms and the peak", ""),
    ],
)
def test_statistics_are_understood(question, stat):
    assert understand(question, HOME).stat == stat


def test_a_fact_whose_name_is_within_a_word_does_not_cut_it():
    known = of_modality("gaze")
    assert understand("When was the x of the gaze tracker maximum?", known).stat == "largest"


def test_labels_do_not_say_what_is_wanted():
    labels = {ACTIVITY: {"a": "rising from a seat", "b": "count money before paying"}}
    assert understand("the mean rms during rising from a seat", home(labels=labels)).wishes == {"meanwhile"}
    assert understand("What came after count money before paying?", home(labels=labels)).wishes == {"after"}


TEXTS = [
    "", " ", "?", "\n\n", "\x00\x01\x1b[31m", "(((", "[a-z]+*?", "\\", ".*", "(?P<x>", "rms" * 700, "9" * 2000,
    "last 999999 hours", "from 99:99 to 99:99", "between 0 and 0", "at 00:00:00 am", "Wie laut ist es in der Küche?",
    "左手首の動きはどのくらいですか", "ما مدى قوة الحركة؟", "İstanbul ẞ ﬃ", "٣:٠٤ ago", "last ٣ s", "🙂" * 50,
    "and " * 500, "choose " * 300 + "one of: x", "the the the left right left wrist",
]  # fmt: skip
SOME = """and the left right wrist rms peak level last from 14:03 to 14:04 ago other when before while walking rain dog
IMU microphone LiDAR mean largest of on in kitchen how long ? , 2 s than"""
WORDS = st.sampled_from(SOME.split())


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=30).map(" ".join)))
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("known", [HOME, Situation({}, (), NOW)], ids=["home", "nothing"])
def test_no_question_raises(known, question):
    before = understand("And the level of the microphone in the last 5 s?", known)
    for found in (recall(question, known), recall(question, known, before), recall(f"And {question}", known, before)):
        assert len(found.statements) <= 8 and found.lines(question).count("\n") <= 7


@pytest.mark.parametrize("question", TEXTS, ids=range(len(TEXTS)))
def test_no_odd_question_raises(question):
    test = recall("rms of the left wrist", HOME).understood
    for known in (HOME, Situation({}, (), NOW), Situation({}, (), 0)):
        assert recall(question, known).lines(question) is not None
        assert recall(f"and {question}", known, test) is not None


@example("x\ny")
@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_what_stands_on_later_lines_is_not_asked(more):
    assert understand(f"What is the rms?\n{more}", HOME) == understand("What is the rms?", HOME)
