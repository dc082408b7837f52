"""What a task is, whole: its outputs, head, loss, metric, words, and the rule that makes events or estimates of it.

Two kinds: a `Classification` chooses a label and raises events, a `Regression` places points and gives estimates.
Training and serving use the same object, so that what is scored is what is published. A task knows nothing of encoders,
data sets or MQTT. P is a number of decisions, N of labels, J of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from backend.tasks.saying import Saying, label_in, sentence
from broker.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

Floats = NDArray[np.floating]
Placed = tuple[str, str]
"""A stream: its modality and placement."""


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
class EstimateRule:
    """How often estimates are told: at most one in `every_s` seconds of event time for each group."""

    every_s: float


@dataclass(frozen=True)
class Need:
    """So many streams of a modality, at one of these placements where there are any, are enough to ask."""

    modality: str
    placements: frozenset[str] = frozenset()
    streams: int = 1

    def __str__(self) -> str:
        where = f" ({' or '.join(sorted(self.placements))})" if self.placements else ""
        return f"{self.modality}{where}{f' x {self.streams}' if self.streams > 1 else ''}"

    def met(self, present: Sequence[Placed]) -> bool:
        """Whether these are among what delivered."""
        there = [at for modality, at in present if modality == self.modality and at in (self.placements or {at})]
        return len(there) >= self.streams


HELD = frozenset({"hand", "phone", "screen", "face"})
"""Placements of what belongs to a phone in a hand: its motion, and the eyes that look at it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both kinds have.

    `modalities`: those that help; a decision is made only for a moment in which one of them delivered, or, where there
    are `needs`, one of these is met. `given_by`: modalities that hold the answer; where one is among what a decision
    may see, in the moment or before it, nothing is asked, in training and in serving alike. `metric` is the key of the
    headline in reports. `indivisible`: the head answers for all outputs or none. `sided`: seen in a mirror the
    answer is another, and nobody knows which: training mirrors nothing.
    """

    name: str
    modalities: frozenset[str]
    metric: str
    question: str
    needs: tuple[Need, ...] = ()
    given_by: frozenset[str] = frozenset()
    sided: bool = False
    indivisible: bool = False

    def asks(self, present: Sequence[Placed], before: frozenset[str] = frozenset()) -> bool:
        """Whether there is something to decide for a moment in which these streams, and before which these modalities,
        delivered.
        """
        given = ({modality for modality, _ in present} | before) & self.given_by
        return not given and self.tells(present)

    def tells(self, present: Sequence[Placed]) -> bool:
        """Whether these streams are enough to tell."""
        if self.needs:
            return any(need.met(present) for need in self.needs)
        return any(modality in self.modalities for modality, _ in present)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the head answers for: labels, or points."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Numbers in a target."""
        raise NotImplementedError

    @property
    def unknown(self) -> float:
        """What a target holds where nothing is known."""
        raise NotImplementedError

    def only(self, outputs: Iterable[str]) -> Self:
        """The same task over some of its outputs, in that order. Raises ConfigError for one that it does not have."""
        raise NotImplementedError

    def columns(self, outputs: Iterable[str]) -> NDArray[np.int64]:
        """Indices into this task's targets of what `only(outputs)` would have as targets."""
        raise NotImplementedError

    def known(self, target_BN: Tensor) -> Tensor:
        """(B,) bool: whether anything is known of a decision."""
        raise NotImplementedError

    def said(self, values: Floats) -> str:
        """An answer (size,), or a target, as text; nothing where nothing is known."""
        raise NotImplementedError

    def read(self, text: str) -> str | dict[str, float] | None:
        """What a text answers: a label, or numbers by name; None where it says neither."""
        raise NotImplementedError

    def head(self, dim: int) -> nn.Module:
        """From the task's vector (B, dim) to what `loss` takes."""
        from torch import nn

        return nn.Linear(dim, self.size)

    def _index(self, outputs: Iterable[str]) -> list[int]:
        place = {name: i for i, name in enumerate(self.outputs)}
        wanted = list(outputs)
        if strangers := [name for name in wanted if name not in place]:
            raise ConfigError(f"task {self.name}: no output {strangers[0]!r}; it has {', '.join(self.outputs)}")
        return [place[name] for name in wanted]


