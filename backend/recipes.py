"""Recipes: functions that return a whole training configuration, saved with every run.

Derive one by calling another and changing fields; on the command line, `--set field=value` changes one, nested fields
with a dot (`--set augment.tilt=0.1`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from backend.data import DATASETS
from backend.model.encoders import ENCODERS
from backend.model.language import LanguageConfig
from backend.model.sensorlm import ModelConfig
from backend.tasks import MASKS, TASKS
from backend.tasks.activity import ACTIONS
from backend.train.augment import AugmentConfig, GazeVariety
from backend.train.augment_frames import FrameVariety
from backend.train.batch import DropConfig
from backend.train.config import TrainConfig
from broker.errors import ConfigError


def model_for(*datasets: str, **options: Any) -> ModelConfig:
    """A model with the senses, tasks, labels, points and masks that these datasets have between them."""
    found = [DATASETS[name] for name in datasets]
    modalities = tuple(m for m in ENCODERS if any(m in one.modalities for one in found))
    tasks = tuple(task for task in TASKS if any(task in one.tasks for one in found))
    outputs = {}
    for task in tasks:
        named = [one.tasks[task] for one in found if task in one.tasks]
        if all(named):  # a set that names none has all
            outputs[task] = tuple(name for name in TASKS[task].outputs if any(name in names for names in named))
    masks = tuple(mask for mask in MASKS if any(mask in one.masks for one in found))
    return ModelConfig(**{"modalities": modalities, "tasks": tasks, "outputs": outputs, "masks": masks, **options})


VARIED = {
    "utd_mhad": AugmentConfig(tilt=0.2, flip=0.0, mirror=0.0),  # a sensor is worn in one way, and sides have names
    "synthetic_touch": AugmentConfig(flip=0.0),  # a phone that is turned over turns to the other side
    "eyemu": AugmentConfig(flip=0.0),
    "gazegraph_desktop": AugmentConfig(
        frames=FrameVariety(noise=0.0),  # which would hide how slowly eyes drift
        gaze=GazeVariety(shift=0.3, scale=0.1, turn=0.05),
    ),
    "capfingerid": AugmentConfig(frames=FrameVariety(noise=0.1, erased=0.0)),
    "thermal_d6t": AugmentConfig(mirror=0.0),  # the bed stands where it stands
    "htad": AugmentConfig(frames=FrameVariety(noise=0.2)),
    "room_occupancy": AugmentConfig(frames=FrameVariety(noise=0.1)),
}
"""How windows of a set are varied in training, by its own recipe and by that of all recordings."""


GLANCES = [[0.133, 0.075], [0.133, 0.225], [0.133, 0.75], [0.4, 0.05], [0.4, 0.15], [0.4, 0.5]]
"""How an eye's way is told where a saccade and what follows it matter, and a tracker's noise from frame to frame not:
seconds, and screens per second (`backend.model.tracks`)."""


def sp_sw_har() -> TrainConfig:
    """Activity of people with a watch and a phone."""
    return TrainConfig("sp-sw-har", {"sp_sw_har": 1.0}, model_for("sp_sw_har"), validation=0.08)


def esc10() -> TrainConfig:
    """Sound events of one microphone."""
    return TrainConfig(
        "esc10",
        {"esc10": 1.0},
        model_for("esc10"),
        steps=600,
        slots=5,
        weight_decay=0.02,
        smoothing=0.1,
        folds=4,
        validation=0.1,  # clips are few, and training needs them
        drop=DropConfig(whole=0.0, onwards=0.0),
    )


def bundled() -> TrainConfig:
    """All tasks and modalities, of data whose licence permits it and the simulator: the checkpoint of the package."""
    datasets = {"sp_sw_har": 1.6, "esc10": 1.5, "synthetic": 0.7, "synthetic_drive": 0.5, "synthetic_touch": 0.85}
    return TrainConfig(
        "bundled",
        datasets,
        model_for(*datasets, focused=True),
        steps=3800,
        phases=5,
        crops=24,
        slots=6,
        learning_rate=2e-3,
        overlay=0.4,
        smoothing=0.05,
        validation=0.1,
        varied=VARIED,
        drop=DropConfig(most=4),
    )


def simulator() -> TrainConfig:
    """All tasks and modalities from the three simulated scenes: what can be trained without any recordings.

    A sixth of the bundled model's steps, to see what a training is like.
    """
    whole = bundled()
    datasets = {name: weight for name, weight in whole.datasets.items() if not DATASETS[name].address}
    model = model_for(*datasets, focused=True)
    return replace(whole, recipe="simulator", datasets=datasets, model=model, steps=600, phases=1, overlay=0.0)


def paper() -> TrainConfig:
    """What the paper trains IoT-LM with, over the bundled sets: Adam, 1e-4, batches of 16, 30 epochs (section 5.1).

    An element of a batch is a crop of six slots here, of which each is decided. As there: no warm-up, decay or averages
    of weights are told of, so there are none; people held out for validation stay so. Sets are drawn by the root of
    their length and not window by window, because one recorded set of sound would else be one crop in fifty.
    `bundled` differs: AdamW and averages gain with as few steps as a core takes in an hour, and with few steps its rate
    has to be twenty times this one.
    """
    return replace(
        bundled(),
        recipe="paper",
        optimizer="adam",
        learning_rate=1e-4,
        schedule="constant",
        warmup=0.0,
        weight_decay=0.0,
        ema=0.0,
        crops=16,
        epochs=30,
    )


def paper_baseline() -> TrainConfig:
    """What the paper trains its baselines with (Appendix B): batches of 128, 1e-3, stopped after 10 epochs in vain.

    The most epochs are not told; they are `paper`'s. A batch is handled in eight parts, for memory.
    """
    return replace(paper(), recipe="paper-baseline", learning_rate=1e-3, crops=128, accumulate=8, patience=10)


def utd_mhad() -> TrainConfig:
    """Actions, pose and joints of people with an inertial sensor before a depth camera."""
    return TrainConfig(
        "utd-mhad",
        {"utd_mhad": 1.0},
        model_for("utd_mhad", modalities=("imu", "pose", "depth")),
        steps=1500,
        slots=5,
        folds=4,
        validation=0.0,  # of four people three are few enough to learn from
        augment=VARIED["utd_mhad"],
        drop=DropConfig(whole=0.2, onwards=0.0),
    )


def utd_mhad_actions() -> TrainConfig:
    """Actions alone, of whole clips, from inertial sensor and skeleton: a decision sees most of a clip."""
    tasks, modalities = ("activity-recognition",), ("imu", "pose")
    return TrainConfig(
        "utd-mhad-actions",
        {"utd_mhad": 1.0},
        model_for("utd_mhad", modalities=modalities, tasks=tasks, outputs={tasks[0]: tuple(ACTIONS)}, slots=6),
        steps=500,
        slots=8,
        folds=4,
        validation=0.0,
        smoothing=0.1,
        phases=5,
        stretch=0.2,
        augment=VARIED["utd_mhad"],
        drop=DropConfig(whole=0.4, onwards=0.0),
    )


def eyemu_gaze() -> TrainConfig:
    """Where on a phone's screen people look, from features of their faces."""
    model = model_for("eyemu_gaze", slots=0)  # the target's way is the same in all rounds: no context to learn it from
    return TrainConfig(
        "eyemu-gaze", {"eyemu_gaze": 1.0}, model, steps=120, slots=6, weight_decay=0.3, folds=7, validation=0.0
    )


