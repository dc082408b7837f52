"""The tasks, written out: adding one is a file and a row here."""

from backend.tasks.activity import ACTIVITY
from backend.tasks.events import EVENTS
from backend.tasks.task import EventRule, Task

TASKS: dict[str, Task] = {task.name: task for task in (ACTIVITY, EVENTS)}

__all__ = ["TASKS", "EventRule", "Task"]
