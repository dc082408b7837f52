"""How a trained model learns labels from a few windows: new rows of a task's head, and the old ones hardly moved.

Encoders and adapter stay as they are, so a window is encoded and fused once, and what is learned is a multinomial
logistic regression on the task's vectors. It is held to the old head by a quadratic penalty (as elastic weights are,
Kirkpatrick et al. 2017, with one weight for all), and rehearses old labels.

It knows nothing of files, of data sets or of how good the outcome has to be. P is a number of decisions, N of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from backend.model.history import Context, History, StreamTokens
from backend.model.sensorlm import SensorModel, collate
from backend.tasks import Task

HOLD = 0.01
"""Weight of the squared distance from the old head; the loss is a mean over decisions."""
_BATCH = 256
_STEPS = 60


@dataclass(frozen=True)
class Shown:
    """Decisions whose truth is known: `label` (P,) is an index of the taught task; `unit` (P,) is the recording or the
    person, of which all falls on one side of every split.
    """

    contexts: tuple[Context, ...]
    label: NDArray[np.int64]
    unit: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.contexts)


def joined(many: Sequence[Shown]) -> Shown:
    """All of them, in order."""
    contexts = sum((one.contexts for one in many), ())
    label = np.array([k for one in many for k in one.label], np.int64)
    return Shown(contexts, label, np.array([u for one in many for u in one.unit], np.str_))


def decisions(task: Task, slots: int, tokens: Sequence[StreamTokens]) -> list[Context]:
    """What serving would decide upon, of windows in order of time: each slot in which the task is asked."""
    history, found = History(slots), []
    tokens = [one for one in tokens if one.modality not in task.given_by]
    for slot, now in groupby(tokens, key=attrgetter("slot")):
        history.add(now)
        context = history.at(slot)
        if task.asks(context.present, context.before):
            found.append(context)
    return found


@torch.no_grad()
def vectors(model: SensorModel, task: str, contexts: Sequence[Context]) -> Tensor:
    """(P, d) what the task's head is given."""
    given: list[Tensor] = []
    listening = model.heads[task].register_forward_pre_hook(lambda head, inputs: given.append(inputs[0]))
    try:
        for at in range(0, len(contexts), _BATCH):
            model.fuse(collate(contexts[at : at + _BATCH], model.config), (task,))
    finally:
        listening.remove()
    return torch.cat(given) if given else torch.zeros(0, model.config.dim)


@dataclass(frozen=True)
class Head:
    """Logits are x W' + b: `weight` (N, d), `bias` (N,)."""

    weight: Tensor
    bias: Tensor

    def logits(self, x_Pd: Tensor) -> Tensor:
        """(P, N)."""
        return x_Pd @ self.weight.T + self.bias

    def probs(self, x_Pd: Tensor) -> NDArray[np.float64]:
        """(P, N), not calibrated."""
        return np.asarray(self.logits(x_Pd).double().softmax(-1))


def widened(linear: nn.Linear, old: Sequence[str], new: Sequence[str], unsaid: bool = False) -> Head:
    """The head of the labels `old` as one of the labels `new`: rows of those that are new are zeros.

    `unsaid`: such that they are never said, as the old head would answer.
    """
    weight, bias = torch.zeros(len(new), linear.in_features), torch.full((len(new),), -1e4 if unsaid else 0.0)
    rows = [new.index(label) for label in old]
    weight[rows], bias[rows] = linear.weight.detach().cpu(), linear.bias.detach().cpu()
    return Head(weight, bias)


def learned(
    start: Head,
    taught: tuple[Tensor, NDArray[np.int64]],
    rehearsed: tuple[Tensor, NDArray[np.int64]],
    hold: float = HOLD,
) -> Head:
    """The head after both, each vectors (., d) and labels (.,).

    Each label that is taught has a say of 1 / N, however often it was shown; what is rehearsed has the rest, at least
    half, and keeps the frequencies that it has.
    """
    x_Rd, label_R = torch.cat([taught[0], rehearsed[0]]), np.concatenate([taught[1], rehearsed[1]])
    labels, count = np.unique(taught[1], return_counts=True)
    say = min(len(labels) / len(start.bias), 0.5) if len(rehearsed[1]) else 1.0
    each = dict(zip(labels.tolist(), say / len(labels) / count, strict=True))
    weight_R = np.full(len(label_R), (1 - say) / max(1, len(rehearsed[1])))
    weight_R[: len(taught[1])] = [each[k] for k in taught[1].tolist()]
    return _fit(start, x_Rd, torch.from_numpy(label_R), torch.from_numpy(weight_R).float(), hold)


def _fit(start: Head, x_Rd: Tensor, label_R: Tensor, weight_R: Tensor, hold: float) -> Head:
    """Least weighted cross-entropy plus `hold` times the squared distance from `start`: convex, by L-BFGS."""
    weight = start.weight.clone().requires_grad_()
    bias = start.bias.clone().requires_grad_()
    steps = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        steps.zero_grad()
        surprise = F.cross_entropy(x_Rd @ weight.T + bias, label_R, reduction="none")
        total = (weight_R * surprise).sum() + hold * (weight - start.weight).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    steps.step(loss)  # type: ignore[no-untyped-call]
    return Head(weight.detach(), bias.detach())
