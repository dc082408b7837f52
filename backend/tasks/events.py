"""Event detection: which sound event happens, or none."""

from backend.tasks.task import EventRule, Task

EVENTS = Task(
    name="event-detection",
    labels=(
        "none",
        "dog-bark",
        "rain",
        "sea-waves",
        "baby-cry",
        "clock-tick",
        "person-sneeze",
        "helicopter",
        "chainsaw",
        "rooster",
        "fire-crackling",
    ),
    modalities=frozenset({"audio"}),
    rule=EventRule(on=0.6, off=0.35, min_windows=2, cooldown_s=2.0),
    metric="macro_f1",
    question="Which sound event is heard?",
    words={
        "none": "no event",
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
    },
    none_label="none",
)
