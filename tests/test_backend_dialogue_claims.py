"""What a text claims, however it is put: numbers and units, times, sensors, labels, and words that nobody can check."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.dialogue.claims import REFUSAL, claims_of, sentences
from backend.dialogue.marks import marks_of
from backend.dialogue.situation import Situation, named
from backend.dialogue.verify import refusal
from backend.dialogue.vocabulary import NEUTRAL, WAYS
from backend.dialogue.words import SPELLED, STAT_WORDS, Sensor, unit_of
from edge.facts import FACTS
from tests.small_home import ACTIVITY, NOW, SOUND, home

HOME = home()


def of(text: str, kind: str) -> list:
    return [one for one in claims_of(text, HOME) if one.kind == kind]


@pytest.mark.parametrize(
    ("text", "value", "digits", "unit"),
    [
        ("2.31 m/s2", 2.31, 2, "m/s2"),
        ("2.31m/s2", 2.31, 2, "m/s2"),
        ("2.31 m/s²", 2.31, 2, "m/s2"),
        ("2.31 m/s^2", 2.31, 2, "m/s2"),
        ("2.31 metres per second squared", 2.31, 2, "m/s2"),
        ("2.31 M/S2", 2.31, 2, "m/s2"),
        ("6.0 m/s", 6.0, 1, "m/s"),
        ("21.6 km/h", 21.6, 1, "m/s"),
        ("-40.1 dB", -40.1, 1, "dB"),
        ("−40.1 dB", -40.1, 1, "dB"),
        ("minus 40 decibels", -40.0, 0, "dB"),
        ("1,119 Hz", 1119.0, 0, "Hz"),
        ("1.1 kHz", 1.1, 1, "Hz"),
        ("45°", 45.0, 0, "deg"),
        ("45 degrees", 45.0, 0, "deg"),
        ("28.9 °C", 28.9, 1, "degC"),
        ("302 kelvin", 302.0, 0, "K"),
        ("35 seconds", 35.0, 0, "s"),
        ("1 minute and 5 seconds", 65.0, 0, "s"),
        ("2 minutes", 2.0, 0, "s"),
        ("35 cm", 35.0, 0, "m"),
        ("68 %", 68.0, 0, "%"),
        ("68 per cent", 68.0, 0, "%"),
        ("0.52", 0.52, 2, ""),
        ("three times", 3.0, 0, ""),
        ("twice", 2.0, 0, ""),
        ("twenty-five seconds", 25.0, 0, "s"),
        ("3 sensors", 3.0, 0, ""),
    ],
)
def test_numbers_are_read_with_their_units(text, value, digits, unit):
    (claim,) = of(f"It is {text}.", "number")
    assert (claim.value, claim.digits, claim.unit) == (pytest.approx(value), digits, unit)


@pytest.mark.parametrize("unit", sorted({unit_of(fact) for fact in FACTS} - {""}))
def test_every_unit_of_every_fact_is_read_in_all_its_spellings(unit):
    for said in (unit, *SPELLED.get(unit, ())):
        (claim,) = of(f"It was 1.5 {said}, or so.", "number")
        assert (claim.text, claim.unit) == ("1.5", unit)
        assert of(f"It was 1.5 {said}q", "number")[0].unit != unit


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("between 2 and 3 m/s2", [2, 3]),
        ("2-3 m/s2", [2, 3]),
        ("2–3 m/s2", [2, 3]),
        ("from -2 to -3 dB", [-2, -3]),
        ("1/2 m/s2", [1, 2]),
        ("2,15 m/s2", [15]),  # the 2 is what nobody can check
        ("on 2025-11-30", [2025, 11, 30]),
        ("at 14:03:10 or 2:04 pm", []),
        ("the IMU on the left one", []),
    ],
)
def test_no_number_is_overlooked(text, values):
    assert [one.value for one in of(text, "number")] == values


def test_a_unit_alone_is_no_number():
    assert not of("The saccades is in 1/s.", "number") and not of("It is in m/s2.", "number")
    (claim,) = of("The zero crossings is 7.0 1/s.", "number")
    assert (claim.text, claim.unit) == ("7.0", "1/s")


def test_a_number_goes_with_what_stands_before_it_else_behind():
    text = "The mean rms of the IMU on the left wrist is 2.15 m/s2, and the tilt of the right wrist is 45 deg."
    rms, tilt = of(text, "number")
    assert (rms.fact, rms.stat, rms.sensor) == ("rms", "mean", Sensor("imu", "left wrist"))
    assert (tilt.fact, tilt.sensor) == ("tilt", Sensor("", "right wrist"))
    (behind,) = of("2.15 m/s2 is the largest peak of the GPS.", "number")
    assert (behind.fact, behind.stat, behind.sensor.modality) == ("peak", "largest", "gps")


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("from 14:03:00 to 14:05:00", ["14:03:00", "14:05:00"]),
        ("at 14:03", ["14:03"]),
        ("at 2:03:29 pm", ["2:03:29 pm"]),
        ("at noon", ["noon"]),
        ("at half past two", ["half past two"]),
        ("3:2", []),
    ],
)
def test_times_are_read(text, times):
    assert [one.text for one in of(text, "time")] == times


@pytest.mark.parametrize(
    ("text", "sensor"),
    [
        ("the IMU on the left wrist", Sensor("imu", "left wrist")),
        ("the left wrist's IMU", Sensor("imu", "left wrist")),
        ("my left wrist", Sensor("", "left wrist")),
        ("the left one", Sensor("", "left")),
        ("the mic in the kitchen", Sensor("audio", "kitchen")),
        ("the kitchen microphone", Sensor("audio", "kitchen")),
        ("the microphone in the attic", Sensor("audio", "attic")),
        ("the microphone in the left kitchen", Sensor("audio", "left kitchen")),
        ("the LiDAR", Sensor("lidar", "")),
        ("the bathroom", Sensor("", "bathroom")),
        ("the watch", Sensor("", "", "watch")),
        ("the microphone at the moment", Sensor("audio", "")),
    ],
)
def test_sensors_are_read_also_those_that_are_not_there(text, sensor):
    assert [one.sensor for one in of(f"It is told by {text}.", "sensor")] == [sensor]


def test_sensors_of_one_name_are_read_with_their_devices():
    known = home(sensors=named([("watch/imu", "imu", "wrist"), ("band/imu", "imu", "wrist")]), readings=())
    (claim,) = [one for one in claims_of("the IMU on the wrist of band", known) if one.kind == "sensor"]
    assert claim.sensor == Sensor("imu", "wrist", "band")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("There was a dog barking.", (SOUND, "dog-bark")),
        ("The dog barking was heard.", (SOUND, "dog-bark")),
        ("WALKING", (ACTIVITY, "WALKING")),
        ("Clapping hands was seen.", (ACTIVITY, "clap")),
        ("No event.", (SOUND, "none")),
    ],
)
def test_labels_are_read_also_what_is_no_event(text, label):
    assert [one.label for one in of(text, "label")] == [label]


@pytest.mark.parametrize(
    "text",
    [
        "I cannot tell: there is no GPS.",
        "I can't tell.",
        "I don't know, since there's no GPS.",
        "I am unable to say that.",
        refusal("x"),
    ],
)
def test_a_refusal_is_one_claim(text):
    assert [one.kind for one in claims_of(text, HOME)] == ["refusal"]
    assert refusal("there is no GPS") == f"{REFUSAL}: there is no GPS."


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("It is 2.15 m/s2, very strong.", "very"),
        ("The person is running.", "running"),
        ("It rose by 2.15 m/s2.", "by"),
        ("It was over 9000.", "over"),
        ("a dozen", "dozen"),
        ("half of it", "half"),
        ("all the time", "all"),
        ("It is 5 €.", "€"),
        ("2.15 m/s2 平均", "平均"),
        ("the 3rd", "rd"),
        ("It started at 2.15 m/s2.", "started"),
    ],
)
def test_a_word_that_says_more_is_what_nobody_can_check(text, word):
    assert any(one.text.startswith(word) for one in of(text, "other")), of(text, "other")


def test_a_sentence_that_claims_nothing_cannot_be_checked():
    assert [one.kind for one in claims_of("And so it is.\nHere you are!", HOME)] == ["other"] * 2
    assert claims_of("", HOME) == claims_of(" \n ", HOME) == []


def test_words_that_relate_or_count_are_not_neutral():
    words = {word for several in (*WAYS.values(), *STAT_WORDS.values()) for word in several}
    assert not words & NEUTRAL
    assert (
        not {"no", "not", "all", "only", "both", "left", "right", "near", "stands", "again", "just", "very"} & NEUTRAL
    )


def test_sentences_end_where_a_large_letter_follows():
    assert sentences("It is 2.5 m/s2. The IMU; e.g. this one.\n\nYes!") == [
        "It is 2.5 m/s2.",
        "The IMU; e.g. this one.",
        "Yes!",
    ]


ODD = "\x00 ßİﬃ ٣ 14:03:10 2.5 m/s2 -−– the left wrist IMU walking no event ??? %°§²"


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(ODD.split(" ")), max_size=20).map(" ".join)))
@settings(max_examples=300, deadline=None)
def test_marks_lie_within_the_text_apart_from_each_other_and_nothing_raises(text):
    for known in (HOME, Situation({}, (), NOW)):
        wide = [mark for mark in marks_of(text, known) if mark.kind != "cut"]
        spans = {(mark.start, mark.end) for mark in wide}
        assert all(0 <= start < end <= len(text) for start, end in spans)
        seen = [i for start, end in spans for i in range(start, end)]
        assert len(seen) == len(set(seen))
        digits = {i for i, letter in enumerate(text) if letter.isdigit()}
        assert digits <= set(seen), "a digit that is no part of a claim"
        assert [one.sentence in text for one in claims_of(text, known)].count(False) == 0
