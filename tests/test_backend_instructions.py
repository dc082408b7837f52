"""Questions have wordings that are held out, and what a task says in text can be read again."""

import numpy as np
import pytest

from backend.data.instructions import CANNOT_TELL, PARAPHRASES, instruction
from backend.dialogue.wordings import CHOOSE
from backend.tasks import TASKS, Classification, Regression
from backend.tasks.activity import ACTIONS, ACTIVITY
from backend.tasks.depth import DEPTH
from backend.tasks.events import EVENTS, SOUNDS
from backend.tasks.gaze import GAZE
from backend.tasks.pose import POSE
from backend.tasks.reconstruction import HAND, RECONSTRUCTION
from backend.tasks.saying import spelled
from broker.modalities import JOINTS
from edge.simulator.skeleton import NEUTRAL, PARENTS

CLASSIFICATIONS = [task for task in TASKS.values() if isinstance(task, Classification)]
REGRESSIONS = [task for task in TASKS.values() if isinstance(task, Regression)]


def standing(up: int, sign: int) -> np.ndarray:
    """A body of 1.75 m at rest, its up along an axis of either sign."""
    place = np.zeros((len(JOINTS), 3))
    for joint, parent in enumerate(PARENTS):
        place[joint] = 1.75 * NEUTRAL[joint] + (place[parent] if parent >= 0 else 0)
    return np.roll(place, up - 2, axis=1) * sign


def test_every_task_is_asked_in_several_wordings_and_others_are_held_out():
    assert set(PARAPHRASES) == set(TASKS)
    for name, task in TASKS.items():
        wordings = PARAPHRASES[name]
        assert task.question in wordings.learned
        assert len(wordings.learned) >= 4 and wordings.held_out
        assert not set(map(spelled, wordings.learned)) & set(map(spelled, wordings.held_out))


@pytest.mark.parametrize("task", CLASSIFICATIONS, ids=lambda task: task.name)
def test_words_of_a_label_are_read_as_that_label_and_no_other(task):
    for i, label in enumerate(task.labels):
        target = np.zeros(task.size)
        target[i] = 0.7
        target[i - 1] = 0.3
        said = task.said(target)
        assert said == task.words[label]
        assert task.read(said) == task.read(f"I think: {said.capitalize()}.") == label
    assert task.said(np.zeros(task.size)) == ""
    assert task.read(CANNOT_TELL) is task.read("") is None


def test_a_text_with_several_labels_answers_none_and_longer_words_win():
    assert EVENTS.read("a dog barking or rain") is None
    assert ACTIVITY.read("Walking on the spot, as it seems") == "walk"
    assert ACTIVITY.only(ACTIONS).read("walking") is None


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (GAZE, "The person looks 3.1 cm from the left edge of the screen and 12.0 cm from its top edge."),
        (DEPTH, "The nearest thing is 0.82 m away and the median range is 2.91 m."),
        (POSE, "The head is 58 cm above the pelvis, the left wrist 12 cm above it and the right wrist 8 cm below it."),
        (
            RECONSTRUCTION,
            "The hand spans 151 mm from thumb to little finger and the tip of the index finger is 172 mm from the "
            "wrist.",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_numbers_of_an_answer_are_read_from_text(task, text):
    numbers = task.read(text)
    clauses = [saying.clause(numbers[saying.name]) for saying in task.sayings if saying.name in numbers]
    assert len(clauses) >= 2
    assert all(clause in text[0].lower() + text[1:] for clause in clauses)
    assert task.read(CANNOT_TELL) is None


@pytest.mark.parametrize("task", REGRESSIONS, ids=lambda task: task.name)
def test_what_is_said_of_a_target_is_what_is_read(task):
    rng = np.random.default_rng(0)
    for _ in range(20):
        target = np.abs(rng.normal(1.0, 0.5, task.size)) + 0.01
        told, said = task.told(target), task.said(target)
        assert said[0].isupper() and said.endswith(".")
        read = task.read(said)
        assert read == {s.name: pytest.approx(told[s.name], abs=0.51 * 10.0**-s.digits) for s in task.sayings}
    assert task.said(np.full(task.size, np.nan)) == ""


@pytest.mark.parametrize(("up", "sign"), [(0, 1), (1, -1), (2, -1)])
def test_heights_are_told_along_the_body_whatever_the_axes(up, sign):
    told = POSE.told(standing(up, sign).ravel())
    assert told == pytest.approx(POSE.told(standing(2, 1).ravel()))
    assert 40 < told["head"] < 90


def test_numbers_of_what_is_unknown_are_left_out():
    target = np.full(RECONSTRUCTION.size, np.nan)
    target[: 3 * len(HAND)] = np.arange(3 * len(HAND)) / 1000
    assert set(RECONSTRUCTION.told(target)) == {"span", "index finger"}
    hand = RECONSTRUCTION.only(HAND)
    assert hand.said(target[: hand.size]) == RECONSTRUCTION.said(target)
    ranges = np.full(DEPTH.size, np.nan)
    ranges[:3] = 0.0, 2.0, 1.5
    assert DEPTH.told(ranges) == {"nearest": 1.5, "median": 1.75}


def test_choices_have_the_answer_and_no_sensor_has_none():
    rng = np.random.default_rng(1)
    task = EVENTS.only(SOUNDS)
    target = np.eye(task.size)[3]
    asked = [instruction(task, target, rng) for _ in range(200)]
    listed = [one for one in asked if "baby crying" in one.prompt]
    assert 60 < len(listed) < 140
    assert {one.answer for one in asked} == {"a baby crying"}
    learned = PARAPHRASES[task.name].learned
    assert {w for w in learned if any(one.prompt.startswith(w) for one in asked)} == set(learned)
    unheard = instruction(task, None, rng, held_out=True)
    assert unheard.answer == CANNOT_TELL
    assert unheard.prompt.startswith(PARAPHRASES[task.name].held_out)
    assert len(CHOOSE.held_out) == 1
