"""All that a run changes, how it begins, and how it is kept: a resumed run goes on exactly as an uninterrupted one.

Everything random in a step follows from (seed, step, part), so the state to save is weights, averages, optimiser, what
balances tasks and stops early, and the step. It knows nothing of what a step does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from backend.checkpoint import load_checkpoint
from backend.model.sensorlm import SensorModel
from backend.train.balance import BALANCES, Fixed
from backend.train.config import TrainConfig
from backend.train.group import device_of
from backend.train.losses import loss_names
from broker.errors import CheckpointError, ConfigError

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
OWN = frozenset({"masks", "dropout", "language", "focused"})
"""What of a model's configuration may differ from that of the checkpoint that a run starts from."""


@dataclass
class Watch:
    """What early stopping remembers of the measurements on people held out.

    `begun` is each task's first loss, `lowest` the least of the measurements, `since` how many came after it.
    """

    begun: dict[str, float] = field(default_factory=dict)
    lowest: float = float("inf")
    since: int = 0


@dataclass
class State:
    """All that a run changes. `average` is the exponential moving average of the weights, `best` what it was at the
    lowest measurement (empty where nobody measures); `seconds` is the time that all steps took, over every resumption.
    `start` is the digest of the checkpoint that the run began with.
    """

    model: SensorModel
    balance: Fixed
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    device: torch.device
    best: dict[str, Tensor] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    step: int = 0
    seconds: float = 0.0
    start: str = ""

    def learned(self) -> dict[str, nn.Parameter]:
        """What the optimiser changes, by name."""
        named = [*self.model.named_parameters(), *self.balance.named_parameters("balance")]
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def done(self, config: TrainConfig) -> bool:
        """Whether all steps are taken, or patience is over."""
        return self.step >= config.steps or 0 < config.patience <= self.watch.since

    def weights(self) -> dict[str, Tensor]:
        """What the checkpoint gets: the best measured, else the newest average."""
        return self.best or self.average


def new_state(config: TrainConfig) -> State:
    """A fresh model, seeded, or that of `config.start`, with its optimiser; only matrices decay.

    Raises:
        CheckpointError: the checkpoint to start from cannot be read.
        ConfigError: it is of another model, nothing would learn, or the device is not there.
    """
    device = device_of(config)
    torch.manual_seed(config.seed)
    model = SensorModel(config.model, begin=True)
    start = begin_from(model, config) if config.start else ""
    return _with_optimizer(model.to(device), config, device, start)


def begin_from(model: SensorModel, config: TrainConfig) -> str:
    """Give the model the weights that `config.start` has, and leave the others as they are; the checkpoint's digest.

    Raises as `new_state` does.
    """
    checkpoint = load_checkpoint(config.start)
    there, here = checkpoint.model.config.language, config.model.language
    if there is not None and (here is None or replace(there, llm=here.llm) != here):  # it may lie elsewhere by now
        raise ConfigError(
            f"start is {config.start!r}, which has a language model already; start from the checkpoint of stage 1 "
            "that it came from"
        )
    for one in fields(model.config):
        there, wanted = (getattr(m.config, one.name) for m in (checkpoint.model, model))
        if one.name not in OWN and there != wanted:
            raise ConfigError(
                f"start is {config.start!r}, a model with another model.{one.name}: {there!r:.60}; this run has "
                f"{wanted!r:.60}; give it the same"
            )
    model.load_state_dict(checkpoint.weights(), strict=False)
    return checkpoint.digest


def _freeze(model: SensorModel, config: TrainConfig) -> None:
    """Where a run starts from a checkpoint, what it does not free keeps its weights.

    Unimodal heads are there for the encoders' sake, and learn when these do. What a part that is freed has frozen
    itself stays so.
    """
    children = dict(model.named_children())
    if strangers := [name for name in config.frees if name not in children]:
        raise ConfigError(f"frees has {strangers[0]!r}, which is no part of the model; parts: {', '.join(children)}")
    for name, part in children.items():
        if (name if name != "unimodal" else "encoders") not in config.frees:
            part.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError(
            f"frees is {list(config.frees)}, which leaves nothing to learn; free one of {', '.join(children)}"
        )


