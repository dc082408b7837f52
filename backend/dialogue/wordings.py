"""How people word questions: by what is asked, forms to learn from, and others that are held out to measure with.

Slots: {fact} {sensor} {other} {span} {label} {stat} {place} {heard} {things}. A form stands alone or continues an
earlier question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Wordings:
    """Ways to ask the same: those to learn from, and those that are held out."""

    learned: tuple[str, ...]
    held_out: tuple[str, ...]

    def draw(self, rng: Rng, held_out: bool) -> str:
        """One of them."""
        among = self.held_out if held_out else self.learned
        return among[int(rng.integers(len(among)))]


STAT_SAID = {
    "mean": Wordings(("mean", "average"), ("typical",)),
    "largest": Wordings(("largest", "highest", "maximum", "greatest"), ("biggest",)),
    "smallest": Wordings(("smallest", "lowest", "minimum"), ("least",)),
    "newest": Wordings(("current", "newest", "latest"), ("current",)),
}
SPAN_SAID = {
    "last": Wordings(
        ("in the last {n} s", "over the past {n} seconds", "in the past {n} s"), ("during the previous {n} seconds",)
    ),
    "between": Wordings(("between {a} and {b}", "from {a} to {b}"), ("from {a} until {b}",)),
    "since": Wordings(("since {a}",), ("since {a}",)),
    "ago": Wordings(("{n} s ago", "{n} seconds ago"), ("{n} seconds before now",)),
    "at": Wordings(("at {a}",), ("around {a}",)),
    "whole": Wordings(("",), ("",)),
}
ASK: dict[str, Wordings] = {
    "newest": Wordings(
        (
            "What is the {fact} of the {sensor}?",
            "Tell me the {fact} of the {sensor}.",
            "How much is the {fact} of the {sensor} now?",
            "{sensor}: what is the {fact}?",
            "What {fact} does the {sensor} have?",
            "Which {fact} does the {sensor} tell at the moment?",
            "Give me the {stat} {fact} of the {sensor}.",
        ),
        ("Please say the {fact} of the {sensor}.", "The {sensor} now: its {fact}, please."),
    ),
    "statistic": Wordings(
        (
            "What was the {stat} {fact} of the {sensor} {span}?",
            "Tell me the {stat} {fact} of the {sensor} {span}.",
            "{span}, what was the {stat} {fact} of the {sensor}?",
            "How much was the {stat} {fact} of the {sensor} {span}?",
            "What {stat} {fact} did the {sensor} have {span}?",
            "{stat} {fact} of the {sensor} {span}?",
        ),
        (
            "I would like to know the {stat} {fact} of the {sensor} {span}.",
            "{span}: the {stat} {fact} of the {sensor}, please.",
        ),
    ),
    "localise": Wordings(
        (
            "When was the {fact} of the {sensor} {stat} {span}?",
            "At what time was the {fact} of the {sensor} the {stat} {span}?",
            "{span}, when was the {fact} of the {sensor} at its {stat}?",
            "Which moment had the {stat} {fact} of the {sensor} {span}?",
        ),
        ("Tell me the time of the {stat} {fact} of the {sensor} {span}.",),
    ),
    "compare": Wordings(
        (
            "Which has the larger {fact}, the {sensor} or the {other}?",
            "Is the {fact} larger for the {sensor} or for the {other} {span}?",
            "Compare the {fact} of the {sensor} and of the {other} {span}.",
            "Where is the {fact} larger, the {sensor} or the {other}?",
        ),
        ("Of the {sensor} and the {other}, which of them has more {fact} {span}?",),
    ),
    "change": Wordings(
        (
            "Did the {fact} of the {sensor} rise or fall {span}?",
            "How did the {fact} of the {sensor} change {span}?",
            "Has the {fact} of the {sensor} increased {span}?",
        ),
        ("Has the {fact} of the {sensor} grown or dropped {span}?",),
    ),
    "during": Wordings(
        (
            "What was the {stat} {fact} of the {sensor} during {label}?",
            "While there was {label}, what was the {stat} {fact} of the {sensor}?",
            "Tell me the {stat} {fact} of the {sensor} while there was {label}.",
        ),
        ("During {label}, how much was the {stat} {fact} of the {sensor}?",),
    ),
    "long": Wordings(
        (
            "How long was there {label} {span}?",
            "How many seconds of {label} were there {span}?",
            "For how long was it {label} {span}?",
            "{span}, how long did {label} last?",
        ),
        ("How much time went into {label} {span}?",),
    ),
    "often": Wordings(
        (
            "How often was there {label} {span}?",
            "How many times was there {label} {span}?",
            "{span}, how often: {label}?",
        ),
        ("How frequently was there {label} {span}?",),
    ),
    "when": Wordings(
        ("When was there {label}?", "At what time was there {label} last?", "From when to when was there {label}?"),
        ("Tell me the time of this: {label}.",),
    ),
    "before": Wordings(
        ("What came before {label}?", "What was there right before {label}?", "Before {label}, what happened?"),
        ("What preceded {label}?",),
    ),
    "after": Wordings(
        ("What came after {label}?", "What was there right after {label}?", "And what followed {label}?"),
        ("After {label}, what was next?",),
    ),
    "meanwhile": Wordings(
        (
            "What was {heard} while there was {label}?",
            "During {label}, what was {heard}?",
            "While there was {label}, what else was {heard}?",
        ),
        ("What could be {heard} during {label}?",),
    ),
    "at": Wordings(
        ("What happened {span}?", "What was going on {span}?", "{span}, what was there?"),
        ("Say what was happening {span}.",),
    ),
    "history": Wordings(
        (
            "What happened {span}?",
            "Tell me what happened {span}.",
            "What was going on {span}?",
            "Summarise what happened {span}.",
        ),
        ("Give me a summary of {span}: what happened?",),
    ),
    "sensors": Wordings(
        (
            "Which sensors are there?",
            "What sensors do you have?",
            "How many sensors are there?",
            "Name the sensors.",
            "List the sensors.",
        ),
        ("Which sensors can you use?", "What is the number of sensors?"),
    ),
    "facts": Wordings(
        ("What does the {sensor} tell?", "Which facts does the {sensor} have?", "What can the {sensor} measure?"),
        ("What numbers does the {sensor} tell?",),
    ),
    "unit": Wordings(
        ("In which unit is the {fact} of the {sensor}?", "What unit does the {fact} of the {sensor} have?"),
        ("Which unit is the {fact} of the {sensor} told in?",),
    ),
    "known": Wordings(
        ("What {things} can you recognise?", "Which {things} can you tell?"), ("Which {things} do you recognise?",),
    ),
    "hello": Wordings(
        ("Hello!", "Hi.", "Good morning.", "What can you do?", "Who are you?", "Help", "Hello, who are you?"),
        ("Good evening!", "Hey, what are you?"),
    ),
    "label": Wordings((), ()),
}  # fmt: skip
CONTINUE: dict[str, Wordings] = {
    "sensor": Wordings(
        ("And the {sensor}?", "And of the {sensor}?", "What about the {sensor}?", "And for the {sensor}?"),
        ("How about the {sensor}?",),
    ),
    "fact": Wordings(("And the {fact}?", "What about the {fact}?", "And its {fact}?"), ("How about the {fact}?",)),
    "stat": Wordings(
        ("And the {stat}?", "And what was the {stat}?", "What about the {stat}?"), ("How about the {stat}?",),
    ),
    "other": Wordings(
        ("And the other one?", "And on the other {place}?", "What about the other {place}?"),
        ("How about the other {place}?",),
    ),
    "label": Wordings(("And {label}?", "What about {label}?"), ("How about {label}?",)),
    "span": Wordings(("And {span}?", "What about {span}?"), ("How about {span}?",)),
}  # fmt: skip
LABEL_ASK: dict[str, Wordings] = {
    "activity-recognition": Wordings(
        (
            "What is the person doing?", "What is going on?", "Which activity do the sensors show?",
            "Name the activity.", "What activity can the sensor data correspond to?", "Tell me what happens here.",
            "What is somebody doing now?",
        ),
        ("What is happening at this moment?", "Which activity would you say this is?"),
    ),
    "event-detection": Wordings(
        (
            "Which sound event is heard?", "What can be heard?", "What does the microphone hear?", "Name the sound.",
            "What event can the audio correspond to?", "Is anything to be heard, and what?", "What do you hear now?",
        ),
        ("What is making a sound?", "Which event does the sound stand for?"),
    ),
    "gesture-classification": Wordings(
        (
            "Which gesture is made with the phone?", "What does the hand do with the phone?", "Name the gesture.",
            "How is the phone being moved?", "What gesture can the motion and the gaze correspond to?",
        ),
        ("Can you tell which gesture the phone was moved in?",),
    ),
    "touch-contact": Wordings(
        (
            "Which finger touches the panel?", "What touches the panel?", "Which finger of which hand is on the panel?",
            "Name the finger that the panel feels.", "What contact can the capacitive image correspond to?",
        ),
        ("Is there a finger on the panel, and which one?",),
    ),
}  # fmt: skip
DESCRIBE = Wordings(
    (
        "Describe what is going on.",
        "Give me a caption of this moment.",
        "Summarise this moment.",
        "Describe the scene.",
    ),
    ("Give me a description of what is going on.",),
)
CHOOSE = Wordings(
    (
        "{question} Give me one choice from all the categories below.\nAll categories: {choices}",
        "{question} Choose one of: {choices}",
        "{question}\nChoices: {choices}",
    ),
    ("{question} Answer with one of these: {choices}",),
)
"""How choices are listed; the first as in the paper's Figures 4 and 5."""
THINGS = {
    "activity-recognition": "activities",
    "event-detection": "sounds",
    "gesture-classification": "gestures",
    "touch-contact": "fingers",
}
