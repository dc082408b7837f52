"""The sensor model: encoders by modality, one adapter, one head per task; and `Predictor`, which serves it.

Windows -> tokens -> (with the tokens of the last seconds) -> logits and gate per task. It knows nothing of MQTT,
event rules or the store. One code path, `History` rows -> `collate` -> `fuse`, makes every decision, live or offline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import numpy as np
import pydantic.dataclasses
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from backend.answer import Answer, Decision, Estimation
from backend.choices import CHECKED, Count, LessThanAll, build, different, one_of
from backend.model.adapter import FUSIONS, PLACEMENTS, Adapter, FuseBatch
from backend.model.contact import ContactDecoder
from backend.model.encoders import ENCODERS, build_encoder, options_of
from backend.model.history import SLOTS_OF_CONTEXT, Context, StreamTokens
from backend.model.language import SOFT_TOKENS, LanguageConfig, LanguageModel
from backend.model.trunk import Encoder
from backend.moment import StreamWindow
from backend.tasks import MASKS, TASKS, Classification, Regression, Task
from broker.errors import CheckpointError, DataError
from broker.modalities import READABLE
from broker.topics import NAME

if TYPE_CHECKING:
    from backend.checkpoint import Checkpoint

Label = Annotated[str, Field(pattern=NAME)]
"""A label that is no task's own: named like what stands in topics."""
WORDS = r"^[^\W_][\w '’,()/-]*$"
"""Those of a label, on one line: they stand in sentences and before questions."""
Words = Annotated[str, Field(min_length=1, max_length=80, pattern=WORDS)]