def _with_optimizer(model: SensorModel, config: TrainConfig, device: torch.device, start: str) -> State:
    if config.start:
        _freeze(model, config)
    balance = BALANCES[config.balance](name for name in loss_names(config.model) if "/" not in name).to(device)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learned if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if own := list(balance.parameters()):
        groups.append({"params": own, "weight_decay": 0.0})
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(groups, lr=config.learning_rate, fused=True if device.type == "cuda" else None)
    if config.compile:
        for part in (model.adapter, *model.encoders.values()):
            part.compile(dynamic=True)  # in place: names of weights stay
    average = {name: value.clone() for name, value in model.state_dict().items()}
    return State(model, balance, optimizer, average, device, start=start)


def save_state(state: State, folder: Path) -> None:
    """Write `state.safetensors`, complete or not at all."""
    tensors = {f"model.{k}": v.contiguous() for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v.contiguous() for k, v in state.average.items()}
    tensors |= {f"best.{k}": v.contiguous() for k, v in state.best.items()}
    tensors |= {f"balance.{k}": v.contiguous() for k, v in state.balance.state_dict().items()}
    for name, parameter in state.learned().items():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value.contiguous()
    about = {
        "step": str(state.step),
        "running": json.dumps(state.balance.running),
        "watch": json.dumps(asdict(state.watch)),
        "seconds": f"{state.seconds:.1f}",
        "start": state.start,
    }
    (folder / f"{STATE}.part").write_bytes(save(tensors, about))
    (folder / f"{STATE}.part").replace(folder / STATE)


def load_state(config: TrainConfig, folder: Path, *, forget: bool = True) -> State:
    """The state that `save_state` wrote; metrics.jsonl is cut back to its step, unless another process does.

    The checkpoint that the run started from is not asked for again.

    Raises:
        CheckpointError: there is none, or it is damaged or that of a model of another shape.
    """
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {STATE} to resume from; train without --resume")
    device = device_of(config)
    state = _with_optimizer(SensorModel(config.model).to(device), config, device, "")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata()
        state.step, state.balance.running = int(about["step"]), json.loads(about["running"])
        state.seconds = float(about["seconds"])
        state.watch, state.start = Watch(**json.loads(about.get("watch", "{}"))), about.get("start", "")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); train anew with --overwrite") from None
    wanted = {name: value.shape for name, value in state.model.state_dict().items()}
    model, average, best = (_under(prefix, tensors, device) for prefix in ("model.", "average.", "best."))
    for found in (model, average, best or average):
        if {name: value.shape for name, value in found.items()} != wanted:
            raise CheckpointError(
                f"{path}: the state of a model of another shape than train.json says; train anew with --overwrite"
            )
    state.model.load_state_dict(model)
    state.balance.load_state_dict(_under("balance.", tensors, device))
    state.average, state.best = average, best
    for name, parameter in state.learned().items():
        moments = {k: tensors.get(f"optimizer.{k}.{name}") for k in ("step", "exp_avg", "exp_avg_sq")}
        if moments["step"] is not None:
            state.optimizer.state[parameter] = {k: v.to(device) for k, v in moments.items() if v is not None}
    if forget:
        forget_after(folder / METRICS, state.step)
    return state


def saved_steps(folder: Path) -> int:
    """How many steps a run's folder holds the outcome of: 0 where no state can be read."""
    try:
        with safe_open(folder / STATE, "pt") as file:
            return int(file.metadata()["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def _under(prefix: str, tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t.to(device) for name, t in tensors.items() if name.startswith(prefix)}


def forget_after(path: Path, step: int) -> None:
    """Leave out of metrics what came after a step."""
    if path.is_file():
        kept = path.read_text().splitlines()[:step]
        path.write_text("".join(f"{line}\n" for line in kept))
