"""Gesture classification: what a hand does with a phone, from its motion and from where the eyes are (EyeMU)."""

from backend.tasks.task import HELD, Classification, EventRule, Need, both_ways

WORDS = {
    "none": "no gesture",
    "flick-forward": "flicking the phone forward",
    "flick-left": "flicking the phone to the left",
    "flick-right": "flicking the phone to the right",
    "pull-close": "pulling the phone close",
    "push-away": "pushing the phone away",
    "turn-left": "turning the phone to the left",
    "turn-right": "turning the phone to the right",
}

GESTURE = Classification(
    name="gesture-classification",
    labels=tuple(WORDS),
    modalities=frozenset({"gaze", "imu"}),
    needs=(Need("gaze", HELD), Need("imu", HELD)),  # a wrist helps, and swings for many reasons
    rule=EventRule(on=0.6, off=0.4, min_windows=1, cooldown_s=0.5),
    metric="accuracy",
    question="Which gesture is made with the phone?",
    words=WORDS,
    none_label="none",
    mirrored=both_ways([("flick-left", "flick-right"), ("turn-left", "turn-right")]),
)
