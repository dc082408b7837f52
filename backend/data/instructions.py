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

from backend.dialogue.wordings import CHOOSE, LABEL_ASK, Wordings
from backend.tasks import Classification, Task

CANNOT_TELL = "I cannot tell: no sensor here shows it."
"""The right answer where no sensor of the task is there."""
LISTED = 0.5
"""Share of the questions about labels that list choices."""
MOST_CHOICES = 12
"""A question lists no more: all labels of activity recognition would fill a small model's memory."""

PARAPHRASES: dict[str, Wordings] = {
    **LABEL_ASK,
    "gaze-estimation": Wordings(
        (
            "Where on the screen does the person look?",
            "At which point of the screen are the eyes?",
            "Tell me where the person is looking, in cm from the edges of the screen.",
            "How far from the left and the top edge does the gaze rest?",
            "Estimate the gaze on the screen.",
        ),
        ("What place on the screen do the eyes rest on?",),
    ),
    "depth-estimation": Wordings(
        (
            "How far is what the camera sees?",
            "How far away are the things in view?",
            "Tell me the nearest and the median range.",
            "What is the distance to the nearest thing in the picture?",
            "Estimate the depth of the scene.",
        ),
        ("At what distance are the things before the camera?",),
    ),
    "pose-estimation": Wordings(
        (
            "How does the person stand, sit or move?",
            "How high are the head and the wrists?",
            "Describe the pose of the body.",
            "Where are the head and the hands of the person?",
            "Estimate the pose of the person.",
        ),
        ("What posture has the body, and how high are its hands?",),
    ),
    "3d-reconstruction": Wordings(
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
    prompt = PARAPHRASES[task.name].draw(rng, held_out)
    if isinstance(task, Classification) and rng.random() < LISTED:
        choices = _choices(list(task.words.values()), answer, rng)
        prompt = CHOOSE.draw(rng, held_out).format(question=prompt, choices=", ".join(choices))
    return Instruction(prompt, answer)


def _choices(words: Sequence[str], answer: str, rng: np.random.Generator) -> list[str]:
    most = int(rng.integers(2, MOST_CHOICES + 1))
    drawn = [words[i] for i in rng.permutation(len(words))[:most]]
    if answer in words and answer not in drawn:
        drawn[int(rng.integers(len(drawn)))] = answer
    return drawn
