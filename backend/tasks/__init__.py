"""The tasks, written out: adding one is a file and a row here."""

from backend.tasks.activity import ACTIVITY
from backend.tasks.contact import CONTACT, Mask
from backend.tasks.depth import DEPTH
from backend.tasks.events import EVENTS
from backend.tasks.gaze import GAZE
from backend.tasks.gesture import GESTURE
from backend.tasks.pose import POSE
from backend.tasks.reconstruction import RECONSTRUCTION
from backend.tasks.task import Classification, EstimateRule, EventRule, Regression, Task
from backend.tasks.touch import TOUCH

TASKS: dict[str, Task] = {
    task.name: task for task in (GAZE, DEPTH, GESTURE, POSE, TOUCH, EVENTS, ACTIVITY, RECONSTRUCTION)
}

MASKS: dict[str, Mask] = {CONTACT.name: CONTACT}
"""What is drawn from a frame itself, beside the tasks: see `contact`."""

__all__ = ["MASKS", "TASKS", "Classification", "EstimateRule", "EventRule", "Mask", "Regression", "Task"]
