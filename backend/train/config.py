"""The whole configuration of a training, and what makes one of a recipe and of settings.

What cannot be trained is refused here, before any data is read. Which configurations there are is `backend.recipes`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, field
from functools import cache
from typing import Annotated, Any, Protocol, Self, TypeVar

import torch
from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from backend.choices import CHECKED, Amount, Count, LessThanAll, Positive, Share, build, different, one_of
from backend.data import DATASETS
from backend.data.recording import PARTS
from backend.model.encoders import build_encoder
from backend.model.sensorlm import ModelConfig
from backend.tasks import TASKS, Classification
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
    `stretch`). `validation`: share of the training people held out for calibration and thresholds. `augment` varies
    what is drawn, `varied` that of some sets in its place. `fold` of `folds`: people that are left out altogether
    (-1: none).

    A step's crops are handled in `accumulate` equal parts. `epochs` in place of `steps` (0: steps are meant) are
    counted by `train.source.with_steps`. `balance` and `sampling` name rules of `train.balance` and
    `train.source.chances`.
    `patience`: measurements on the validation people without a new best after which the run ends, and its best weights
    count (0: off); every `measure_every` steps (0: a tenth of them, or an epoch where epochs are counted). `start`: the
    folder of a checkpoint to begin with; `frees`: the parts of the model that learn then. `ema` 0: no averages.

    `texts`: answers in words that a part of a step asks a language model for, `text_weight` what they weigh beside the
    tasks' losses. `decisions`: so many of a part's, drawn at random, are made (0: all); a language model makes each
    dear.
    """

    recipe: str
    datasets: Annotated[dict[Annotated[str, one_of(DATASETS)], Positive], Field(min_length=1)]
    model: ModelConfig = field(default_factory=ModelConfig)
    steps: Count = 1000
    epochs: Annotated[int, Field(ge=0)] = 0
    crops: Count = 16
    accumulate: Count = 1
    slots: Count = 8
    overlay: Share = 0.0
    sampling: Annotated[str, one_of(("root", "even", "size"))] = "root"
    balance: Annotated[str, one_of(("ema", "uncertainty", "fixed"))] = "ema"
    optimizer: Annotated[str, one_of(("adamw", "adam"))] = "adamw"
    schedule: Annotated[str, one_of(("cosine", "constant"))] = "cosine"
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
    patience: Annotated[int, Field(ge=0)] = 0
    measure_every: Annotated[int, Field(ge=0)] = 0
    texts: Annotated[int, Field(ge=0)] = 0
    text_weight: Amount = 1.0
    decisions: Annotated[int, Field(ge=0)] = 0
    start: str = ""
    frees: Annotated[tuple[str, ...], AfterValidator(different)] = ("adapter", "heads")
    device: Annotated[str, one_of(("auto", "cpu", "cuda"))] = "auto"
    compile: bool = False
    bf16: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    varied: dict[Annotated[str, one_of(DATASETS)], AugmentConfig] = field(default_factory=dict)
    drop: DropConfig = field(default_factory=DropConfig)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """The fold is one of them, the model takes some of what each dataset holds, and they label what it decides."""
        model = self.model
        if self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold} of {self.folds} folds; they count from 0")
        if self.crops % self.accumulate:
            raise ValueError(
                f"crops is {self.crops} and accumulate {self.accumulate}; crops has to be a multiple of accumulate"
            )
        if self.patience and not self.validation:
            raise ValueError(
                f"patience is {self.patience} and validation 0; stopping early needs people held out: set validation"
            )
        if self.texts and model.language is None:
            raise ValueError(f"texts is {self.texts} and model.language none: only a language model answers in words")
        for name in self.datasets:
            held = DATASETS[name].modalities
            if not set(held) & set(model.modalities):
                raise ValueError(f"model.modalities has none of {', '.join(held)}, which is what {name} holds; add one")
            taught = {*DATASETS[name].tasks, *DATASETS[name].masks}
            if not taught & {*model.tasks, *model.masks}:
                raise ValueError(f"datasets has {name}, which teaches nothing that the model answers; remove it")
        self._is_taught()
        for modality in model.modalities:
            _try_encoder(model, modality)
        return self

    def _is_taught(self) -> None:
        """Raise ValueError for a task or a mask that no dataset here teaches."""
        model = self.model
        for task in model.tasks:
            teachers = [name for name, dataset in DATASETS.items() if task in dataset.tasks]
            if not set(teachers) & set(self.datasets):
                raise ValueError(f"model.tasks has {task}, which no dataset here labels; add {' or '.join(teachers)}")
            if isinstance(TASKS[task], Classification) and model.tokens * model.parts != PARTS:
                raise ValueError(
                    f"model.tokens is {model.tokens} and model.parts {model.parts}; their product has to be {PARTS}"
                )
        for mask in model.masks:
            teachers = [name for name, dataset in DATASETS.items() if mask in dataset.masks]
            if not set(teachers) & set(self.datasets):
                raise ValueError(f"model.masks has {mask}, which no dataset here shows; add {' or '.join(teachers)}")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def _try_encoder(model: ModelConfig, modality: str) -> None:
    """Raise ValueError for an encoder that cannot be built or takes no window; torch's random numbers stay."""
    _try_once(modality, model.tokens, model.dim, json.dumps(model.encoders.get(modality, {})))


@cache
def _try_once(modality: str, tokens: int, dim: int, options_json: str) -> None:
    """As `_try_encoder`; what could be built is not built again."""
    options = json.loads(options_json)
    wanted = (1, tokens, dim)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            encoder = build_encoder(modality, {"tokens": tokens, "dim": dim, **options}).eval()
            found = tuple(encoder(torch.zeros(1, *encoder.shape))[0].shape)
    except Exception as error:  # torch raises of every kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"model.encoders.{modality} is {options}: it cannot be built: {reason}") from None
    if found != wanted:
        raise ValueError(f"model.encoders.{modality} is {options}: tokens of {found[1:]}, the model takes {wanted[1:]}")


class _Plain(Protocol):
    def to_json(self) -> dict[str, Any]: ...


Settable = TypeVar("Settable", bound=_Plain)
"""A configuration of any training."""


def with_settings(config: Settable, settings: Iterable[str]) -> Settable:
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
    return build(type(config), values, lambda problem: ConfigError(f"training configuration: {problem}"))


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
