"""The training loop: draw, answer, lose, step; save so that a resumed run goes on exactly as an uninterrupted one.

Everything random in a step follows from (seed, step), so the state to save is weights, averages, optimiser and the
step. A run's folder holds `train.json` (the whole configuration), `state.safetensors` (to resume), `metrics.jsonl` (one
line per step) and at the end the checkpoint. It knows nothing of what is measured afterwards.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backend.device import has_bf16
from backend.model.contact import REACH
from backend.model.sensorlm import SensorModel
from backend.recipes import TrainConfig
from backend.tasks import MASKS, Classification, Regression, Task
from backend.tasks.events import EVENTS
from backend.train.augment_audio import mix_sounds
from backend.train.batch import Answers, Batch, answer, assemble
from backend.train.source import Mixture
from broker.errors import CheckpointError

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
LOSS_MEMORY = 0.98
"""Decay of the running loss that normalises each task's loss."""


@dataclass
class State:
    """All that a run changes. `average` is the exponential moving average of the weights, `running` of the losses;
    `seconds` is the time that all steps took, over every resumption.
    """

    model: SensorModel
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor]
    running: dict[str, float] = field(default_factory=dict)
    step: int = 0
    seconds: float = 0.0


def new_state(config: TrainConfig) -> State:
    """A fresh model, seeded, with AdamW; only matrices decay."""
    torch.manual_seed(config.seed)
    model = SensorModel(config.model)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    return State(model, optimizer, average)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def train_step(state: State, mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig) -> dict[str, float]:
    """One step of the optimiser; returns what metrics.jsonl records of it."""
    rng = np.random.default_rng([config.seed, 1, state.step])
    torch.manual_seed(config.seed * 1_000_003 + state.step)
    state.model.train()
    rate = learning_rate(config, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    crops = mixture.draw(rng)
    batch = assemble(crops, config.slots, config.model, rng, config.augment, config.drop, config.varied)
    batch = _with_sounds_mixed(batch, config, rng)
    losses = mask_losses(state.model, batch)
    if batch.targets and batch.present.any():
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16 and has_bf16()):
            answers = answer(state.model, batch)
        losses |= task_losses(answers, batch, weights, config)
    state.step += 1
    line = {"step": state.step, "loss": 0.0, "lr": rate, "grad_norm": 0.0}
    if not losses:  # by chance nothing was asked in any crop
        return line
    total = _balanced(losses, state.running, mixture.says)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    _average(state, config.ema)
    said = {name: float(v.detach()) for name, v in losses.items()}
    return {**line, **said, "loss": float(total.detach()), "grad_norm": float(norm)}


def _with_sounds_mixed(batch: Batch, config: TrainConfig, rng: np.random.Generator) -> Batch:
    """The batch with sounds laid over each other."""
    task = EVENTS.name
    if "audio" not in batch.windows or task not in batch.targets:
        return batch
    sound, none = batch.windows["audio"], EVENTS.none_index
    assert none is not None
    heard = torch.cat(sound.values)
    values, target = mix_sounds(heard, sound.where, batch.targets[task], none, config.augment.sound, rng)
    windows = {**batch.windows, "audio": replace(sound, values=(values,))}
    targets = {**batch.targets, task: target}
    return replace(batch, windows=windows, targets=targets)


