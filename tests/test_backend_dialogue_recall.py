"""From questions in everyday English to the statement that should come first, and what stands beside it."""

import pytest

from backend.dialogue.programs import (
    At,
    Beside,
    Changed,
    Compared,
    Facts,
    Heard,
    Known,
    Lacking,
    Meanwhile,
    Sensors,
    Statistic,
    Total,
    Unit,
    When,
)
from backend.dialogue.recall import HELLO, LEAST, MOST, Recalled, recall
from backend.dialogue.understand import Understood
from backend.dialogue.words import LARGEST, MEAN, NEWEST, SMALLEST
from edge.clock import SECOND
from tests.small_home import (
    ACTIVITY,
    BEGAN,
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


def newest(fact, sensor):
    return Statistic(NEWEST, fact, sensor, WHOLE)


def around(seconds: float) -> tuple[int, int]:
    """A second before and after a time so long ago."""
    return ago(seconds + 1), ago(seconds - 1)


def halves(fact, sensor, seconds: float) -> Changed:
    return Changed(fact, sensor, (ago(seconds), ago(seconds / 2)), last(seconds / 2))


ASKED = {
    "How strongly does the left wrist move?": newest("imu.rms", LEFT),
    "rms of my right wrist?": newest("imu.rms", RIGHT),
    "What's the average loudness in the kitchen over the last minute?": Statistic(MEAN, "audio.level", MIC, last(60)),
    "How fast are we going right now?": newest("gps.speed", GPS),
    "average speed since 14:04": Statistic(MEAN, "gps.speed", GPS, last(60)),
    "What was the top speed?": Statistic(LARGEST, "gps.speed", GPS, WHOLE),
    "and how hot did it get?": Statistic(LARGEST, "thermal.hottest", THERMAL, WHOLE),
    "How warm is it in the kitchen?": newest("thermal.hottest", THERMAL),
    "what is the temperature": newest("thermal.hottest", THERMAL),
    "What's the lowest temp the thermal camera saw?": Statistic(SMALLEST, "thermal.coldest", THERMAL, WHOLE),
    "When was it coldest?": Statistic(SMALLEST, "thermal.coldest", THERMAL, WHOLE),
    "At what time was it loudest?": Statistic(LARGEST, "audio.level", MIC, WHOLE),
    "when was the level lowest in the last 30 seconds": Statistic(SMALLEST, "audio.level", MIC, last(30)),
    "What was the peak of the rms of the left wrist in the last 10 s?": Statistic(LARGEST, "imu.rms", LEFT, last(10)),
    "What is the peak of the left wrist?": newest("imu.peak", LEFT),
    "mean rms of the right IMU, last 10 s": Statistic(MEAN, "imu.rms", RIGHT, last(10)),
    "What's the tilt of the left IMU at 14:04?": Statistic(MEAN, "imu.tilt", LEFT, around(60)),
    "the loudness half a minute ago": Statistic(MEAN, "audio.level", MIC, around(30)),
    "What is the speed of the GPS in my pocket between 14:03 and 14:04?": Statistic(
        MEAN, "gps.speed", GPS, (BEGAN, ago(60))
    ),
    "how much battery does the phone have?": newest("host.battery", GPS),
    "Did the tilt of the left wrist increase over the last minute?": halves("imu.tilt", LEFT, 60),
    "did the level go up in the last 20 seconds?": halves("audio.level", MIC, 20),
    "How did the speed change in the last 2 minutes?": halves("gps.speed", GPS, 120),
    "is it louder now than a minute ago?": Changed("audio.level", MIC, around(60), (NOW - 2 * SECOND, NOW)),
    "which wrist moves more?": Compared("imu.rms", LEFT, RIGHT, last(10)),
    "Compare the frequency of both wrists": Compared("imu.frequency", LEFT, RIGHT, last(10)),
    "difference between the right and left wrist in rms over the last 30 s": Compared("imu.rms", LEFT, RIGHT, last(30)),
    "Is the peak higher on the left wrist or on the right wrist?": Compared("imu.peak", LEFT, RIGHT, last(10)),
    "which one is larger, the tilt on the left or on the right wrist?": Compared("imu.tilt", LEFT, RIGHT, last(10)),
    "How loud was it while she was walking?": Statistic(MEAN, "audio.level", MIC, (ago(30), ago(5)), "walking"),
    "how loud was it when the dog barked?": Statistic(MEAN, "audio.level", MIC, (ago(10), ago(4)), "a dog barking"),
    "What was the mean rms of the left wrist during rain?": Statistic(
        MEAN, "imu.rms", LEFT, (ago(60), ago(20)), "rain"
    ),
    "when did the dog bark?": When(SOUND, "dog-bark", WHOLE),
    "When did it last rain?": When(SOUND, "rain", WHOLE),
    "when did she first walk?": When(ACTIVITY, "WALKING", WHOLE, last=False),
    "How long ago did the dog bark?": When(SOUND, "dog-bark", WHOLE),
    "how long has she been walking?": Total(ACTIVITY, "WALKING", WHOLE),
    "How many times did the dog bark in the last minute?": Total(SOUND, "dog-bark", last(60)),
    "How often did the baby cry?": Total(SOUND, "baby-cry", WHOLE),
    "Has there been any knocking?": Total(SOUND, "knocking", WHOLE),
    "Is anybody clapping?": Total(ACTIVITY, "clap", WHOLE),
    "For how many seconds did it rain since 14:04:30?": Total(SOUND, "rain", last(30)),
    "What happened before it started raining?": Beside(SOUND, "rain", WHOLE, before=True),
    "what sound came after the rain?": Beside(SOUND, "rain", WHOLE, before=False),
    "What did she do after sitting?": Beside(ACTIVITY, "SEATED", WHOLE, before=False),
    "what preceded walking": Beside(ACTIVITY, "WALKING", WHOLE, before=True),
    "What was heard while she was walking?": Meanwhile(ACTIVITY, "WALKING", SOUND, WHOLE),
    "What was she doing when it started to rain?": Meanwhile(SOUND, "rain", ACTIVITY, WHOLE),
    "Was she walking at 14:04:00?": At(ACTIVITY, ago(60)),
    "What was going on at 14:04:00?": At(ACTIVITY, ago(60)),
    "What was she doing 30 seconds ago?": At(ACTIVITY, ago(30)),
    "What was he doing at 2:04 pm?": At(ACTIVITY, ago(60)),
    "What could be heard at 14:04:10?": At(SOUND, ago(50)),
    "summarise the last two minutes": Heard(ACTIVITY, last(120)),
    "What happened in the last minute?": Heard(ACTIVITY, last(60)),
    "What was heard between 2:03 and 2:04 pm?": Heard(SOUND, (BEGAN, ago(60))),
    "What did the microphone hear in the last half a minute?": Heard(SOUND, last(30)),
    "what happened after 14:04": Heard(ACTIVITY, last(60)),
    "What happened today?": Heard(ACTIVITY, WHOLE),
    "what sensors have you got?": Sensors(),
    "How many devices are there?": Sensors(),
    "Is there a microphone?": Sensors(),
    "What does the microphone measure?": Facts(MIC),
    "which numbers does the watch give?": Facts(LEFT),
    "what unit is the level in?": Unit("audio.level"),
    "Which sounds can you recognise?": Known(SOUND),
    "What activities can you tell?": Known(ACTIVITY),
    "hello, who are you?": Lacking(HELLO),
    "help": Lacking(HELLO),
    "Is there a lidar?": Lacking("there is no LiDAR"),
    "is it louder in the kitchen than in the bedroom?": Lacking("there is no sensor in the bedroom"),
    "What's my heart rate?": Lacking("no sensor here tells the heart rate"),
    "what about the weather": Sensors(),
    "": Sensors(),
}


@pytest.mark.parametrize(("question", "program"), list(ASKED.items()))
def test_what_should_come_first_does(question, program):
    found = recall(question, HOME)
    assert found.statements[0].program == program
    assert found.statements[0] == program.evaluate(HOME)
    assert found.tasks == ()


@pytest.mark.parametrize(
    ("question", "task"),
    [
        ("What is she doing?", ACTIVITY),
        ("what's going on", ACTIVITY),
        ("give me a caption", ACTIVITY),
        ("Describe the scene in the kitchen", ACTIVITY),
        ("What can you hear?", SOUND),
        ("what sound is that?", SOUND),
        ("What does the mic hear now?", SOUND),
        ("And what is somebody doing?", ACTIVITY),
    ],
)
def test_the_label_of_now_is_asked_for_with_its_reasons(question, task):
    found = recall(question, HOME)
    assert found.tasks == (task,)
    assert all(one.program.stat == NEWEST for one in found.statements)
    assert {one.program.sensor for one in found.statements} <= ({MIC} if task == SOUND else {LEFT, RIGHT})


def test_reasons_are_of_the_sensors_that_weighed_most():
    weighed = home(attribution={"phone/gps": 0.7, "watch/imu": 0.2})
    assert recall("What is she doing?", weighed).statements[0].program.sensor == GPS
    assert recall("What is she doing?", home(attribution={})).statements[0].program.sensor == LEFT
    assert recall("What is she doing?", home(labels={})).tasks == ()


CHATS = {
    "numbers": [
        ("What is the mean rms of the left wrist in the last 10 s?", Statistic(MEAN, "imu.rms", LEFT, last(10))),
        ("and on the other wrist?", Statistic(MEAN, "imu.rms", RIGHT, last(10))),
        ("and the peak?", Statistic(MEAN, "imu.peak", RIGHT, last(10))),
        ("what about the last 5 s?", Statistic(MEAN, "imu.peak", RIGHT, last(5))),
        ("And the frequency?", Statistic(MEAN, "imu.frequency", RIGHT, last(5))),
        ("and the left one?", Statistic(MEAN, "imu.frequency", LEFT, last(5))),
        ("And the smallest?", Statistic(SMALLEST, "imu.frequency", LEFT, last(5))),
        ("and when was it largest?", Statistic(LARGEST, "imu.frequency", LEFT, last(5))),
        ("And what is the person doing?", newest("imu.rms", LEFT)),
    ],
    "other senses": [
        ("How loud is the microphone?", newest("audio.level", MIC)),
        ("and the other one?", Lacking("there is no other microphone")),
        ("what about the GPS?", newest("gps.speed", GPS)),
        ("and the peak?", Statistic(LARGEST, "gps.speed", GPS, WHOLE)),
        ("and the temperature?", Statistic(LARGEST, "thermal.hottest", THERMAL, WHOLE)),
        ("And in the bedroom?", Lacking("there is no sensor in the bedroom")),
    ],
    "the past": [
        ("How long was she walking in the last minute?", Total(ACTIVITY, "WALKING", last(60))),
        ("And sitting?", Total(ACTIVITY, "SEATED", last(60))),
        ("and how often?", Total(ACTIVITY, "SEATED", last(60))),
        ("and when?", When(ACTIVITY, "SEATED", last(60))),
        ("And before that?", Beside(ACTIVITY, "SEATED", last(60), before=True)),
        ("and what about rain?", Beside(SOUND, "rain", last(60), before=True)),
    ],
    "moments": [
        ("rms of the left wrist at 14:04", Statistic(MEAN, "imu.rms", LEFT, around(60))),
        ("and the frequency?", Statistic(MEAN, "imu.frequency", LEFT, around(60))),
        ("and at 14:03:30?", Statistic(MEAN, "imu.frequency", LEFT, around(90))),
        ("and since 14:04:30?", Statistic(MEAN, "imu.frequency", LEFT, last(30))),
    ],
    "no sensor named": [
        ("What is the tilt?", newest("imu.tilt", LEFT)),
        ("and the other one?", newest("imu.tilt", RIGHT)),
    ],
}


@pytest.mark.parametrize("chat", CHATS.values(), ids=list(CHATS))
def test_a_question_that_continues_takes_what_it_does_not_name(chat):
    before = None
    for question, program in chat:
        found = recall(question, HOME, before)
        assert found.statements[0].program == program, question
        before = found.understood


def test_a_question_that_does_not_continue_takes_nothing():
    before = recall("What is the mean rms of the left wrist in the last 10 s?", HOME).understood
    assert recall("Peak?", HOME, before).understood == recall("Peak?", HOME).understood
    assert recall("And the peak?", HOME).statements[0].program == newest("imu.peak", LEFT)


@pytest.mark.parametrize("question", [*ASKED, "What is the rms of the IMU in the last 3 s?"])
def test_what_stands_before_a_question_is_true_short_and_said_once(question):
    found = recall(question, HOME)
    texts = [one.text for one in found.statements]
    assert 1 <= len(texts) <= MOST and len(set(texts)) == len(texts)
    assert all(one == one.program.evaluate(HOME) for one in found.statements)
    assert sorted(found.lines(question).split("\n")) == sorted(texts)


def test_an_asked_number_seldom_stands_alone_and_not_always_first():
    found = recall("What is the mean rms of the left wrist in the last 10 s?", HOME)
    assert len(found.statements) == LEAST
    firsts = [recall(q, HOME).lines(q).startswith(recall(q, HOME).statements[0].text) for q in ASKED]
    assert 0.3 < sum(firsts) / len(firsts) < 0.8


def test_a_time_of_which_nothing_is_known_is_said_to_be_so():
    for question in ("mean rms of the left wrist from 13:00 to 13:01", "Did the level rise from 13:00 to 13:01?"):
        (only,) = recall(question, HOME).statements
        assert only.lacks and only.text == "nothing was measured from 13:00:00 to 13:01:00"
    assert (
        recall("how often was there rain from 13:00 to 13:01", HOME).statements[0].text.startswith("rain was not heard")
    )


def test_without_statements_there_are_no_lines():
    assert Recalled(Understood(), ()).lines("What?") == ""
