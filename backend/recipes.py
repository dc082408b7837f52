"""Recipes: functions that return a whole training configuration, saved with every run.

Derive one by calling another and changing fields; on the command line, `--set field=value` changes one, nested fields
with a dot (`--set augment.tilt=0.1`). What cannot be trained is refused here, before any data is read.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, field
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from backend.choices import CHECKED, Amount, Count, LessThanAll, Positive, Share, build, one_of
from backend.data import DATASETS
from backend.data.recording import PARTS
from backend.model.encoders import build_encoder
from backend.model.sensorlm import ModelConfig
from backend.tasks import TASKS
from backend.train.augment import AugmentConfig
from backend.train.batch import DropConfig
from broker.errors import ConfigError

SEEDS = 2**32
"""Seeds are 0 to one less."""


@dataclass(config=CHECKED)
class TrainConfig:
    """One training run.

    `datasets`: weight of each set in the draw of crops, beside the square root of its size. `crops` of `slots` slots
    make a step; the share `overlay` of motion crops gets a sound crop of another set laid over it. `auxiliary` weighs
    the unimodal heads' loss. `phases`: cuts of each motion recording at random phases and speeds (log-speed within
    `stretch`). `validation`: share of the training people held out for calibration and thresholds.
    `fold` of `folds`: people that are left out altogether (-1: none).
    """

    recipe: str
    datasets: Annotated[dict[Annotated[str, one_of(DATASETS)], Positive], Field(min_length=1)]
    model: ModelConfig = field(default_factory=ModelConfig)
    steps: Count = 1000
    crops: Count = 16
    slots: Count = 8
    overlay: Share = 0.0
    learning_rate: Positive = 3e-3
    warmup: Share = 0.1
    weight_decay: Amount = 0.05
    clip: Positive = 2.0
    ema: Share = 0.998
    smoothing: LessThanAll = 0.0
    auxiliary: Amount = 0.5
    phases: Count = 8
    stretch: Amount = 0.1
    validation: LessThanAll = 0.15
    folds: Annotated[int, Field(ge=2)] = 5
    fold: Annotated[int, Field(ge=-1)] = -1
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    save_every: Count = 200
    bf16: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    drop: DropConfig = field(default_factory=DropConfig)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """The fold is one of them, the model takes what the datasets hold, and they label what it decides."""
        model = self.model
        if self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold} of {self.folds} folds; they count from 0")
        for name in self.datasets:
            lacking = set(DATASETS[name].modalities) - set(model.modalities)
            if lacking:
                what = ", ".join(sorted(lacking))
                raise ValueError(f"model.modalities lacks {what}, which {name} holds; add it or remove the dataset")
        for task in model.tasks:
            teachers = [name for name, dataset in DATASETS.items() if task in dataset.tasks]
            if not set(teachers) & set(self.datasets):
                raise ValueError(f"model.tasks has {task}, which no dataset here labels; add {' or '.join(teachers)}")
            if TASKS[task].none_label is None and model.tokens * model.parts != PARTS:
                raise ValueError(
                    f"model.tokens is {model.tokens} and model.parts {model.parts}; their product has to be {PARTS}"
                )
        for modality in model.modalities:
            _try_encoder(model, modality)
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def _try_encoder(model: ModelConfig, modality: str) -> None:
    """Raise ValueError for an encoder that cannot be built or takes no window; torch's random numbers stay."""
    options = model.encoders.get(modality, {})
    wanted = (1, model.tokens, model.dim)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            encoder = build_encoder(modality, {"tokens": model.tokens, "dim": model.dim, **options}).eval()
            found = tuple(encoder(torch.zeros(1, encoder.samples, encoder.channels))[0].shape)
    except Exception as error:  # torch raises of every kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"model.encoders.{modality} is {options}: it cannot be built: {reason}") from None
    if found != wanted:
        raise ValueError(f"model.encoders.{modality} is {options}: tokens of {found[1:]}, the model takes {wanted[1:]}")


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
    """The configuration with all `field=value` settings applied.

    Raises:
        ConfigError: there is no such field, or the whole cannot be trained; it names field, value and what would do.
    """
    values = config.to_json()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write field=value, for example steps=200")
        *sections, name = path.split(".")
        node = values
        for section in sections:
            node = _known(node, section, setting)[section]
        _known(node, name, setting)[name] = _value(text)
    return build(TrainConfig, values, lambda problem: ConfigError(f"training configuration: {problem}"))


def _known(node: Any, name: str, setting: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise ConfigError(f"--set {setting!r}: there is no field {name!r}, because what stands before it has none")
    if name not in node:
        raise ConfigError(f"--set {setting!r}: no field {name!r}; fields: {', '.join(sorted(node)) or 'none'}")
    return node


def _value(text: str) -> Any:
    """`text` as JSON, or else as a bare word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def config_from_json(values: Any) -> TrainConfig:
    """The configuration that `TrainConfig.to_json` wrote; raises ConfigError for fields that do not exist or fit."""
    return build(
        TrainConfig,
        values,
        lambda problem: ConfigError(f"training configuration: {problem}; was it written by another version?"),
    )
