"""The training loop: draw, answer, lose, step; measure and stop.

A step is handled in `accumulate` equal parts, by one process or shared among several, to the same result but for the
order in which sums round. Everything random in a part follows from (seed, step, part). A run's folder holds
`train.json` (the whole configuration), `state.safetensors` (to resume), `metrics.jsonl` (one line per step) and at the
end the checkpoint. It knows nothing of what is measured afterwards.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn

from backend.device import has_bf16
from backend.tasks.events import EVENTS
from backend.train.augment_audio import mix_sounds
from backend.train.balance import by_task
from backend.train.batch import Batch, answer, assemble
from backend.train.config import TrainConfig
from backend.train.group import ALONE, Group
from backend.train.held import Held, note
from backend.train.losses import loss_names, mask_losses, task_losses
from backend.train.source import Mixture
from backend.train.state import METRICS, State, save_state
from backend.train.text import TEXT, text_loss


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine to zero, or as it is."""
    if config.schedule == "constant":
        return config.learning_rate * min(1.0, (step + 1) / _warm(config.warmup, config.steps))
    return cosine(config.learning_rate, config.warmup, config.steps, step)


def cosine(peak: float, warmup: float, steps: int, step: int) -> float:
    """The learning rate of a step: linear over the share `warmup` of all, then a cosine to zero."""
    warm = _warm(warmup, steps)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _warm(warmup: float, steps: int) -> int:
    return max(1, round(warmup * steps))


class _Means:
    """Means of numbers by name over the parts of a step, each over the parts that have it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.place = {name: i for i, name in enumerate(names)}
        self.sums, self.counts = np.zeros((2, len(self.place)))

    def add(self, values: Mapping[str, float]) -> None:
        """The numbers of one part."""
        for name, value in values.items():
            self.sums[self.place[name]] += value
            self.counts[self.place[name]] += 1

    def means(self) -> dict[str, float]:
        """By name."""
        return {name: float(self.sums[i] / self.counts[i]) for name, i in self.place.items() if self.counts[i]}


class _Statistics:
    """Running statistics of normalisation: every part of a step begins with the same, and their mean is what stays."""

    def __init__(self, model: nn.Module) -> None:
        kept = model.state_dict().keys()
        self.live = [buffer for name, buffer in model.named_buffers() if name in kept]
        self.before = [buffer.clone() for buffer in self.live]
        self.moved = [torch.zeros_like(buffer, dtype=torch.float32) for buffer in self.live]

    def end_part(self) -> None:
        """Note by how much a part has moved them, and move them back."""
        for live, before, moved in zip(self.live, self.before, self.moved, strict=True):
            moved.add_(live - before)
            live.copy_(before)

    def end_step(self, parts: int) -> None:
        """Move them by the mean over the parts; counts by the sum."""
        for live, moved in zip(self.live, self.moved, strict=True):
            live.add_(moved / parts if live.is_floating_point() else moved.to(live.dtype))


def train_step(
    state: State, mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig, group: Group = ALONE
) -> dict[str, float]:
    """One step of the optimiser; returns what metrics.jsonl records of it.

    The gradient is the mean over the parts of the step: a part that lacks a task adds nothing to it, as in a step of
    its own. The losses that are told, and those that balance tasks, are means over the parts that have them. Running
    statistics of normalisation move by the mean over the parts. Every process of the group ends with the same weights.
    """
    rate = learning_rate(config, state.step)
    for settings in state.optimizer.param_groups:
        settings["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    let_learn(state.model)
    statistics = _Statistics(state.model) if config.accumulate > 1 else None
    said = _Means(("loss", *loss_names(config.model)))
    tasks = _Means(name for name in loss_names(config.model) if "/" not in name)
    for part in range(group.rank, config.accumulate, group.world):
        losses = part_losses(state, mixture, weights, config, part)
        if losses:  # else by chance nothing was asked in any crop
            grouped = by_task(losses)
            total = state.balance.total(grouped, {**mixture.says, TEXT: config.text_weight})
            torch.autograd.backward(total / config.accumulate)
            said.add(_numbers({"loss": total, **losses}))
            tasks.add(_numbers(grouped))
        if statistics:
            statistics.end_part()
    if group.world > 1:
        assert statistics is not None
        _meet(state, statistics, (said, tasks), group)
    if statistics:
        statistics.end_step(config.accumulate)
    state.step += 1
    line = {"step": state.step, "loss": 0.0, "lr": rate, "grad_norm": 0.0}
    if not said.counts[0]:
        return line
    state.balance.learn(tasks.means())
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    _average(state, config.ema)
    return {**line, **said.means(), "grad_norm": float(norm)}


def part_losses(
    state: State, mixture: Mixture, weights: dict[str, Tensor], config: TrainConfig, part: int
) -> dict[str, Tensor]:
    """The losses of one part of the step at hand, as `losses.task_losses` names them, that something learns from."""
    batch = part_batch(mixture, config, state.step, part).to(state.device)
    seed = np.random.SeedSequence([config.seed, 2, state.step, part]).generate_state(1, np.uint64)
    torch.manual_seed(int(seed[0]))
    losses = mask_losses(state.model, batch)
    if batch.targets and batch.present.any():
        with torch.autocast(state.device.type, torch.bfloat16, enabled=config.bf16 and has_bf16(state.device)):
            answers = answer(state.model, batch, config.decisions)
            rng = np.random.default_rng([config.seed, 3, state.step, part])
            losses |= text_loss(state.model, answers, batch, config, rng)
        losses |= task_losses(state.model, answers, batch, weights, config)
    return {name: loss for name, loss in losses.items() if loss.requires_grad}


def part_batch(mixture: Mixture, config: TrainConfig, step: int, part: int) -> Batch:
    """The crops of one part of a step, drawn and assembled."""
    rng = np.random.default_rng([config.seed, 1, step, part])
    crops = mixture.draw(rng, config.crops // config.accumulate)
    batch = assemble(crops, config.slots, config.model, rng, config.augment, config.drop, config.varied)
    return _with_sounds_mixed(batch, config, rng)


def _numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return dict(zip(losses, torch.stack([loss.detach() for loss in losses.values()]).tolist(), strict=True))


def _meet(state: State, statistics: _Statistics, means: tuple[_Means, ...], group: Group) -> None:
    """Sum over processes what their parts have come to.

    Gradients and statistics travel in one flat bucket. A parameter that no part asks for keeps no gradient, so that
    the optimiser passes it over as it would in one process.
    """
    learned = list(state.learned().values())
    numbers = [number for one in means for of in (one.sums, one.counts) for number in of]
    told = torch.tensor([*numbers, *(p.grad is not None for p in learned)], dtype=torch.float64, device=state.device)
    group.sum(told)
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learned]
    together = [*grads, *statistics.moved]
    flat = torch.cat([one.flatten() for one in together])
    group.sum(flat)
    parts = torch.split(flat, [one.numel() for one in together])
    found = iter(told.tolist())
    for one in means:
        for of in (one.sums, one.counts):
            of[:] = [next(found) for _ in of]
    for parameter, asked, grad in zip(learned, found, parts, strict=False):
        parameter.grad = grad.view_as(parameter) if asked else None
    for moved, summed in zip(statistics.moved, parts[len(learned) :], strict=True):
        moved.copy_(summed.view_as(moved))


def let_learn(module: nn.Module) -> None:
    """Train mode, but eval mode for what is frozen as a whole: its statistics stay, and it drops nothing."""
    frozen: dict[nn.Module, bool] = {}
    _find_frozen(module, frozen)
    _set_modes(module, frozen, hushed=False)


def _find_frozen(module: nn.Module, frozen: dict[nn.Module, bool]) -> tuple[bool, bool]:
    """Note of all modules whether they are frozen as a whole; whether something in this one learns, and stays."""
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    below = [_find_frozen(child, frozen) for child in module.children()]
    learns, stays = any(own) or any(some for some, _ in below), not all(own) or any(some for _, some in below)
    frozen[module] = stays and not learns
    return learns, stays


def _set_modes(module: nn.Module, frozen: Mapping[nn.Module, bool], *, hushed: bool) -> None:
    """Set what is not so already: a module's attributes are slow to set, and steps are many."""
    hushed = hushed or frozen[module]
    if module.training == hushed:
        module.training = not hushed
    for child in module.children():
        _set_modes(child, frozen, hushed=hushed)


