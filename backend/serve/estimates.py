"""From a model's estimations about moments to estimates that are told: at the pace of each task's rule, as messages.

An estimate is worth something while it is new: it is published once, after the commit of its moment, and not kept. The
module refuses to know about the wire, the store and how an estimation was made.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backend.answer import Estimation
from backend.moment import Moment
from backend.serve.events import ending, iso
from backend.tasks import Regression
from broker.messages import Estimate, event_id
from edge.clock import SECOND

_DECIMALS = 4  # of metres and centimetres: finer than any of our models is right


class Estimates:
    """One group's estimates.

    Args:
        tasks: the regressions of the model, by name.
        model: digest of the model.
    """

    def __init__(self, tasks: Mapping[str, Regression], model: str) -> None:
        self._tasks, self._model = tasks, model
        self._told: dict[str, int] = {}  # by task: event time of the newest estimate, ns UTC

    def step(self, moment: Moment, estimations: Mapping[str, Estimation]) -> list[Estimate]:
        """Those of a moment's estimations that are due."""
        due = []
        for name, estimation in estimations.items():
            told = self._told.get(name)
            if told is not None and moment.t0 - told < round(self._tasks[name].rule.every_s * SECOND):
                continue
            self._told[name] = moment.t0
            due.append(self._estimate(moment, self._tasks[name], estimation))
        return due

    def _estimate(self, moment: Moment, task: Regression, estimation: Estimation) -> Estimate:
        values = np.round(estimation.values.astype(np.float64), _DECIMALS)
        return Estimate(
            id=event_id(moment.site, moment.group, task.name, moment.t0, self._model, "update"),
            site=moment.site,
            group=moment.group,
            task=task.name,
            time=iso(ending(moment)),
            unit=task.unit,
            shape=task.shape,
            names=task.names,
            axes=task.axes,
            values=tuple(values.tolist()),
            attribution=estimation.attribution,
            model=self._model,
            trace=next((w.trace for w in moment.windows if w.trace), ""),
        )