def gazegraph_desktop() -> TrainConfig:
    """What people do at a desk, from where their eyes are: a decision needs half a minute.

    What tells is how often eyes go where: late fusion averages windows, and has little to learn from five people.
    Convolutions would learn who it is.
    """
    gaze = {"width": 4, "blocks": 0, "dropout": 0.4, "saccades": GLANCES}
    return TrainConfig(
        "gazegraph-desktop",
        {"gazegraph_desktop": 1.0},
        model_for("gazegraph_desktop", slots=58, tokens=1, parts=20, fusion="late", encoders={"gaze": gaze}),
        steps=240,
        crops=16,
        slots=64,
        learning_rate=5e-3,
        weight_decay=0.3,
        smoothing=0.1,
        ema=0.95,
        phases=2,
        folds=6,
        validation=0.0,
        augment=VARIED["gazegraph_desktop"],
    )


def capfingerid() -> TrainConfig:
    """Which finger touches a panel."""
    return TrainConfig(
        "capfingerid",
        {"capfingerid": 1.0},
        model_for("capfingerid", encoders={"capacitance": {"size": [27, 15]}}),
        steps=2400,
        slots=6,
        folds=5,
        validation=0.1,
        augment=VARIED["capfingerid"],
    )


def capcontact() -> TrainConfig:
    """Which parts of a panel are touched: a mask eight times as fine as the panel's cells."""
    return TrainConfig(
        "capcontact",
        {"capcontact": 1.0},
        model_for("capcontact"),
        steps=600,
        crops=16,
        slots=2,
        phases=1,
        folds=4,
        validation=0.0,  # nothing is calibrated
    )