def _with_sounds_mixed(batch: Batch, config: TrainConfig, rng: np.random.Generator) -> Batch:
    """The batch with sounds laid over each other."""
    task = EVENTS.name
    if "audio" not in batch.windows or batch.windows["audio"].encoded or task not in batch.targets:
        return batch
    sound, none = batch.windows["audio"], EVENTS.none_index
    assert none is not None
    heard = torch.cat(sound.values)
    values, target = mix_sounds(heard, sound.where, batch.targets[task], none, config.augment.sound, rng)
    windows = {**batch.windows, "audio": replace(sound, values=(values,))}
    targets = {**batch.targets, task: target}
    return replace(batch, windows=windows, targets=targets)


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    decay = min(decay, (1 + state.step) / (10 + state.step))
    averages, values = [], []
    for name, value in state.model.state_dict().items():
        if value.is_floating_point():
            averages.append(state.average[name])
            values.append(value)
        else:
            state.average[name].copy_(value)
    torch._foreach_lerp_(averages, values, 1 - decay)


def run_steps(
    state: State,
    mixture: Mixture,
    weights: dict[str, Tensor],
    config: TrainConfig,
    folder: Path,
    report: Callable[[dict[str, float]], None],
    held: Held | None = None,
    group: Group = ALONE,
) -> bool:
    """Train from `state.step` until the state is done; False when interrupted.

    The first process saves on the way, at the end and when interrupted. With `held` it is measured every
    `config.measure_every` steps and at the last, and patience counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = config.measure_every or max(1, config.steps // 10)
    with interruptible() as interrupted, (folder / METRICS).open("a") if group.first else nullcontext() as metrics:
        while not state.done(config) and not group.any(interrupted(), state.device):
            began = time.monotonic()
            line = train_step(state, mixture, weights, config, group)
            if held and (state.step % every == 0 or state.step == config.steps):
                losses = held.losses(state, weights, group)
                line |= {"validation": note(state, losses), **{f"validation/{k}": v for k, v in losses.items()}}
            state.seconds += time.monotonic() - began
            if metrics is None:
                continue
            metrics.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
            report(line)
            if state.step % config.save_every == 0:
                metrics.flush()
                save_state(state, folder)
        if group.first:
            save_state(state, folder)
        stopped = group.any(interrupted(), state.device)  # during the last step, or while that was saved
    return state.done(config) and not stopped


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
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
