"""Activity recognition: what a person does, from the motion of a watch, a phone or both."""

from backend.tasks.task import EventRule, Task

ACTIVITY = Task(
    name="activity-recognition",
    labels=("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN"),
    modalities=frozenset({"imu"}),
    rule=EventRule(on=0.6, off=0.4, min_windows=1, cooldown_s=0.0),
    metric="balanced_accuracy",
    question="What is the person doing?",
    words={
        "SEATED": "sitting still",
        "STANDING_UP": "standing up from a seat",
        "WALKING": "walking",
        "TURNING": "turning around",
        "SITTING_DOWN": "sitting down",
    },
    class_weights=0.5,
)