@pydantic.dataclasses.dataclass(config=CHECKED)
class ModelConfig:
    """Everything that the shape of a sensor model depends on; saved with every checkpoint.

    `outputs`: by task, the labels or points that the model answers for, where these are not all that the task has.
    `placements`: those that it tells apart; the first stands for all others. `masks`: what it draws from frames.
    `focused`: a task looks at the modalities that can tell it (`Task.modalities`), and not at all that there are.
    `language`: the language model between adapter and heads, if there is one.
    `added`: by task, labels that it was taught beyond those of the task, each with its words.
    """

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
    outputs: dict[Annotated[str, one_of(TASKS)], tuple[str, ...]] = field(default_factory=dict)
    placements: tuple[str, ...] = PLACEMENTS
    masks: Annotated[tuple[Annotated[str, one_of(MASKS)], ...], AfterValidator(different)] = ()
    focused: bool = False
    language: LanguageConfig | None = None
    added: dict[Annotated[str, one_of(TASKS)], dict[Label, Words]] = field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.modalities or not self.tasks + self.masks:
            raise ValueError("give at least one modality, and at least one task or mask")
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim} and heads {self.heads}; dim has to be a multiple of heads")
        for task in self.tasks:
            if not TASKS[task].modalities & set(self.modalities):
                asked = ", ".join(sorted(TASKS[task].modalities))
                raise ValueError(f"tasks has {task}, but modalities has none of {asked}; remove the task or add one")
        for mask in self.masks:
            if (asked := MASKS[mask].modality) not in self.modalities:
                raise ValueError(f"masks has {mask}, but modalities lacks {asked}; remove the mask or add it")
        for task, names in self.outputs.items():
            if strangers := set(names) - set(TASKS[task].outputs):
                raise ValueError(f"outputs.{task} has {min(strangers)!r}, which the task does not know")
            if TASKS[task].indivisible and names != TASKS[task].outputs:
                raise ValueError(f"outputs.{task} has {len(names)} of what the task answers as a whole; leave it out")
        for modality, options in self.encoders.items():
            known = options_of(modality)
            for option in set(options) - set(known):
                raise ValueError(f"encoders.{modality} has no {option!r}; options: {', '.join(known)}")
        if self.language is not None and self.soft_tokens > SOFT_TOKENS:
            raise ValueError(
                f"{len(self.tasks)} tasks of {self.latents} latents are {self.soft_tokens} soft tokens, and a language "
                f"model takes {SOFT_TOKENS}; lower latents"
            )
        return self

    @property
    def soft_tokens(self) -> int:
        """What the adapter hands to a language model."""
        return len(self.tasks) * (1 if self.fusion == "late" else self.latents)

    @model_validator(mode="after")
    def _adds_what_is_new(self) -> Self:
        for task, words in self.added.items():
            if not isinstance(TASKS[task], Classification):
                raise ValueError(f"added.{task}: the task has no labels; leave it out")
            if twice := set(words) & set(TASKS[task].outputs):
                raise ValueError(f"added.{task} has {min(twice)!r}, which the task knows; name it in outputs")
        return self

    def task(self, name: str) -> Task:
        """A task over the outputs that this model has."""
        return self._with_added(name, TASKS[name].only(self.outputs[name]) if name in self.outputs else TASKS[name])

    def whole(self, name: str) -> Task:
        """A task over all that is known of it: its own outputs, and the labels that this model was taught."""
        return self._with_added(name, TASKS[name])

    def _with_added(self, name: str, task: Task) -> Task:
        return task.with_labels(self.added[name]) if isinstance(task, Classification) and name in self.added else task

    def placement(self, name: str) -> int:
        """Index of a placement's embedding; that of an unknown name is 0."""
        return self.placements.index(name) if name in self.placements else 0

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file. Nothing is said of later fields that are off: older checkpoints keep their
        digest.
        """
        return {field: value for field, value in asdict(self).items() if value or field not in LATER}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelConfig:
        """The configuration that `to_json` wrote; raises CheckpointError for fields that do not exist or fit."""
        return build(
            cls,
            values,
            lambda problem: CheckpointError(f"model configuration: {problem}; was it written by another version?"),
        )


LATER = frozenset({"masks", "focused", "language", "added"})
"""Fields that checkpoints of the format began without."""


@dataclass(frozen=True)
class Outputs:
    """By task: what its head says (B, ...), and gate (B, S), the weight of each row; an answer's weights sum to one.

    `latents` (B, Q, d) are what a language model is told.
    """

    heads: dict[str, Tensor]
    gate: dict[str, Tensor]
    latents: Tensor


class SensorModel(nn.Module):
    """Encoders, adapter, a language model if there is one, and heads, built from a ModelConfig.

    With `begin` a language model's weights are read from where its configuration says (`LanguageModel`).
    """

    language: LanguageModel | None

    def __init__(self, config: ModelConfig, *, begin: bool = False) -> None:
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
            placements=len(config.placements),
            fusion=config.fusion,
            latents=config.latents,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
            senses=self._senses() if config.focused else None,
        )
        self.tasks = {name: config.task(name) for name in config.tasks}
        self.heads = nn.ModuleDict({name: task.head(config.dim) for name, task in self.tasks.items()})
        self.unimodal = nn.ModuleDict({m: self._voters(m) for m in config.modalities})
        self.masks = nn.ModuleDict({name: MASKS[name].decoder() for name in config.masks})
        of = config.language
        self.language = None if of is None else LanguageModel(of, config.dim, len(config.tasks), begin=begin)

    def _senses(self) -> Tensor:
        """(tasks, modalities) bool: which modalities help which task."""
        tasks = (TASKS[name].modalities for name in self.config.tasks)
        return torch.tensor([[m in helping for m in self.config.modalities] for helping in tasks], dtype=torch.bool)

    def _voters(self, modality: str) -> nn.ModuleDict:
        """Heads over one modality alone, of the tasks that ask for it."""
        dim, parts = self.config.dim, self.config.parts
        asking = {name: task for name, task in self.tasks.items() if modality in task.modalities}
        return nn.ModuleDict(
            {
                name: nn.Linear(dim, task.size * parts) if isinstance(task, Classification) else task.head(dim)
                for name, task in asking.items()
            }
        )

    def encoder(self, modality: str) -> Encoder:
        """The encoder of one modality."""
        return cast(Encoder, self.encoders[modality])

    def encode(self, modality: str, x: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Tokens (B, K, d) and quality (B,) of windows in physical units at `rate` Hz, as the modality's axes say.

        A series (B, T, C) of another rate than the encoder's is brought to its grid by linear interpolation; devices
        resample with anti-aliasing (`edge.windows`) and arrive on the grid. Frames are resized by their encoders.
        """
        encoder = self.encoder(modality)
        if READABLE[modality].axes == ("time",):
            wanted = round(x.shape[1] / rate * encoder.rate)
            if wanted != x.shape[1]:
                x = nn.functional.interpolate(x.transpose(1, 2), wanted, mode="linear").transpose(1, 2)
        tokens_BKd, quality_B = encoder(x)
        return tokens_BKd, quality_B

    def decoder(self, mask: str) -> ContactDecoder:
        """The decoder of one mask."""
        return cast(ContactDecoder, self.masks[mask])

    def fuse(self, batch: FuseBatch, asked: Collection[str] | Mapping[str, Tensor] | None = None) -> Outputs:
        """What every task's head says, and its gate, for B decisions; of the tasks `asked` alone, where given.

        By task, `asked` may be (B,) bool: the decisions, at least one, that its head is asked about; of others it says
        zeros.
        """
        which = asked if isinstance(asked, Mapping) else {}
        fused = self.adapter(batch)
        tasks = [(i, task) for i, task in enumerate(self.config.tasks) if asked is None or task in asked]
        index = [i for i, _ in tasks]
        vector_BNd = fused.task[:, index]
        if self.language is not None and index:
            vector_BNd = vector_BNd + self.language(fused.latents, vector_BNd, index)
        return Outputs(
            {task: self._said(task, vector_BNd[:, n], which.get(task)) for n, (_, task) in enumerate(tasks)},
            {task: fused.gate[:, i].exp() for i, task in tasks},
            fused.latents,
        )

    def _said(self, task: str, vector_Bd: Tensor, asked_B: Tensor | None) -> Tensor:
        if asked_B is None or bool(asked_B.all()):
            return cast(Tensor, self.heads[task](vector_Bd))
        said = self.heads[task](vector_Bd[asked_B])
        return cast(Tensor, said.new_zeros(len(vector_Bd), *said.shape[1:]).index_put((asked_B,), said))

    @torch.no_grad()
    def settle(self) -> None:
        """End all training. A checkpoint that keeps its language model keeps all but the encoders in half precision."""
        if self.language is None:
            return
        self.config = replace(self.config, language=self.language.settle())
        if self.language.config.kept:
            for name, weight in self.named_parameters():
                if not name.startswith("encoders."):  # whose digests devices know
                    weight.copy_(weight.half())

    def vote(self, modality: str, task: str, tokens_BKd: Tensor) -> Tensor:
        """What an auxiliary head says, which sees one window of one modality alone: (B, K x parts, labels) or (B, ...).

        In a classification each token answers for `parts` equal parts of its share of the window: it has to know where
        a label begins. A regression asks all tokens at once.
        """
        head = cast(nn.ModuleDict, self.unimodal[modality])[task]
        if isinstance(self.tasks[task], Classification):
            parts = (len(tokens_BKd), self.config.tokens * self.config.parts, -1)
            return cast(Tensor, head(tokens_BKd)).reshape(parts)
        return cast(Tensor, head(tokens_BKd.mean(1)))


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
            placement[b, s] = config.placement(row.placement)
            age[b, s] = context.slot - row.slot
            quality[b, s], present[b, s] = row.quality, True
    return FuseBatch(*(torch.from_numpy(a) for a in (tokens, modality, placement, age, quality, present)))


