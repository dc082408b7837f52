"""The datasets, written out: adding one is a file and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from backend.data import (
    capcontact,
    capfingerid,
    drives,
    esc10,
    eyemu_gaze,
    fsdd,
    gazegraph_desktop,
    htad,
    kitti_samples,
    rgbd_7scenes,
    room_occupancy,
    sp_sw_har,
    synthetic,
    thermal_d6t,
    thermal_rgb_pairs,
    utd_mhad,
)
from backend.data.files import Origin
from backend.data.paper import (
    dip_imu,
    ego4d_imu,
    eyemu,
    kitti,
    llvip,
    newer_college,
    rgbdgaze,
    samosa,
    touchpose,
)
from backend.data.recording import Recording, Recordings, Segments, Sequence, Series, Track, Values, sequence
from backend.tasks.activity import ACTIONS, CHORES, DESKTOP, DRIVING, MOBILITY, PEOPLE, POSTURES
from backend.tasks.events import SOUNDS
from backend.tasks.reconstruction import BODY, HAND
from backend.tasks.touch import TOUCHES


@dataclass(frozen=True)
class Dataset:
    """How a set of recordings is read, and what may be said of it.

    `read(root)` takes the set's folder or its parent, warns of what it skips, and raises DataError, which names the
    file, for what it cannot read; `unseen(root)` is what to measure on, for a set that makes its own people.
    `modalities` of its streams; `tasks`: what it is measured by, and over which of the task's outputs (none: all);
    `masks`: what it shows how to draw; `unit` names what a "person" is; `pooled`: a whole recording is one decision, of
    classifications; `sensors`, in a set that is pooled: by name, modalities that are scored together beside all;
    `missing`: share of a modality's numbers that may be NaN, in a set whose publishers say that samples are missing;
    `address`: where the set is obtained, empty for one that is generated.
    """

    modalities: tuple[str, ...]
    tasks: Mapping[str, tuple[str, ...]]
    read: Callable[[Path], Recordings]
    licence: str
    unit: str
    unseen: Callable[[Path], Recordings] | None = None
    pooled: bool = False
    address: str = ""
    sensors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    missing: float = 0.0


_GAZE, _DEPTH, _GESTURE, _POSE = "gaze-estimation", "depth-estimation", "gesture-classification", "pose-estimation"
_TOUCH, _EVENTS, _ACTIVITY, _JOINTS = "touch-contact", "event-detection", "activity-recognition", "3d-reconstruction"


def _simulated(scene: str, tasks: Mapping[str, tuple[str, ...]]) -> Dataset:
    """The row of a simulated scene: people and places by seed, other ones to measure on than to learn from."""
    read, unseen = (partial(of, scene=scene) for of in (synthetic.training, synthetic.unseen))
    return Dataset(synthetic.modalities(scene), tasks, read, "generated", "seed", unseen)


def _recorded(
    origin: Origin,
    modalities: tuple[str, ...],
    tasks: Mapping[str, tuple[str, ...]],
    read: Callable[[Path], Recordings],
    unit: str,
    **how: Any,
) -> Dataset:
    """The row of a recorded set, which its file knows by an origin."""
    return Dataset(modalities, tasks, read, origin.licence, unit, address=origin.address, **how)


def _published(reader: Any, unit: str, **how: Any) -> Dataset:
    """The row of one of the paper's sets: its file says what it holds."""
    return _recorded(reader.SET, reader.MODALITIES, reader.TASKS, reader.recordings, unit, **how)


_BODY_SENSORS = {
    "imu": ("imu",),
    "depth": ("depth", "video"),  # both are the depth camera's
    "skeleton": ("pose",),
    "imu+depth": ("imu", "depth", "video"),
    "imu+skeleton": ("imu", "pose"),
}

