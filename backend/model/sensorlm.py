"""The sensor model: encoders by modality, one adapter, one head per task; and `Predictor`, which serves it.

Windows -> tokens -> (with the tokens of the last seconds) -> logits and gate per task. It knows nothing of MQTT,
event rules or the store. One code path, `History` rows -> `collate` -> `fuse`, makes every decision, live or offline.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np
import pydantic.dataclasses
import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from backend.choices import CHECKED, Count, LessThanAll, build, different, one_of
from backend.model.adapter import FUSIONS, PLACEMENTS, Adapter, FuseBatch
from backend.model.encoders import ENCODERS, build_encoder
from backend.model.history import SLOTS_OF_CONTEXT, Context, StreamTokens
from backend.model.trunk import Encoder
from backend.moment import StreamWindow
from backend.tasks import TASKS
from broker.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from backend.checkpoint import Checkpoint


@pydantic.dataclasses.dataclass(config=CHECKED)
class ModelConfig:
    """Everything that the shape of a sensor model depends on; saved with every checkpoint."""

    modalities: Annotated[tuple[Annotated[str, one_of(ENCODERS)], ...], AfterValidator(different)] = ("imu", "audio")
    tasks: Annotated[tuple[Annotated[str, one_of(TASKS)], ...], AfterValidator(different)] = (
        "activity-recognition",
        "event-detection",
    )
    dim: Count = 128
    tokens: Count = 4
    slots: Annotated[int, Field(ge=0)] = SLOTS_OF_CONTEXT
    parts: Count = 5
    fusion: Annotated[str, one_of(FUSIONS)] = "model"
    latents: Count = 2
    layers: Count = 2
    heads: Count = 4
    dropout: LessThanAll = 0.1
    encoders: dict[Annotated[str, one_of(ENCODERS)], dict[str, Any]] = field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim} and heads {self.heads}; dim has to be a multiple of heads")
        for task in self.tasks:
            if not TASKS[task].modalities & set(self.modalities):
                asked = ", ".join(sorted(TASKS[task].modalities))
                raise ValueError(f"tasks has {task}, but modalities lacks {asked}; remove the one or add the other")
        for modality, options in self.encoders.items():
            known = list(inspect.signature(ENCODERS[modality]).parameters)
            for option in set(options) - set(known):
                raise ValueError(f"encoders.{modality} has no {option!r}; options: {', '.join(known)}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelConfig:
        """The configuration that `to_json` wrote; raises CheckpointError for fields that do not exist or fit."""
        return build(
            cls,
            values,
            lambda problem: CheckpointError(f"model configuration: {problem}; was it written by another version?"),
        )


@dataclass(frozen=True)
class Outputs:
    """By task: logits (B, labels), and gate (B, S), the weight of each row; a decision's weights sum to one."""

    logits: dict[str, Tensor]
    gate: dict[str, Tensor]


@dataclass(frozen=True)
class Decision:
    """One task's calibrated answer about one moment. `attribution`: weight of each stream, summing to one."""

    label: str
    confidence: float
    probs: dict[str, float]
    attribution: dict[str, float]


class SensorModel(nn.Module):
    """Encoders, adapter and heads, built from a ModelConfig."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size = {"tokens": config.tokens, "dim": config.dim}
        self.encoders = nn.ModuleDict(
            {m: build_encoder(m, {**size, **config.encoders.get(m, {})}) for m in config.modalities}
        )
        self.adapter = Adapter(
            **size,
            modalities=len(config.modalities),
            tasks=len(config.tasks),
            slots=config.slots,
            fusion=config.fusion,
            latents=config.latents,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
        )
        labels = {task: len(TASKS[task].labels) for task in config.tasks}
        self.heads = nn.ModuleDict({task: nn.Linear(config.dim, n) for task, n in labels.items()})
        self.unimodal = nn.ModuleDict(
            {
                m: nn.ModuleDict({task: nn.Linear(config.dim, n * config.parts) for task, n in labels.items()})
                for m in config.modalities
            }
        )

    def encoder(self, modality: str) -> Encoder:
        """The encoder of one modality."""
        return cast(Encoder, self.encoders[modality])

    def encode(self, modality: str, x_BTC: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Tokens (B, K, d) and quality (B,) of windows (B, T, C) in physical units at `rate` Hz.

        A rate other than the encoder's is brought to its grid by linear interpolation; devices resample with
        anti-aliasing (`edge.windows`) and arrive on the grid.
        """
        encoder = self.encoder(modality)
        wanted = round(x_BTC.shape[1] / rate * encoder.rate)
        if wanted != x_BTC.shape[1]:
            x_BTC = nn.functional.interpolate(x_BTC.transpose(1, 2), wanted, mode="linear").transpose(1, 2)
        tokens_BKd, quality_B = encoder(x_BTC)
        return tokens_BKd, quality_B

    def fuse(self, batch: FuseBatch) -> Outputs:
        """Logits and gate of every task for B decisions."""
        task_BNd, gate_BNS = self.adapter(batch)
        tasks = self.config.tasks
        return Outputs(
            {task: self.heads[task](task_BNd[:, i]) for i, task in enumerate(tasks)},
            {task: gate_BNS[:, i].exp() for i, task in enumerate(tasks)},
        )

    def votes(self, modality: str, tokens_BKd: Tensor) -> dict[str, Tensor]:
        """Logits (B, K x parts, labels) of the auxiliary heads, which see one window of one modality alone.

        Each token answers for `parts` equal parts of its share of the window: it has to know where a label begins.
        """
        heads = cast(nn.ModuleDict, self.unimodal[modality])
        parts = (len(tokens_BKd), self.config.tokens * self.config.parts, -1)
        return {task: head(tokens_BKd).reshape(parts) for task, head in heads.items()}