def both_ways(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each of two to the other."""
    return {one: other for pair in pairs for one, other in (pair, pair[::-1])}


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """One label of several.

    A target is the share that each label has of a window; zeros where nothing is known. `none_label` is the label
    that is no event (None: every label is one). `class_weights` balances the loss by label frequency to the power given
    (0 = plain cross-entropy, 1 = fully balanced). `told_by`: the modality of frames that shows the label, which is then
    that of a window's newest frame, and not a share of the window. `mirrored`: labels that are others in a mirror, each
    with the other, both ways. `views` are coarser questions that the same answer settles: by name, label -> group; a
    label that is in no group is left out of that question.
    """

    labels: tuple[str, ...]
    rule: EventRule
    words: dict[str, str]
    none_label: str | None = None
    class_weights: float = 0.0
    told_by: str = ""
    mirrored: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    @property
    def size(self) -> int:
        """One number per label."""
        return len(self.labels)

    @property
    def unknown(self) -> float:
        """No share of any label."""
        return 0.0

    @property
    def none_index(self) -> int | None:
        """Index of the none label, or None where every label is an event."""
        return None if self.none_label is None else self.labels.index(self.none_label)

    @property
    def in_mirror(self) -> NDArray[np.int64]:
        """Of each label, the index of what it is in a mirror."""
        return self.columns(self.mirrored.get(label, label) for label in self.labels)

    def only(self, outputs: Iterable[str]) -> Self:
        """The same task over some of its labels; the none label stays only if it is one of them."""
        labels = tuple(self.labels[i] for i in self._index(outputs))
        words = {label: self.words[label] for label in labels}
        none = self.none_label if self.none_label in labels else None
        return replace(self, labels=labels, words=words, none_label=none)

    def with_labels(self, words: Mapping[str, str]) -> Self:
        """The same task with more labels, in words, behind those that it has."""
        return replace(self, labels=(*self.labels, *words), words={**self.words, **words})

    def columns(self, outputs: Iterable[str]) -> NDArray[np.int64]:
        """Indices of these labels."""
        return np.array(self._index(outputs), np.int64)

    def said(self, values: Floats) -> str:
        """The words of the label that has the largest share; nothing where none has any."""
        return self.words[self.labels[int(np.argmax(values))]] if np.any(values > 0) else ""

    def read(self, text: str) -> str | None:
        """The label whose words stand in the text; None where none or several do."""
        return label_in(text, self.words)

    def known(self, target_BN: Tensor) -> Tensor:
        """Whether any label has a share."""
        return target_BN.sum(-1) > 0

    def weights(self, share_N: Floats, wanted_N: Floats | float = 1.0) -> NDArray[np.float32]:
        """Loss weight of each label from its share of the training windows, and the one that it should have had.

        The mean weight over windows is 1. `wanted_N` is even, unless labels come from sets that are drawn more or less.
        """
        weight = (wanted_N / np.maximum(share_N, 1e-3)) ** self.class_weights
        return np.asarray(weight / (weight * share_N).sum(), np.float32)

    def loss(self, logits_BN: Tensor, target_BN: Tensor, weight_N: Tensor) -> Tensor:
        """Cross-entropy (B,) against the share that each label has of a window (rows sum to one)."""
        return -(target_BN * weight_N * logits_BN.log_softmax(-1)).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Points in space, on a screen or along rays: `points` named, each with coordinates `axes`, in `unit`.

    A target is (J x axes,), point by point; NaN where unknown. The head's numbers are in units of `scale` about
    `centre` (one number per axis), so that learning starts where the answers are. `sayings` are the numbers that an
    answer in text tells.
    """

    points: tuple[str, ...]
    axes: tuple[str, ...]
    unit: str
    rule: EstimateRule
    scale: float
    centre: tuple[float, ...]
    metric_scale: float
    """From `unit` to the unit of `metric`: metres to millimetres is 1000."""
    sayings: tuple[Saying, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The points."""
        return self.points

    @property
    def shape(self) -> tuple[int, ...]:
        """How an estimate lays its values out: a row per point."""
        return (len(self.points), len(self.axes))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows of an estimate."""
        return self.points

    @property
    def size(self) -> int:
        """Points times axes."""
        return len(self.points) * len(self.axes)

    @property
    def unknown(self) -> float:
        """Not a number."""
        return float("nan")

    def only(self, outputs: Iterable[str]) -> Self:
        """The same task over some of its points."""
        return replace(self, points=tuple(self.points[i] for i in self._index(outputs)))

    def columns(self, outputs: Iterable[str]) -> NDArray[np.int64]:
        """Indices of the coordinates of these points."""
        width = len(self.axes)
        return (np.array(self._index(outputs), np.int64)[:, None] * width + np.arange(width)).ravel()

    def told(self, values: Floats) -> dict[str, float]:
        """The numbers that text tells of an answer (size,), by name and in the units of `sayings`; none unknown."""
        rows = np.asarray(values, np.float64).reshape(len(self.points), len(self.axes))
        points = dict(zip(self.points, rows, strict=True))
        numbers = {saying.name: saying.number(points) for saying in self.sayings}
        return {name: number for name, number in numbers.items() if np.isfinite(number)}

    def said(self, values: Floats) -> str:
        """One sentence of the numbers that are known; nothing where none is."""
        numbers = self.told(values)
        clauses = [saying.clause(numbers[saying.name]) for saying in self.sayings if saying.name in numbers]
        return sentence(clauses) if clauses else ""

    def read(self, text: str) -> dict[str, float] | None:
        """The numbers that a text tells, by name, as `told` has them but rounded; None where it tells none."""
        found = {saying.name: saying.read(text) for saying in self.sayings}
        return {name: number for name, number in found.items() if number is not None} or None

    def known(self, target_BN: Tensor) -> Tensor:
        """Whether any coordinate is known."""
        return ~target_BN.isnan().all(-1)

    def values(self, head_BN: Tensor) -> Tensor:
        """(B, size) in `unit`, from what the head says."""
        return head_BN * self.scale + head_BN.new_tensor(self.centre).repeat(len(self.points))

    def loss(self, head_BN: Tensor, target_BN: Tensor) -> Tensor:
        """Huber loss (B,) of what is known, in units of `scale` (Huber 1964)."""
        error_BN, known_BN = self.error(head_BN, target_BN)
        small = error_BN.abs() < 1
        huber = error_BN.square().where(small, 2 * error_BN.abs() - 1) / 2
        return (huber * known_BN).sum(-1) / known_BN.sum(-1).clamp_min(1)

    def error(self, head_BN: Tensor, target_BN: Tensor) -> tuple[Tensor, Tensor]:
        """What the head is off by, in units of `scale` (0 where unknown), and what is known: both (B, size)."""
        known_BN = ~target_BN.isnan()
        target_BN = target_BN.nan_to_num(0.0)
        return ((self.values(head_BN) - target_BN) / self.scale) * known_BN, known_BN

    def apart(self, one_PD: Floats, other_PD: Floats) -> Floats:
        """(P,) the largest difference between two answers, in units of `scale`."""
        return np.asarray(np.nanmax(np.abs(one_PD - other_PD), axis=-1) / self.scale)

    def distances(self, said_PD: Floats, true_PD: Floats) -> Floats:
        """(P,) mean Euclidean distance over the points that are known, in the metric's unit; NaN where none is."""
        width = len(self.axes)
        gap_PJ = np.linalg.norm((said_PD - true_PD).reshape(len(said_PD), -1, width), axis=-1)
        count_P = np.isfinite(gap_PJ).sum(-1)
        total_P = np.nansum(gap_PJ, -1)
        return np.asarray(np.where(count_P > 0, total_P / np.maximum(count_P, 1), np.nan) * self.metric_scale)
