"""What the demo of a scene consists of: which devices send which streams, and which of its tasks the model answers.

It follows from the scene and from what the model knows. Of the home only the devices of HOME take part: every device
is a process, and strap, earbud, anklet and scanner would tell little that these do not. What holds the answer to a
task (`Task.given_by`) is left out, or nothing would be asked. The module knows nothing of processes and of the wire.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tasks import Classification, Task
from broker.errors import ConfigError
from edge.clock import SECOND
from edge.simulator import SCENES, Source, Stage

if TYPE_CHECKING:
    from backend.model.sensorlm import ModelConfig

SEED, OTHER_SEEDS = 7, range(11, 19)
HOME = ("watch", "phone", "room", "camera", "thermometer")
"""The devices of the home that take part, as the scene calls them."""
_CALLED = {"room": "microphone"}  # what listens in the home's room
_HEARD_S = 600  # labels of a scene are those of so many seconds


@dataclass(frozen=True)
class Plan:
    """A scene as it is shown: `devices` maps device and stream to (modality, placement), `tasks` are the model's.

    `others` are scenes of the same kind with OTHER_SEEDS.
    """

    scene: str
    stage: Stage
    others: tuple[Stage, ...]
    devices: Mapping[str, Mapping[str, tuple[str, str]]]
    tasks: Mapping[str, Task]


def plan(scene: str, model: ModelConfig) -> Plan:
    """The demo of a scene with a model.

    Raises:
        ConfigError: there is no such scene, or the model cannot do any of its tasks.
    """
    if scene not in SCENES:
        raise ConfigError(f"--scene {scene}: no such scene; there are {', '.join(SCENES)}")
    stage = SCENES[scene](SEED)
    tasks = {name: model.task(name) for name in stage.tasks if name in model.tasks}
    tasks = {name: task for name, task in tasks.items() if _knows(task, stage)}
    given = {modality for task in tasks.values() for modality in task.given_by}
    sources = [
        source
        for source in stage.streams()
        if source[1] in model.modalities and source[1] not in given and (scene != "home" or source[0] in HOME)
    ]
    sent = [source[1:] for source in sources]
    tasks = {name: task for name, task in tasks.items() if task.asks(sent)}
    if not tasks:
        raise ConfigError(
            f"--scene {scene}: the model can do none of {', '.join(stage.tasks)} with its sensors; "
            "give one that can by --checkpoint (`backend info` shows what a model knows), or take another scene"
        )
    others = tuple(SCENES[scene](other) for other in OTHER_SEEDS)
    return Plan(scene, stage, others, _devices(sources), tasks)


def _knows(task: Task, stage: Stage) -> bool:
    """Whether the model's task says anything that may be true here: every set of recordings has labels of its own."""
    if not isinstance(task, Classification):
        return True
    now = time.time_ns()
    there = {span.label for span in stage.spans(task.name, now - _HEARD_S * SECOND, now)}
    return bool((there & set(task.labels)) - {task.none_label})


def _devices(sources: list[Source]) -> dict[str, dict[str, tuple[str, str]]]:
    """Streams by device; a device's second stream of a modality has the placement in its name."""
    devices: dict[str, dict[str, tuple[str, str]]] = {}
    for device, modality, placement in sources:
        streams = devices.setdefault(_CALLED.get(device, device), {})
        streams[f"{modality}-{placement}" if modality in streams else modality] = modality, placement
    return devices
