"""What the tables measure: two worlds, a column for each task of each set, and the senses that tell it.

A column is a task on one set; a set belongs to several columns where it tells several tasks. Which sense is a task's
main one is written out here. It knows nothing of models, and nothing of how a set is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backend.data import DATASETS
from backend.tasks import TASKS
from broker.errors import ConfigError

SIMULATOR, REAL = "simulator", "real"
WORLDS = (SIMULATOR, REAL)
AS_USUAL, OTHER_DEVICE = "", "other device"
"""How a set's people are seen: as it is, or through sensors of another make (`people.other_device`)."""


@dataclass(frozen=True)
class Column:
    """A task on a set. `senses` help it, the first of them most; `variant`: how the set's people are seen."""

    world: str
    task: str
    dataset: str
    senses: tuple[str, ...]
    variant: str = AS_USUAL

    @property
    def name(self) -> str:
        """`task@set`: what results are kept under."""
        return f"{self.task}@{self.dataset}{'+' if self.variant else ''}"

    @property
    def main(self) -> str:
        """The sense that tells most."""
        return self.senses[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Labels or points that the set tells of; none: all that the task has."""
        return DATASETS[self.dataset].tasks[self.task]


_GAZE, _DEPTH, _GESTURE, _POSE = "gaze-estimation", "depth-estimation", "gesture-classification", "pose-estimation"
_TOUCH, _EVENTS, _ACTIVITY, _JOINTS = "touch-contact", "event-detection", "activity-recognition", "3d-reconstruction"

_ROWS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (SIMULATOR, _GAZE, "synthetic_touch", ("gaze", "image", "depth", "imu")),
    (SIMULATOR, _DEPTH, "synthetic_drive", ("camera", "gps", "imu")),
    (SIMULATOR, _GESTURE, "synthetic_touch", ("imu", "gaze")),
    (SIMULATOR, _POSE, "synthetic", ("image", "imu", "depth", "video", "thermal", "lidar")),
    (SIMULATOR, _TOUCH, "synthetic_touch", ("capacitance", "image", "depth")),
    (SIMULATOR, _EVENTS, "synthetic", ("audio",)),
    (SIMULATOR, _ACTIVITY, "synthetic", ("imu", "pose", "image", "video", "depth", "thermal", "lidar")),
    (SIMULATOR, _JOINTS, "synthetic_touch", ("depth", "image", "capacitance")),
    (REAL, _GAZE, "eyemu_gaze", ("gaze",)),
    (REAL, _DEPTH, "rgbd_7scenes", ("camera",)),
    (REAL, _POSE, "utd_mhad", ("depth", "imu", "video")),
    (REAL, _TOUCH, "capfingerid", ("capacitance",)),
    (REAL, _EVENTS, "esc10", ("audio",)),
    (REAL, _ACTIVITY, "sp_sw_har", ("imu",)),
    (REAL, _ACTIVITY, "utd_mhad", ("imu", "pose", "depth", "video")),
    (REAL, _JOINTS, "utd_mhad", ("depth", "imu")),
)
COLUMNS: tuple[Column, ...] = tuple(Column(*row) for row in _ROWS)
"""In the order of the paper's tables. The paper's main senses where the set has them; of a task that the paper gives
cameras and our set only one sense, that one."""

TASK_NAMES = {
    _GAZE: "Gaze est.",
    _DEPTH: "Depth est.",
    _GESTURE: "Gesture cls.",
    _POSE: "Pose est.",
    _TOUCH: "Touch cls.",
    _EVENTS: "Event det.",
    _ACTIVITY: "Activity recog.",
    _JOINTS: "3D recons.",
}
"""As the paper heads its columns, in its order."""

HELD_OUT: dict[str, tuple[Column, ...]] = {
    SIMULATOR: tuple(
        Column(SIMULATOR, one.task, one.dataset, one.senses, OTHER_DEVICE)
        for one in COLUMNS
        if one.world == SIMULATOR and one.task in (_GAZE, _TOUCH)
    ),
    REAL: tuple(one for one in COLUMNS if one.world == REAL and one.task in (_GAZE, _TOUCH)),
}
"""Table 4's targets, none of which the models that are adapted to them have seen: the simulator's people with a device
of another make, and the recorded sets of gaze and touch."""


def of_world(world: str) -> tuple[Column, ...]:
    """The columns of a world; raises ConfigError for an unknown one."""
    if world not in WORLDS:
        raise ConfigError(f"--worlds {world!r}: choose among {', '.join(WORLDS)}")
    return tuple(one for one in COLUMNS if one.world == world)


def sets_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """The sets of these columns, each once."""
    return tuple(dict.fromkeys(one.dataset for one in columns))


def senses_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """The senses of these columns, each once."""
    return tuple(dict.fromkeys(sense for one in columns for sense in one.senses))


IMUS = {"synthetic": 5, "sp_sw_har": 2}
"""How many inertial sensors a set's people wear, where it is more than one."""


def told_by(sense: str, columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns that one sense is enough to ask, the others left aside."""
    return tuple(one for one in columns if sense in one.senses and _tells(sense, one))


def _tells(sense: str, column: Column) -> bool:
    task = TASKS[column.task]
    if not task.needs:
        return sense in task.modalities
    streams = IMUS.get(column.dataset, 1) if sense == "imu" else 1
    return any(need.modality == sense and need.streams <= streams for need in task.needs)
