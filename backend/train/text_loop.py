"""The loop of trainings that learn from text alone: steps, a line of figures each, saved on the way and gone on with.

What a step is, the caller says; everything random in it has to follow from the step's number, so that a resumed run is
the uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from backend.train.loop import interruptible
from backend.train.state import METRICS, STATE, forget_after
from broker.errors import CheckpointError

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class State:
    """All that a run changes: of `model` what is learned; `seconds` is the time that all steps took."""

    model: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0

    def learned(self) -> Iterable[tuple[str, nn.Parameter]]:
        """What the run changes of the model, by name."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)


def optimizer_of(model: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW over what is learned; only matrices decay."""
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


def run_steps(
    state: State,
    step: Callable[[State], dict[str, float]],
    steps: int,
    out: Path,
    report: Callable[[dict[str, float]], None],
    save_every: int = 100,
) -> bool:
    """Train from `state.step` to `steps`; False when interrupted. Saves on the way, at the end and when interrupted."""
    with interruptible() as interrupted, (out / METRICS).open("a") as metrics:
        while state.step < steps and not interrupted():
            began = time.monotonic()
            line = {"step": state.step + 1, **step(state)}
            state.step += 1
            state.seconds += time.monotonic() - began
            metrics.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
            report(line)
            if state.step % save_every == 0:
                metrics.flush()
                save_state(state, out)
        save_state(state, out)
        return state.step >= steps and not interrupted()


def descend(state: State, loss: torch.Tensor, rate: float, clip: float) -> float:
    """One step of the optimiser down a loss; the gradient's norm before it was clipped."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_([p for _, p in state.learned()], clip)
    state.optimizer.step()
    return float(norm)


def save_state(state: State, out: Path) -> None:
    """Write what `load_state` reads, complete or not at all."""
    tensors = {}
    for name, parameter in state.learned():
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    about = {"step": str(state.step), "seconds": f"{state.seconds:.1f}"}
    (out / f"{STATE}.part").write_bytes(save({k: v.contiguous() for k, v in tensors.items()}, about))
    (out / f"{STATE}.part").replace(out / STATE)


def load_state(state: State, out: Path) -> State:
    """Put what `save_state` wrote into a fresh state; metrics.jsonl is cut back to its step.

    Raises CheckpointError if it is damaged.
    """
    path = out / STATE
    try:
        with safe_open(path, "pt") as file, torch.no_grad():
            state.step, state.seconds = int(file.metadata()["step"]), float(file.metadata()["seconds"])
            for name, parameter in state.learned():
                parameter.copy_(file.get_tensor(f"model.{name}"))
                if state.step:
                    state.optimizer.state[parameter] = {
                        key: file.get_tensor(f"optimizer.{key}.{name}")
                        for key in _MOMENTS
                        if f"optimizer.{key}.{name}" in file.keys()  # noqa: SIM118 (no mapping)
                    }
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: damaged ({reason}); train anew with --overwrite") from None
    forget_after(out / METRICS, state.step)
    return state
