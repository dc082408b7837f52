"""Questions that ask for a task's answer in many wordings, and the answer that is right: instruction data (Eq. 3).

Every task has paraphrases to learn from and others that are held out, so that an answer to a wording that was never
learned can be measured. A question about labels may list choices, as in the paper's Figures 4 and 5. What is asked
about comes from elsewhere: nothing here reads recordings or knows a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.tasks import Classification, Task

CANNOT_TELL = "I cannot tell: no sensor here shows it."
"""The right answer where no sensor of the task is there."""
UNANSWERABLE = 0.15
"""Share of the questions in instruction data to which that is the right answer."""
LISTED = 0.5
"""Share of the questions about labels that list choices."""
MOST_CHOICES = 12
"""A question lists no more: all labels of activity recognition would fill a small model's memory."""


@dataclass(frozen=True)
class Paraphrases:
    """Wordings of one question: those to learn from, and those that are held out."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]


PARAPHRASES: dict[str, Paraphrases] = {
    "gaze-estimation": Paraphrases(
        (
            "Where on the screen does the person look?",
            "At which point of the screen are the eyes?",
            "Tell me where the person is looking, in cm from the edges of the screen.",
            "How far from the left and the top edge does the gaze rest?",
            "Estimate the gaze on the screen.",
        ),
        ("What place on the screen do the eyes rest on?",),
    ),
    "depth-estimation": Paraphrases(
        (
            "How far is what the camera sees?",
            "How far away are the things in view?",
            "Tell me the nearest and the median range.",
            "What is the distance to the nearest thing in the picture?",
            "Estimate the depth of the scene.",
        ),
        ("At what distance are the things before the camera?",),
    ),
    "gesture-classification": Paraphrases(
        (
            "Which gesture is made with the phone?",
            "What does the hand do with the phone?",
            "Name the gesture that the phone feels.",
            "How is the phone being moved?",
            "What gesture can the motion and the gaze correspond to?",
        ),
        ("Can you tell which gesture the phone was moved in?",),
    ),
    "pose-estimation": Paraphrases(
        (
            "How does the person stand, sit or move?",
            "How high are the head and the wrists?",
            "Describe the pose of the body.",
            "Where are the head and the hands of the person?",
            "Estimate the pose of the person.",
        ),
        ("What posture has the body, and how high are its hands?",),
    ),
    "touch-contact": Paraphrases(
        (
            "Which finger touches the panel?",
            "What touches the panel?",
            "Which finger of which hand is on the panel?",
            "Name the finger that the panel feels.",
            "What contact can the capacitive image correspond to?",
        ),
        ("Is there a finger on the panel, and which one?",),
    ),
    "event-detection": Paraphrases(
        (
            "Which sound event is heard?",
            "What can be heard?",
            "What does the microphone hear?",
            "Name the sound.",
            "What event can the audio correspond to?",
            "Is anything to be heard, and what?",
        ),
        ("What is making a sound?", "Which event does the sound stand for?"),
    ),
    "activity-recognition": Paraphrases(
        (
            "What is the person doing?",
            "What is going on?",
            "Which activity do the sensors show?",
            "Name the activity.",
            "What activity can the sensor data correspond to?",
            "Tell me what happens here.",
        ),
        ("What is happening at this moment?", "Which activity would you say this is?"),
    ),
    "3d-reconstruction": Paraphrases(
        (
            "Where are the joints of the hand or of the body?",
            "How wide does the hand span, or how far apart are the hands?",
            "Describe the hand or the body in three dimensions.",
            "How large is what the camera sees of the hand or the body?",
            "Reconstruct the joints in three dimensions.",
        ),
        ("What is the shape of the hand or the body in space?",),
    ),
}

CHOOSE = Paraphrases(
    (
        "{question} Give me one choice from all the categories below.\nAll categories: {choices}",
        "{question} Choose one of: {choices}",
        "{question}\nChoices: {choices}",
    ),
    ("{question} Answer with one of these: {choices}",),
)
"""How choices are listed; the first as in Figures 4 and 5."""


@dataclass(frozen=True)
class Instruction:
    """A question, and its right answer."""

    prompt: str
    answer: str


def instruction(
    task: Task, target: NDArray[np.floating] | None, rng: np.random.Generator, *, held_out: bool = False
) -> Instruction:
    """A question for the task's answer, in one of its wordings, and what is right by the target (size,).

    Without a target no sensor shows what is asked. The choices, where there are any, are labels that the task has,
    among them the right one, in any order. An answer is empty where nothing is known of the target: ask nothing there.
    """
    answer = CANNOT_TELL if target is None else task.said(target)
    prompt = _one(PARAPHRASES[task.name], rng, held_out)
    if isinstance(task, Classification) and rng.random() < LISTED:
        choices = _choices(list(task.words.values()), answer, rng)
        prompt = _one(CHOOSE, rng, held_out).format(question=prompt, choices=", ".join(choices))
    return Instruction(prompt, answer)


def _choices(words: Sequence[str], answer: str, rng: np.random.Generator) -> list[str]:
    most = int(rng.integers(2, MOST_CHOICES + 1))
    drawn = [words[i] for i in rng.permutation(len(words))[:most]]
    if answer in words and answer not in drawn:
        drawn[int(rng.integers(len(drawn)))] = answer
    return drawn


def _one(paraphrases: Paraphrases, rng: np.random.Generator, held_out: bool) -> str:
    wordings = paraphrases.held_out if held_out else paraphrases.learned
    return wordings[int(rng.integers(len(wordings)))]
