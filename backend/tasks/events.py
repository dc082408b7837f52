"""Event detection: which sound event happens, or none.

As in activity recognition, every data set has labels of its own, and a model those that it has learned.
"""

from backend.tasks.task import Classification, EventRule

SOUNDS = {
    "dog-bark": "a dog barking",
    "rain": "rain",
    "sea-waves": "waves of the sea",
    "baby-cry": "a baby crying",
    "clock-tick": "a clock ticking",
    "person-sneeze": "a person sneezing",
    "helicopter": "a helicopter",
    "chainsaw": "a chainsaw",
    "rooster": "a rooster crowing",
    "fire-crackling": "a fire crackling",
}
"""Sounds of the surroundings: esc10, and the simulated home."""

HANDLING = {
    "brushing-hair": "brushing hair",
    "hair-dryer-in-use": "a hair dryer",
    "shaver-in-use": "an electric shaver",
    "toilet-flushing": "a toilet flushing",
    "toothbrushing": "brushing teeth",
    "washing-hands": "washing hands",
    "blender-in-use": "a blender",
    "chopping": "chopping food",
    "grating": "grating food",
    "microwave": "a microwave oven",
    "pouring-pitcher": "pouring from a pitcher",
    "twisting-jar": "twisting a jar open",
    "washing-utensils": "washing dishes",
    "wiping-with-rag": "wiping with a rag",
    "alarm-clock": "an alarm clock",
    "clapping": "clapping hands",
    "coughing": "coughing",
    "drinking": "drinking",
    "knocking": "knocking on a door",
    "laughing": "laughing",
    "scratching": "scratching",
    "drill-in-use": "a drill",
    "hammering": "hammering",
    "sanding": "sanding",
    "screwing": "driving a screw",
    "vacuum-in-use": "a vacuum cleaner",
}
"""What hands do at home and at work, as a watch hears and feels it: SAMoSA."""

WORDS = {"none": "no event", **SOUNDS, **HANDLING}

EVENTS = Classification(
    name="event-detection",
    labels=tuple(WORDS),
    modalities=frozenset({"audio"}),
    rule=EventRule(on=0.6, off=0.35, min_windows=2, cooldown_s=2.0),
    metric="window_f1",
    question="Which sound event is heard?",
    words=WORDS,
    none_label="none",
)
