"""Touch contact: which finger of which hand touches a panel, from its capacitance and from cameras on the hand."""

from backend.tasks.task import Classification, EventRule, both_ways

FINGERS = ("thumb", "index", "middle", "ring", "little")
HANDS = ("left", "right")
WORDS = {"none": "nothing touches"} | {
    f"{hand}-{finger}": f"the {hand} {finger}{'' if finger == 'thumb' else ' finger'} touches"
    for hand in HANDS
    for finger in FINGERS
}

TOUCHES = tuple(label for label in WORDS if label != "none")

TOUCH = Classification(
    name="touch-contact",
    labels=tuple(WORDS),
    modalities=frozenset({"image", "capacitance", "depth", "pose"}),
    rule=EventRule(on=0.6, off=0.4, min_windows=1, cooldown_s=0.0),
    metric="accuracy",
    question="Which finger touches the panel?",
    words=WORDS,
    none_label="none",
    told_by="capacitance",
    mirrored=both_ways((f"left-{finger}", f"right-{finger}") for finger in FINGERS),
    views={
        "finger": {f"{hand}-{finger}": finger for hand in HANDS for finger in FINGERS},
        "hand of a thumb": {f"{hand}-thumb": hand for hand in HANDS},
    },
)