def thermal_d6t() -> TrainConfig:
    """Postures under a thermal sensor of sixteen pixels."""
    model = model_for("thermal_d6t")
    return TrainConfig(
        "thermal-d6t",
        {"thermal_d6t": 1.0},
        model,
        steps=400,
        slots=6,
        folds=3,
        validation=0.0,
        augment=VARIED["thermal_d6t"],
    )


def htad() -> TrainConfig:
    """Chores at home, from features of sound and of a wrist's motion: a row is a decision of its own."""
    return TrainConfig(
        "htad",
        {"htad": 1.0},
        model_for("htad", slots=0),
        steps=600,
        crops=64,
        slots=1,
        smoothing=0.05,
        phases=1,
        folds=4,
        validation=0.0,
        augment=VARIED["htad"],
        drop=DropConfig(whole=0.2, onwards=0.0, windows=0.0),
    )


def room_occupancy() -> TrainConfig:
    """How many people are in a room, from what its sensors tell."""
    return TrainConfig(
        "room-occupancy",
        {"room_occupancy": 1.0},
        model_for("room_occupancy"),
        steps=400,
        folds=4,
        validation=0.0,
        augment=VARIED["room_occupancy"],
    )


def real() -> TrainConfig:
    """One model of all recordings at hand, whatever their licence permits beyond research: not for the package."""
    datasets = {
        "sp_sw_har": 1.2,
        "esc10": 1.2,
        "utd_mhad": 1.5,
        "eyemu_gaze": 1.0,
        "gazegraph_desktop": 0.3,
        "capfingerid": 0.4,
        "capcontact": 0.4,
        "thermal_d6t": 0.5,
        "htad": 2.5,
        "room_occupancy": 0.6,
        "rgbd_7scenes": 1.5,
        "kitti_samples": 3.0,
    }
    return TrainConfig(
        "real",
        datasets,
        model_for(*datasets, focused=True, encoders={"capacitance": {"size": [27, 15]}, "gaze": {"saccades": GLANCES}}),
        steps=2400,
        crops=56,
        slots=6,
        smoothing=0.05,
        phases=4,
        varied=VARIED,
        drop=DropConfig(whole=0.2, onwards=0.05),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "sp-sw-har": sp_sw_har,
    "esc10": esc10,
    "bundled": bundled,
    "simulator": simulator,
    "paper": paper,
    "paper-baseline": paper_baseline,
    "utd-mhad": utd_mhad,
    "utd-mhad-actions": utd_mhad_actions,
    "eyemu-gaze": eyemu_gaze,
    "gazegraph-desktop": gazegraph_desktop,
    "capfingerid": capfingerid,
    "capcontact": capcontact,
    "thermal-d6t": thermal_d6t,
    "htad": htad,
    "room-occupancy": room_occupancy,
    "real": real,
}


def instructed(config: TrainConfig, start: str, language: LanguageConfig) -> TrainConfig:
    """Stage 2 (paper, Eq. 3) of a recipe, from the checkpoint of its stage 1: encoders stay as they are.

    A quarter of the steps, at a quarter of the rate: what is new begins at zero, and what is there is to stay.
    """
    return replace(
        config,
        start=start,
        model=replace(config.model, language=language),
        frees=("adapter", "heads", "language"),
        steps=max(1, config.steps // 4),
        epochs=math.ceil(config.epochs / 4),
        learning_rate=config.learning_rate / 4,
        auxiliary=0.0,  # the unimodal heads are there for the encoders' sake
        texts=12,
        text_weight=0.5,
        decisions=64,
    )


def recipe(name: str) -> TrainConfig:
    """The named recipe; raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"recipe {name!r} is unknown; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()
