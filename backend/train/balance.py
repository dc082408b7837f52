"""How the losses of many tasks become one, so that none drowns another: the paper's gradient balancing (Appendix B).

What a rule has learned on the way belongs to the state of a run, and to no checkpoint. It knows nothing of what a loss
is of, beyond the task that its name begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

MEMORY = 0.98
"""Decay of the running loss that normalises each task's loss."""
LEAST = 1e-3
"""A loss below this is not enlarged any further."""


def by_task(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sum of a task's own loss and those of its unimodal heads (`task/modality`)."""
    groups: dict[str, list[Tensor]] = {}
    for name, loss in losses.items():
        groups.setdefault(name.split("/")[0], []).append(loss)
    return {task: torch.stack(many).sum() for task, many in groups.items()}


class Fixed(nn.Module):
    """The plain sum of the tasks' losses, each times what it says (`Mixture.says`): the ablation of the other rules.

    A single task is left as it is, by every rule: there is nothing to balance.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.running: dict[str, float] = {}

    def total(self, tasks: Mapping[str, Tensor], says: Mapping[str, float]) -> Tensor:
        """One loss of those by task, of one part of a step."""
        if len(self.tasks) == 1:
            return next(iter(tasks.values()))
        return torch.stack([says.get(task, 1.0) * self.weighed(task, loss) for task, loss in tasks.items()]).sum()

    def weighed(self, task: str, loss: Tensor) -> Tensor:
        """What a task's loss becomes."""
        return loss

    def learn(self, tasks: Mapping[str, float]) -> None:
        """Take note of the mean losses of a whole step."""


class RunningMeans(Fixed):
    """Each task's loss divided by its own running mean, times the mean of all of these.

    A task that many sets teach says as much as they are drawn: as one of eight, each of its sets would say little.

    A part of a step divides by the running mean as its own loss would move it. `running` itself moves once a step, by
    the mean over the parts that have the task.
    """

    def total(self, tasks: Mapping[str, Tensor], says: Mapping[str, float]) -> Tensor:
        """The tasks' losses, balanced."""
        now = dict(zip(tasks, torch.stack([loss.detach() for loss in tasks.values()]).tolist(), strict=True))
        running = self._moved(now)
        if len(running) == 1:
            return next(iter(tasks.values()))
        scale = sum(running.values()) / len(running)
        weighted = [says.get(task, 1.0) * scale / max(running[task], LEAST) * loss for task, loss in tasks.items()]
        return torch.stack(weighted).sum()

    def learn(self, tasks: Mapping[str, float]) -> None:
        """Move the running means."""
        self.running = self._moved(tasks)

    def _moved(self, now: Mapping[str, float]) -> dict[str, float]:
        """The running means after these losses; a task that had none begins with its loss."""
        new = {t: MEMORY * self.running[t] + (1 - MEMORY) * x if t in self.running else x for t, x in now.items()}
        return {**self.running, **new}


class Uncertainty(Fixed):
    """exp(-s) loss + s / 2, with a learned log-variance s by task (Kendall, Gal, Cipolla 2018, Eq. 7 and 10).

    The half that a regression's loss has there is left out: it moves s by a constant, and changes no gradient of the
    model's once s has settled.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__(tasks)
        self.log_variance = nn.Parameter(torch.zeros(len(self.tasks)))

    def weighed(self, task: str, loss: Tensor) -> Tensor:
        """The loss by how sure the task is."""
        s = self.log_variance[self.tasks.index(task)]
        return (-s).exp() * loss + s / 2


BALANCES: dict[str, type[Fixed]] = {"ema": RunningMeans, "uncertainty": Uncertainty, "fixed": Fixed}