def mask_losses(model: SensorModel, batch: Batch) -> dict[str, Tensor]:
    """Mean loss by mask, over the patches of its frames, but for what the decoder sees less of than in whole frames."""
    losses = {}
    for name, patches in batch.masks.items():
        decoder, finer = model.decoder(name), MASKS[name].finer
        rows, columns = (side // finer for side in patches.mask.shape[1:])
        seen = [
            picture[:, row : row + rows, column : column + columns]
            for picture, (row, column) in zip(decoder.picture(patches.frames), patches.corner, strict=True)
        ]
        logit, inside = decoder(torch.stack(seen)), torch.zeros_like(patches.mask, dtype=torch.bool)
        high, wide = patches.frames.shape[1:3]
        for n, (row, column) in enumerate(patches.corner):
            inside[n, _within(row, rows, high, finer), _within(column, columns, wide, finer)] = True
        losses[name] = MASKS[name].loss(logit[inside], patches.mask[inside])
    return losses


def _within(first: int, cells: int, size: int, finer: int) -> slice:
    """Along one side, the part of a patch's mask whose cells see as much around them as in the whole frame."""
    low = 0 if first == 0 else REACH
    high = cells if first + cells == size else cells - REACH
    return slice(low * finer, high * finer)


def task_losses(answers: Answers, batch: Batch, weights: dict[str, Tensor], config: TrainConfig) -> dict[str, Tensor]:
    """Mean loss by task of the decisions, and by `task/modality` of the unimodal heads (already weighted).

    A decision counts where serving would ask for it. Unimodal heads learn tasks that ask for their modality, part by
    part where the edges of labels mean something, else the window's label throughout. Where nothing counts there is no
    loss: a zero would be taken for a task that has been learned.
    """
    losses = {}
    which, slot = answers.at.unbind(-1)
    for name, target_RLN in batch.targets.items():
        task = config.model.task(name)
        helping = [m for m in config.model.modalities if m in task.modalities and m in batch.windows]
        said, target = answers.outputs.heads[name], target_RLN[which, slot]
        counts = batch.asked[name][which, slot] & task.known(target)
        if counts.any():
            losses[name] = _mean_loss(task, said, target, counts, weights, config)
        for modality in helping:
            at = batch.windows[modality].where
            vote, target = answers.votes[modality][name], target_RLN[at[:, 0], at[:, 1]]
            counts = task.known(target)
            if isinstance(task, Classification):
                timed = task.none_label is None
                parts_nPN = batch.parts[name][at[:, 0], at[:, 1]] if timed else target[:, None].expand_as(vote)
                counts = counts.repeat_interleave(vote.shape[1])
                vote, target = vote.flatten(0, 1), parts_nPN.flatten(0, 1)
            if counts.any():
                loss = _mean_loss(task, vote, target, counts, weights, config)
                losses[f"{name}/{modality}"] = config.auxiliary * loss
    return losses


def _mean_loss(
    task: Task, said: Tensor, target: Tensor, counts: Tensor, weights: dict[str, Tensor], config: TrainConfig
) -> Tensor:
    """Mean over the rows that count, at least one, about which something is known."""
    if isinstance(task, Regression):
        loss = task.loss(said.float(), target)
    else:
        assert isinstance(task, Classification)
        target = target * (1 - config.smoothing) + config.smoothing / target.shape[-1] * target.sum(-1, keepdim=True)
        loss = task.loss(said.float(), target, weights[task.name])
    return loss.where(counts, loss.new_zeros(())).sum() / counts.sum()


def _balanced(losses: dict[str, Tensor], running: dict[str, float], says: dict[str, float]) -> Tensor:
    """Sum of the tasks' losses, each divided by its own running mean so that none drowns another, times what it says.

    A task that many sets teach says as much as they are drawn: as one of eight, each of its sets would say little.

    A single task is left as it is: there is nothing to balance.
    """
    groups: dict[str, list[str]] = {}
    for name in losses:
        groups.setdefault(name.split("/")[0], []).append(name)
    parts = {task: torch.stack([losses[n] for n in names]).sum() for task, names in groups.items()}
    for task, loss in parts.items():
        now = float(loss.detach())
        running[task] = LOSS_MEMORY * running[task] + (1 - LOSS_MEMORY) * now if task in running else now
    if len(running) == 1:
        return next(iter(parts.values()))
    scale = sum(running.values()) / len(running)
    weighted = [says.get(task, 1.0) * scale / max(running[task], 1e-3) * loss for task, loss in parts.items()]
    return torch.stack(weighted).sum()


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for name, value in state.model.state_dict().items():
        if value.is_floating_point():
            state.average[name].lerp_(value, 1 - decay)
        else:
            state.average[name].copy_(value)


def run_steps(
    state: State,
    mixture: Mixture,
    weights: dict[str, Tensor],
    config: TrainConfig,
    folder: Path,
    report: Callable[[dict[str, float]], None],
) -> bool:
    """Train from `state.step` to the end; False when interrupted. Saves on the way, at the end and when interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    with _interruptible() as interrupted, (folder / METRICS).open("a") as metrics:
        while state.step < config.steps and not interrupted():
            began = time.monotonic()
            line = train_step(state, mixture, weights, config)
            state.seconds += time.monotonic() - began
            metrics.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
            report(line)
            if state.step % config.save_every == 0:
                metrics.flush()
                save_state(state, folder)
    save_state(state, folder)
    return state.step >= config.steps


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag, so that the step in progress ends whole; outside the main thread signals stay as they are."""
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: bool(stopped)
    finally:
        signal.signal(signal.SIGINT, before)


def save_state(state: State, folder: Path) -> None:
    """Write `state.safetensors`, complete or not at all."""
    tensors = {f"model.{k}": v.contiguous() for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v.contiguous() for k, v in state.average.items()}
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value.contiguous()
    about = {"step": str(state.step), "running": json.dumps(state.running), "seconds": f"{state.seconds:.1f}"}
    (folder / f"{STATE}.part").write_bytes(save(tensors, about))
    (folder / f"{STATE}.part").replace(folder / STATE)


def load_state(config: TrainConfig, folder: Path) -> State:
    """The state that `save_state` wrote; metrics.jsonl is cut back to its step.

    Raises:
        CheckpointError: there is none, or it is damaged or that of a model of another shape.
    """
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {STATE} to resume from; train without --resume")
    state = new_state(config)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata()
        state.step, state.running = int(about["step"]), json.loads(about["running"])
        state.seconds = float(about["seconds"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); train anew with --overwrite") from None
    wanted = {name: value.shape for name, value in state.model.state_dict().items()}
    model, average = _under("model.", tensors), _under("average.", tensors)
    for found in (model, average):
        if {name: value.shape for name, value in found.items()} != wanted:
            raise CheckpointError(
                f"{path}: the state of a model of another shape than train.json says; train anew with --overwrite"
            )
    state.model.load_state_dict(model)
    state.average = average
    for name, parameter in state.model.named_parameters():
        moments = {k: tensors.get(f"optimizer.{k}.{name}") for k in ("step", "exp_avg", "exp_avg_sq")}
        if moments["step"] is not None:
            state.optimizer.state[parameter] = moments
    _forget_after(folder / METRICS, state.step)
    return state


def saved_steps(folder: Path) -> int:
    """How many steps a run's folder holds the outcome of: 0 where no state can be read."""
    try:
        with safe_open(folder / STATE, "pt") as file:
            return int(file.metadata()["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _forget_after(path: Path, step: int) -> None:
    if path.is_file():
        kept = path.read_text().splitlines()[:step]
        path.write_text("".join(f"{line}\n" for line in kept))