class Predictor:
    """A checkpoint, ready to answer: windows in, calibrated decisions out.

    Thread use: one call at a time (the serving engine gives it a thread of its own).
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.model = checkpoint.model.eval().to(device)
        self.config, self.tasks = checkpoint.model.config, checkpoint.model.tasks
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
            x = torch.from_numpy(np.stack([raw[i] for i in chosen])).to(self.device)
            tokens_BKd, quality_B = self.model.encode(modality, x, rate)
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
            assert window.values is not None
            encoder, got = self.model.encoder(window.modality), window.values.shape
            if len(got) != len(encoder.shape) or not READABLE[window.modality].takes(got[-1]):
                raise DataError(f"{window.key}: a window of shape {got}, the encoder takes {encoder.shape}")
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
    def decide(self, contexts: Sequence[Context]) -> list[dict[str, Answer]]:
        """Answers by task for every context; none where there is nothing to ask (`Task.asks`)."""
        answers: list[dict[str, Answer]] = [{} for _ in contexts]
        about = [(context.present, context.before) for context in contexts]
        asks = {name: [task.asks(*one) for one in about] for name, task in self.tasks.items()}
        asked = [name for name, said in asks.items() if any(said)]
        if not asked:
            return answers
        outputs = self.model.fuse(self._batch(contexts), asked)
        for name in asked:
            task = self.tasks[name]
            gate_BS = outputs.gate[name].cpu().numpy()
            said_B = self._answers(name, task, outputs.heads[name])
            for context, said, gate_S, found, asking in zip(
                contexts, said_B, gate_BS, answers, asks[name], strict=True
            ):
                if not asking:
                    continue
                weights = _attribution(context, gate_S)
                if isinstance(task, Classification):
                    best = int(said.argmax())
                    probs = {label: float(p) for label, p in zip(task.labels, said, strict=True)}
                    found[name] = Decision(task.labels[best], float(said[best]), probs, weights)
                else:
                    found[name] = Estimation(said, weights)
        return answers

    @torch.inference_mode()
    def say(self, contexts: Sequence[Context], questions: Sequence[str]) -> list[str]:
        """The language model's answer in words to one question about each context."""
        language = self.model.language
        if language is None:
            raise CheckpointError("the checkpoint has no language model; train stage 2 on it: `backend train instruct`")
        said = language.generate(self.latents(contexts), [language.tokens(question) for question in questions])
        return [language.text(tokens) for tokens in said]

    @torch.inference_mode()
    def latents(self, contexts: Sequence[Context]) -> Tensor:
        """(B, Q, d) what the adapter makes of each context: what a language model is given of the sensors."""
        latents_BQd: Tensor = self.model.adapter(self._batch(contexts)).latents
        return latents_BQd

    @torch.inference_mode()
    def draw(self, mask: str, x_BHWC: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(B, H x finer, W x finer) masks of frames in the modality's units."""
        decoder = self.model.decoder(mask)
        logit_BHW = decoder(decoder.picture(torch.from_numpy(x_BHWC).to(self.device)))
        return np.asarray((logit_BHW > 0).cpu())

    def _batch(self, contexts: Sequence[Context]) -> FuseBatch:
        return FuseBatch(*(value.to(self.device) for value in vars(collate(contexts, self.config)).values()))

    def _answers(self, name: str, task: Task, head_BN: Tensor) -> NDArray[np.float32]:
        """(B, size) calibrated probabilities, or values in the task's unit."""
        if isinstance(task, Regression):
            return task.values(head_BN).cpu().numpy()
        return (head_BN / self.temperatures.get(name, 1.0)).softmax(-1).cpu().numpy()


def _attribution(context: Context, gate_S: NDArray[np.float32]) -> dict[str, float]:
    """The gate's weights by stream, over all slots of the context, at most 1; a NaN stays one."""
    attribution: dict[str, float] = {}
    for row, weight in zip(context.rows, gate_S, strict=False):
        attribution[row.key] = attribution.get(row.key, 0.0) + float(weight)
    return {key: min(weight, 1.0) for key, weight in attribution.items()}  # rounding goes beyond 1