DATASETS: dict[str, Dataset] = {
    # Simulated
    "synthetic": _simulated("home", {_ACTIVITY: tuple(MOBILITY), _EVENTS: ("none", *SOUNDS), _POSE: (), _DEPTH: ()}),
    "synthetic_drive": _simulated("drive", {_ACTIVITY: tuple(DRIVING), _DEPTH: ()}),
    "synthetic_touch": _simulated("touch", {_TOUCH: (), _GESTURE: (), _GAZE: (), _JOINTS: HAND}),
    # Recorded
    "sp_sw_har": Dataset(
        ("imu",),
        {_ACTIVITY: tuple(MOBILITY)},
        sp_sw_har.recordings,
        "CC BY 4.0",
        "person",
        address="https://github.com/GeoTecINIT/sp-sw-har-dataset",
    ),
    "esc10": Dataset(
        ("audio",),
        {_EVENTS: ("none", *SOUNDS)},
        esc10.recordings,
        "CC BY 3.0",
        "source recording",
        pooled=True,
        address="https://github.com/karolpiczak/ESC-10",
    ),
    "utd_mhad": _recorded(
        utd_mhad.SET,
        ("imu", "pose", "depth", "video"),
        {_ACTIVITY: tuple(ACTIONS), _POSE: (), _JOINTS: BODY},
        utd_mhad.recordings,
        "person",
        pooled=True,
        sensors=_BODY_SENSORS,
    ),
    "eyemu_gaze": _recorded(eyemu_gaze.SET, ("gaze",), {_GAZE: ()}, eyemu_gaze.recordings, "person"),
    "gazegraph_desktop": _recorded(
        gazegraph_desktop.SET, ("gaze",), {_ACTIVITY: tuple(DESKTOP)}, gazegraph_desktop.recordings, "person"
    ),
    "capfingerid": _recorded(capfingerid.SET, ("capacitance",), {_TOUCH: TOUCHES}, capfingerid.recordings, "person"),
    "capcontact": _recorded(
        capcontact.SET, ("capacitance",), {}, capcontact.recordings, "person", masks=("contact-mask",)
    ),
    "thermal_d6t": _recorded(
        thermal_d6t.SET, ("thermal",), {_ACTIVITY: tuple(POSTURES)}, thermal_d6t.recordings, "volunteer"
    ),
    "htad": _recorded(htad.SET, ("features",), {_ACTIVITY: tuple(CHORES)}, htad.recordings, "block"),
    "room_occupancy": _recorded(
        room_occupancy.SET, ("features",), {_ACTIVITY: tuple(PEOPLE)}, room_occupancy.recordings, "day"
    ),
    "fsdd": _recorded(fsdd.SET, ("audio",), {}, fsdd.recordings, "speaker"),
    "kitti_samples": _recorded(kitti_samples.SET, ("camera", "lidar"), {_DEPTH: ()}, kitti_samples.recordings, "scene"),
    "rgbd_7scenes": _recorded(rgbd_7scenes.SET, ("camera", "depth"), {_DEPTH: ()}, rgbd_7scenes.recordings, "scene"),
    "thermal_rgb_pairs": _recorded(
        thermal_rgb_pairs.SET, ("image", "thermal"), {}, thermal_rgb_pairs.recordings, "scene"
    ),
    "comma2k19_sample": _recorded(drives.COMMA, ("gps", "imu"), {}, drives.comma2k19, "drive"),
    "vehicle_gps_imu": _recorded(drives.VEHICLES, ("gps", "imu"), {}, drives.vehicles, "drive"),
    # The paper's, in their publishers' layouts
    "eyemu": _published(eyemu, "person"),
    "samosa": _published(samosa, "person"),
    "rgbdgaze": _published(rgbdgaze, "person"),
    "dip_imu": _published(dip_imu, "person", missing=dip_imu.MISSING),
    "ego4d": _published(ego4d_imu, "person"),
    "kitti": _published(kitti, "drive"),
    "llvip": _published(llvip, "place"),
    "touchpose": _published(touchpose, "person"),
    "newer_college": _published(newer_college, "experiment"),
}

__all__ = [
    "DATASETS", "Dataset", "Recording", "Recordings", "Segments", "Sequence", "Series", "Track", "Values", "sequence",
]  # fmt: skip