def collate(contexts: Sequence[Context], config: ModelConfig) -> FuseBatch:
    """Rows of several decisions, padded to the longest."""
    rows = max(len(context.rows) for context in contexts)
    shape = (len(contexts), rows)
    tokens = np.zeros((*shape, config.tokens, config.dim), np.float32)
    modality, placement, age = (np.zeros(shape, np.int64) for _ in range(3))
    quality, present = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for b, context in enumerate(contexts):
        for s, row in enumerate(context.rows):
            tokens[b, s] = row.tokens
            modality[b, s] = config.modalities.index(row.modality)
            placement[b, s] = placement_index(row.placement)
            age[b, s] = context.slot - row.slot
            quality[b, s], present[b, s] = row.quality, True
    return FuseBatch(*(torch.from_numpy(a) for a in (tokens, modality, placement, age, quality, present)))


def placement_index(name: str) -> int:
    """Index of a placement's embedding; an unknown name is 0."""
    return PLACEMENTS.index(name) if name in PLACEMENTS else 0


class Predictor:
    """A checkpoint, ready to answer: windows in, calibrated decisions out.

    Thread use: one call at a time (the serving engine gives it a thread of its own).
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.model = checkpoint.model.eval().to(device)
        self.config = checkpoint.model.config
        self.slots = self.config.slots
        self.temperatures = checkpoint.temperatures
        self.thresholds = checkpoint.thresholds
        self.digest = checkpoint.digest
        self.encoders = checkpoint.encoders
        self.device = device

    @torch.inference_mode()
    def encode_windows(self, windows: Sequence[StreamWindow], slot_ns: int = 500_000_000) -> list[StreamTokens]:
        """Encode windows, one batch per modality and shape; windows that arrive as tokens pass unchanged.

        Raises DataError for a modality without an encoder here, or tokens of another encoder than this model's.
        """
        done: dict[int, tuple[np.ndarray, float]] = {}
        raw: dict[int, np.ndarray] = {}
        batches: dict[tuple[Any, ...], list[int]] = {}
        for i, window in enumerate(windows):
            self.check(window)
            if window.tokens is not None:
                done[i] = (window.tokens.astype(np.float16), window.quality)
            else:
                assert window.values is not None
                raw[i] = window.values
                batches.setdefault((window.modality, window.rate, *window.values.shape), []).append(i)
        for (modality, rate, *_), chosen in batches.items():
            x_BTC = torch.from_numpy(np.stack([raw[i] for i in chosen])).to(self.device)
            tokens_BKd, quality_B = self.model.encode(modality, x_BTC, rate)
            tokens, quality = tokens_BKd.cpu().numpy().astype(np.float16), quality_B.cpu().numpy()
            done.update({i: (tokens[n], float(quality[n]) * windows[i].quality) for n, i in enumerate(chosen)})
        return [StreamTokens(w.key, w.modality, w.placement, w.t0 // slot_ns, *done[i]) for i, w in enumerate(windows)]

    def check(self, window: StreamWindow) -> None:
        """Raise DataError for a window that this model cannot take: modality, channels or encoder do not fit."""
        if window.modality not in self.encoders:
            known = ", ".join(self.encoders)
            raise DataError(f"{window.key}: no encoder for modality {window.modality!r} here; known: {known}")
        wanted = self.encoders[window.modality]
        if window.tokens is None:
            encoder = self.model.encoders[window.modality]
            if window.values is None or window.values.shape[-1] != encoder.channels:
                got = None if window.values is None else window.values.shape[-1]
                raise DataError(f"{window.key}: {got} channels, the encoder takes {encoder.channels}")
        elif window.encoder != wanted:
            raise DataError(
                f"{window.key}: tokens of encoder {window.encoder[:12] or '(none)'}, this model has {wanted[:12]}; "
                "export the encoder of this checkpoint to the device"
            )
        elif window.tokens.shape != (self.config.tokens, self.config.dim):
            raise DataError(
                f"{window.key}: tokens {window.tokens.shape}, wanted {(self.config.tokens, self.config.dim)}"
            )

    @torch.inference_mode()
    def decide(self, contexts: Sequence[Context]) -> list[dict[str, Decision]]:
        """Decisions by task for every context; a task whose modalities are all silent in the slot gives none."""
        if not contexts:
            return []
        batch = collate(contexts, self.config)
        batch = FuseBatch(*(value.to(self.device) for value in vars(batch).values()))
        outputs = self.model.fuse(batch)
        decisions: list[dict[str, Decision]] = [{} for _ in contexts]
        for name in self.config.tasks:
            probs_BN = (outputs.logits[name] / self.temperatures.get(name, 1.0)).softmax(-1).cpu().numpy()
            gate_BS = outputs.gate[name].cpu().numpy()
            for context, probs_N, gate_S, found in zip(contexts, probs_BN, gate_BS, decisions, strict=True):
                if context.modalities & TASKS[name].modalities:
                    found[name] = _decision(TASKS[name].labels, context, probs_N, gate_S)
        return decisions


def _decision(labels: tuple[str, ...], context: Context, probs_N: np.ndarray, gate_S: np.ndarray) -> Decision:
    attribution: dict[str, float] = {}
    for row, weight in zip(context.rows, gate_S, strict=False):
        attribution[row.key] = attribution.get(row.key, 0.0) + float(weight)
    best = int(probs_N.argmax())
    probs = {label: float(p) for label, p in zip(labels, probs_N, strict=True)}
    return Decision(labels[best], float(probs_N[best]), probs, attribution)
