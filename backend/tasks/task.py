"""A task and its whole life: labels, loss, metric, words for the language model, and the rule that makes events.

Training and serving use the same object, so that what is scored is what is published. A task knows nothing
of encoders, datasets or MQTT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EventRule:
    """When decisions of consecutive windows become an event.

    An episode starts when one label has had a confidence of at least `on` for `min_windows` windows running, and
    ends when its probability has been below `off` (hysteresis: off < on) for `min_windows`; after its end the same
    label starts no new episode for `cooldown_s` seconds of event time. A checkpoint's own threshold, chosen on
    validation people, replaces `on`.
    """

    on: float
    off: float
    min_windows: int
    cooldown_s: float


@dataclass(frozen=True)
class Task:
    """One classification task.

    `modalities`: a decision is made only for a moment in which at least one of them delivered. `none_label` is the
    label that is no event (None: every label is one). `class_weights` balances the loss by label frequency to the
    power given (0 = plain cross-entropy, 1 = fully balanced).
    """

    name: str
    labels: tuple[str, ...]
    modalities: frozenset[str]
    rule: EventRule
    metric: str
    question: str
    words: dict[str, str]
    none_label: str | None = None
    class_weights: float = 0.0

    @property
    def none_index(self) -> int | None:
        """Index of the none label, or None where every label is an event."""
        return None if self.none_label is None else self.labels.index(self.none_label)

    def weights(self, share_N: NDArray[np.floating]) -> NDArray[np.float32]:
        """Loss weight of each label from its share of the training windows (mean weight over windows is 1)."""
        weight = np.maximum(share_N, 1e-3) ** -self.class_weights
        return np.asarray(weight / (weight * share_N).sum(), np.float32)

    def loss(self, logits_BN: Tensor, target_BN: Tensor, weight_N: Tensor) -> Tensor:
        """Cross-entropy (B,) against the share that each label has of a window (rows sum to one)."""
        return -(target_BN * weight_N * logits_BN.log_softmax(-1)).sum(-1)
