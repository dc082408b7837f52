"""Recipes: functions that return a whole training configuration, saved with every run.

Derive one by calling another and changing fields; on the command line, `--set field=value` changes one, nested fields
with a dot (`--set augment.tilt=0.1`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from backend.model.sensorlm import ModelConfig
from backend.train.augment import AugmentConfig
from backend.train.batch import DropConfig
from broker.errors import ConfigError


@dataclass
class TrainConfig:
    """One training run.

    `datasets`: weight of each set in the draw of crops, beside the square root of its size. `crops` of `slots` slots
    make a step; the share `overlay` of motion crops gets a sound crop of another set laid over it. `auxiliary` weighs
    the unimodal heads' loss. `phases`: cuts of each motion recording at random phases and speeds (log-speed within
    `stretch`). `validation`: share of the training people held out for calibration and thresholds.
    `fold` of `folds`: people that are left out altogether (-1: none).
    """

    recipe: str
    datasets: dict[str, float]
    model: ModelConfig = field(default_factory=ModelConfig)
    steps: int = 1000
    crops: int = 16
    slots: int = 8
    overlay: float = 0.0
    learning_rate: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    clip: float = 2.0
    ema: float = 0.998
    smoothing: float = 0.0
    auxiliary: float = 0.5
    phases: int = 8
    stretch: float = 0.1
    validation: float = 0.15
    folds: int = 5
    fold: int = -1
    seed: int = 0
    save_every: int = 200
    bf16: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    drop: DropConfig = field(default_factory=DropConfig)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def sp_sw_har() -> TrainConfig:
    """Activity of people with a watch and a phone."""
    model = ModelConfig(modalities=("imu",), tasks=("activity-recognition",))
    return TrainConfig("sp-sw-har", {"sp_sw_har": 1.0}, model, validation=0.08)


def esc10() -> TrainConfig:
    """Sound events of one microphone."""
    model = ModelConfig(modalities=("audio",), tasks=("event-detection",))
    return TrainConfig(
        "esc10",
        {"esc10": 1.0},
        model,
        steps=600,
        slots=5,
        weight_decay=0.02,
        smoothing=0.1,
        folds=4,
        validation=0.1,  # clips are few, and training needs them
        drop=DropConfig(whole=0.0, onwards=0.0),
    )


def bundled() -> TrainConfig:
    """Both tasks, both modalities, real and simulated: the checkpoint that comes with the package."""
    return TrainConfig(
        "bundled",
        {"sp_sw_har": 1.5, "esc10": 1.2, "synthetic": 0.6},
        ModelConfig(),
        steps=1500,
        crops=24,
        slots=6,
        overlay=0.4,
        smoothing=0.05,
        validation=0.1,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {"sp-sw-har": sp_sw_har, "esc10": esc10, "bundled": bundled}


def recipe(name: str) -> TrainConfig:
    """The named recipe; raises ConfigError for an unknown name."""
    if name not in RECIPES:
        raise ConfigError(f"recipe {name!r} is unknown; choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()


def with_settings(config: TrainConfig, settings: Iterable[str]) -> TrainConfig:
    """The configuration with `field=value` settings applied; raises ConfigError naming the field and its type."""
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write field=value, for example steps=200")
        config = _with(config, path.split("."), text, setting)
    return config


def _with(node: Any, path: list[str], text: str, setting: str) -> Any:
    known = {f.name for f in fields(node)}
    if path[0] not in known:
        raise ConfigError(f"--set {setting!r}: no field {path[0]!r}; fields: {', '.join(sorted(known))}")
    old = getattr(node, path[0])
    if len(path) > 1:
        if not is_dataclass(old):
            raise ConfigError(f"--set {setting!r}: {path[0]!r} has no fields of its own")
        return replace(node, **{path[0]: _with(old, path[1:], text, setting)})
    return replace(node, **{path[0]: _value(old, text, setting)})


def _value(old: Any, text: str, setting: str) -> Any:
    """`text` as JSON (or a bare word) of the same type as the old value."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(old):
        raise ConfigError(f"--set {setting!r}: {text!r} is no {type(old).__name__}, as {old!r} is")
    return value


def config_from_json(values: dict[str, Any]) -> TrainConfig:
    """The configuration that `TrainConfig.to_json` wrote; raises ConfigError for fields that do not exist."""
    from backend.train.augment_audio import SoundVariety

    try:
        augment = dict(values["augment"])
        sound: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in augment.pop("sound").items()}
        return TrainConfig(
            **{
                **values,
                "model": ModelConfig.from_json(values["model"]),
                "augment": AugmentConfig(**augment, sound=SoundVariety(**sound)),
                "drop": DropConfig(**values["drop"]),
            }
        )
    except (TypeError, KeyError) as error:
        raise ConfigError(f"training configuration: {error}; was it written by another version?") from error
