"""Stage 3: the language model learns to answer questions about what the sensors show, from tokens and facts.

Encoders, adapter and heads stay as they are, to the byte, so events and estimates do. Questions are asked of recordings
of the people that the checkpoint learned from, and of imagined situations; only the tokens of answers count. What the
language model adds to the tasks' vectors is held to what it added before. Latents are computed once: a step is of text
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic.dataclasses
import torch
from pydantic import Field
from rich.console import Console
from torch import Tensor

from backend.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from backend.choices import CHECKED, Amount, Count, Positive, Share, build
from backend.data import DATASETS
from backend.data.aloud import counted, read_aloud
from backend.data.corpus import documents
from backend.data.recording import Recording
from backend.dialogue.items import Item
from backend.model.history import Context
from backend.model.language import LanguageConfig, LanguageModel, resolved
from backend.model.sensorlm import Predictor, collate
from backend.train.card import model_card
from backend.train.config import SEEDS
from backend.train.conversation import measure_dialogue
from backend.train.folder import CONFIG, agree, make_room, standing, write_json
from backend.train.loop import cosine
from backend.train.moments import LABELS, moments_of
from backend.train.pictures import draw_curves
from backend.train.progress import shown
from backend.train.run import examine_held
from backend.train.state import METRICS, STATE
from backend.train.text_loop import State, descend, load_state, optimizer_of, run_steps
from broker.errors import CheckpointError, ConfigError, DataError

DIALOGUE = "dialogue.json"
"""What a run writes besides what every run does: the figures of its answers."""


@pydantic.dataclasses.dataclass(config=CHECKED)
class TalkConfig:
    """One training.

    `start`: a checkpoint with a language model. Of each data set that it learned from at most `recordings` are asked
    about (`simulated`: of a simulated one), at `moments` moments each, `asked` questions a moment, `labels` of them
    about what is decided now. A step has `items` of these, `named` about labels that are answered from tokens alone,
    and `texts` imagined ones. `noise` is added to latents, in their standard deviations. `keep` weighs what is added to
    the tasks' vectors. At the end questions about `measured` recordings of each set are asked.
    """

    start: str
    recordings: Count = 120
    simulated: Count = 10
    moments: Count = 12
    asked: Count = 4
    labels: Share = 0.5
    noise: Amount = 0.05
    steps: Count = 1200
    items: Count = 5
    named: Count = 16
    texts: Count = 6
    keep: Amount = 1.0
    learning_rate: Positive = 8e-4
    warmup: Share = 0.05
    weight_decay: Amount = 0.05
    clip: Positive = 1.0
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    save_every: Count = 100
    measured: Annotated[int, Field(ge=0)] = 12

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Asked:
    """A question about a moment: its place in `Gathered`, and the item."""

    moment: int
    item: Item


@dataclass
class Gathered:
    """Moments of people who may be learned from: latents (M, Q, d), task vectors (M, N, d), what was added to these."""

    latents: Tensor
    vectors: Tensor
    added: Tensor
    asked: list[Asked]
    held: dict[str, list[Recording]]
    """By set, recordings of people who were held out."""


def talk(
    config: TalkConfig,
    data: Path | None,
    out: Path,
    console: Console,
    *,
    llm: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Checkpoint:
    """Train into the folder `out`. `llm`: a language model in place of the checkpoint's own.

    Raises:
        ConfigError: there is a run in `out` and neither is set, or none to resume, or one of other settings.
        CheckpointError: there is no language model, or what is to be resumed is damaged.
        DataError: a set that the checkpoint learned from is not there.
    """
    there = standing(out, resume, overwrite)
    start = load_checkpoint(config.start)
    if start.model.language is None and llm is None:
        raise CheckpointError(f"{config.start}: has no language model; name one by --llm, or train stage 2 on it first")
    if resume and not (out / CONFIG).is_file():
        raise ConfigError(f"{out}: nothing to resume, {CONFIG} is missing; train without --resume")
    torch.manual_seed(config.seed)
    gathered = gather(config, start, data, console)
    if not resume:
        make_room(out, [*there, *([out / DIALOGUE] if there else [])])
    agree(config, out, lambda values: build(TalkConfig, values, ConfigError))
    language = _language(start, llm)
    state = State(language, optimizer_of(language, config.learning_rate, config.weight_decay))
    if (out / STATE).is_file():
        load_state(state, out)
    with shown("talk", config.steps, state.step, console) as report:
        step = partial(train_step, language=language, gathered=gathered, config=config)
        if not run_steps(state, step, config.steps, out, report, config.save_every):
            raise KeyboardInterrupt
    checkpoint = settled(start, language, config, state.seconds)
    save_checkpoint(checkpoint, out)  # whatever comes of measuring it
    draw_curves(out / METRICS, out / "curves.png")
    measure(checkpoint, gathered.held, config.measured, data, out, console)
    return checkpoint


def measure(
    checkpoint: Checkpoint,
    held: dict[str, list[Recording]],
    measured: int,
    data: Path | None,
    out: Path,
    console: Console,
) -> None:
    """Save the checkpoint with what is told of it: decisions about people held out, and answers to their questions."""
    reports = examine_held(checkpoint, held, out, console, speak=False)
    asked = None
    if measured:
        try:
            asked = measure_dialogue(checkpoint, data, console, recordings=measured)
            write_json(out / DIALOGUE, asked)
        except DataError as error:
            console.print(f"not asked: {error}", soft_wrap=True)
    save_checkpoint(checkpoint, out)
    (out / "MODEL_CARD.md").write_text(model_card(checkpoint, reports, asked))
    console.print(f"checkpoint {out}: {checkpoint.digest[:12]}")


def _language(start: Checkpoint, llm: str | None) -> LanguageModel:
    """The language model that learns, whole where the checkpoint keeps it."""
    config, own = start.model.config, start.model.language
    if llm is not None:
        about = resolved(LanguageConfig(llm, tuning="full", kept=True))
        language = LanguageModel(about, config.dim, len(config.tasks), begin=True)
        language.tokenizer = language.words
        return language
    assert own is not None
    own.requires_grad_(True)
    if not own.config.kept:
        own.llm.requires_grad_(False)
        for name, weight in own.llm.named_parameters():
            weight.requires_grad_("lora_" in name)
    return own


def settled(start: Checkpoint, language: LanguageModel, config: TalkConfig, seconds: float) -> Checkpoint:
    """The checkpoint with the language model as it learned."""
    model = start.model
    digest = start.digest
    model.language = language.eval()
    model.config = replace(model.config, language=language.config)
    model.settle()
    record = {**start.record, "talk": {**config.to_json(), "digest": digest, "seconds": round(seconds, 1)}}
    record["parameters"] = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("unimodal."))
    return Checkpoint(model, start.temperatures, start.thresholds, record)


def gather(config: TalkConfig, start: Checkpoint, data: Path | None, console: Console) -> Gathered:
    """Moments of the people that the checkpoint learned from, and questions about them."""
    predictor = Predictor(start)
    contexts: list[Context] = []
    asked: list[Asked] = []
    held: dict[str, list[Recording]] = {}
    rng = np.random.default_rng([config.seed, 90])
    for name, roles in start.record.get("people", {}).items():
        row = DATASETS.get(name)
        if row is None:
            continue
        every = read_aloud(name, row.read, data, console)
        found = [one for one in every if one.person in {*roles["train"]}]
        held[name] = [one for one in every if one.person in {*roles["validation"]}]
        most = config.recordings if row.unseen is None else config.simulated
        chosen = [found[i] for i in sorted(rng.permutation(len(found))[:most])]
        with counted(f"{name}, asked about,", len(chosen), console) as done:
            for recording in chosen:
                for context, items in moments_of(
                    recording, predictor, config.moments, config.asked, config.labels, rng
                ):
                    asked += [Asked(len(contexts), item) for item in items]
                    contexts.append(context)
                done()
    if not asked:
        raise DataError("no moment can be asked about: the checkpoint's record names no set that is there")
    latents, vectors, added = [], [], []
    with torch.inference_mode():
        for first in range(0, len(contexts), 64):
            batch = collate(contexts[first : first + 64], predictor.config)
            fused = start.model.adapter(batch)
            index = list(range(len(predictor.config.tasks)))
            own = start.model.language
            latents.append(fused.latents.half())
            vectors.append(fused.task.half())
            added.append(
                (torch.zeros_like(fused.task) if own is None else own(fused.latents, fused.task, index)).half()
            )
    return Gathered(torch.cat(latents).clone(), torch.cat(vectors).clone(), torch.cat(added).clone(), asked, held)


def train_step(state: State, language: LanguageModel, gathered: Gathered, config: TalkConfig) -> dict[str, float]:
    """One step of the optimiser; returns what metrics.jsonl records of it."""
    rng = np.random.default_rng([config.seed, 91, state.step])
    torch.manual_seed(int(rng.integers(2**31)))
    language.train()
    told, named = gathered.asked, [one for one in gathered.asked if one.item.kind in LABELS]
    losses = {
        "seen": _seen(language, gathered, told, config.items, config.noise, rng),
        "read": _read(language, config, rng),
    }
    if named:
        losses["named"] = _seen(language, gathered, named, config.named, config.noise, rng, blind=True)
    if config.keep:
        losses["kept"] = _kept(language, gathered, rng) * config.keep
    loss = torch.stack(list(losses.values())).sum()
    rate = cosine(config.learning_rate, config.warmup, config.steps, state.step)
    norm = descend(state, loss, rate, config.clip)
    return {
        "loss": float(loss.detach()),
        "lr": rate,
        "grad_norm": norm,
        **{k: float(v.detach()) for k, v in losses.items()},
    }


def _seen(
    language: LanguageModel,
    gathered: Gathered,
    asked: Sequence[Asked],
    count: int,
    noise: float,
    rng: np.random.Generator,
    *,
    blind: bool = False,
) -> Tensor:
    """Answers about moments: from tokens and lines, or, of labels, from tokens alone (`blind`)."""
    chosen = [asked[i] for i in rng.integers(len(asked), size=count)]
    latents_BQd = gathered.latents[torch.tensor([one.moment for one in chosen])].float()
    latents_BQd = latents_BQd + noise * latents_BQd.std() * torch.randn_like(latents_BQd)
    prompts, answers = [], []
    for one in chosen:
        prompts.append(prompt_of(language, one.item, "" if blind else one.item.lines))
        answers.append(language.answer(one.item.answer.partition(":")[0] + "." if blind else one.item.answer))
    return language.loss(latents_BQd, prompts, answers)


def _read(language: LanguageModel, config: TalkConfig, rng: np.random.Generator) -> Tensor:
    """Answers about situations that nobody has seen: from lines alone."""
    made = list(islice(documents(rng), config.texts))
    prompts = [
        language.tokens(one.turns[-1].question, one.text, [(t.question, t.answer) for t in one.turns[:-1]])
        for one in made
    ]
    return language.loss(None, prompts, [language.answer(one.turns[-1].answer) for one in made])


def _kept(language: LanguageModel, gathered: Gathered, rng: np.random.Generator) -> Tensor:
    """How far what is added to the tasks' vectors is from what was: a share of its own size."""
    chosen = torch.from_numpy(rng.integers(len(gathered.latents), size=16))
    language.eval()  # nothing is bypassed: all of what is added is looked at
    now = language(
        gathered.latents[chosen].float(), gathered.vectors[chosen].float(), list(range(gathered.added.shape[1]))
    )
    before = gathered.added[chosen].float()
    gap: Tensor = (now - before).square().mean() / before.square().mean().clamp_min(1e-6)
    return gap


def prompt_of(language: LanguageModel, item: Item, lines: str) -> list[int]:
    """What the language model reads before it answers."""
    return language.tokens(item.question, lines, [(turn.question, turn.answer) for turn in item.before])
