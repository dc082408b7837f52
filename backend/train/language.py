"""`backend train language`: the small language model that comes with the package, and its tokenizer, from text alone.

A Llama of a few million parameters learns to foretell the next token of documents about sensors, of which there are as
many as steps ask for. Answers count more than what stands before them: with all tokens alike it does not learn to copy.
Everything random in a step follows from (seed, step), as in `loop`, so a resumed run goes on exactly. A run's folder
is at the end a model folder as Hugging Face has them. What sensors are it does not know.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from rich.console import Console
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backend.choices import CHECKED, Amount, Count, Positive, Share, build
from backend.device import has_bf16
from backend.train.config import SEEDS
from backend.train.folder import CONFIG, agree, make_room, standing, write_json
from backend.train.induction import look_back
from backend.train.language_measure import line_of, measure
from backend.train.language_text import TextBatch, batch, train_tokenizer
from backend.train.loop import cosine
from backend.train.pictures import draw_curves
from backend.train.progress import shown
from backend.train.state import METRICS, STATE
from backend.train.text_loop import State, descend, load_state, optimizer_of, run_steps
from broker.errors import ConfigError

LONGEST = 1024
"""Tokens that the model may be given at once."""
ROPE = 1e6
"""Base of the rotary positions: most turn so slowly that a token is found by what it is, wherever it stands."""
REPORT = "validation.json"
_WEIGHTS = "model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
FILES = (*_TOKENIZER, "generation_config.json", REPORT)
"""What such a run writes besides what every run does."""


@dataclass(config=CHECKED)
class TextConfig:
    """One training of a language model.

    `hidden`, `inner`, `layers`, `heads` are the model's; `vocabulary` tokens are made from `documents` documents. A
    step has `rows` rows of `length` tokens; a token that is no answer's counts `context`. `looks_back` begins with
    heads that find where something was said before (`induction`), without which copying takes many times as long to
    come. `bf16` is used where the processor has it: elsewhere it costs more than it saves. `measured`: documents that
    are foretold at the end; twice as many questions are asked.
    """

    hidden: Count = 320
    inner: Count = 784
    layers: Count = 4
    heads: Count = 5
    vocabulary: Annotated[int, Field(ge=300)] = 2048
    documents: Count = 20000
    steps: Count = 2000
    rows: Count = 4
    length: Annotated[int, Field(ge=32, le=LONGEST)] = 448
    context: Share = 0.05
    looks_back: bool = True
    learning_rate: Positive = 2e-3
    warmup: Share = 0.05
    weight_decay: Amount = 0.05
    clip: Positive = 1.0
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    save_every: Count = 100
    measured: Count = 100
    bf16: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


SIZES: dict[str, TextConfig] = {
    "tiny": TextConfig(hidden=128, inner=224, layers=3, heads=2, learning_rate=4e-3),
    "small": TextConfig(hidden=192, inner=480, layers=4, heads=3, learning_rate=3e-3),
    "medium": TextConfig(),
}
"""0.7, 2.1 and 5.3 million parameters."""


def train_language(
    config: TextConfig, out: Path, console: Console, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train into the folder `out`, and measure; the report.

    With `resume` a run that was interrupted (KeyboardInterrupt) goes on; with `overwrite` a run there is removed.

    Raises:
        ConfigError: there is a run in `out` and neither is set, or none to resume, or one of other settings.
        CheckpointError: what is to be resumed is damaged.
    """
    torch.set_num_threads(1)  # more threads spin against each other on a shared machine
    there = standing(out, resume, overwrite)
    if not resume:
        make_room(out, [*there, *(out / name for name in FILES if there)])
    elif not (out / CONFIG).is_file():
        raise ConfigError(f"{out}: nothing to resume, {CONFIG} is missing; train without --resume")
    agree(config, out, lambda values: build(TextConfig, values, ConfigError))
    tokenizer = _tokenizer(config, out, console)
    model = new_model(config)
    state = State(model, optimizer_of(model, config.learning_rate, config.weight_decay))
    if (out / STATE).is_file():
        load_state(state, out)
    with shown("language", config.steps, state.step, console) as report_step:
        done = run_steps(
            state,
            lambda now: train_step(now, model, tokenizer, config),
            config.steps,
            out,
            report_step,
            config.save_every,
        )
    if not done:
        raise KeyboardInterrupt
    save_model(model, out)
    report = measure(model, tokenizer, config.seed, config.measured)
    report["parameters"] = sum(p.numel() for p in model.parameters())
    report["seconds"] = round(state.seconds, 1)
    write_json(out / REPORT, report)
    draw_curves(out / METRICS, out / "curves.png")
    for name in ("new numbers", "new wordings"):
        console.print(f"{name}: {line_of(report[name])}", soft_wrap=True)
    console.print(f"language model {out}: {report['parameters']} parameters")
    return report


def new_model(config: TextConfig) -> LlamaForCausalLM:
    """A fresh model, seeded. Raises ConfigError for sizes that do not fit together."""
    torch.manual_seed(config.seed)
    if config.hidden % config.heads:
        raise ConfigError(f"hidden is {config.hidden}, heads {config.heads}; hidden has to be a multiple of heads")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.hidden,
            intermediate_size=config.inner,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=LONGEST,
            rope_theta=ROPE,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    if config.looks_back:
        look_back(model, config.seed)
    return model


def train_step(
    state: State, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, config: TextConfig
) -> dict[str, float]:
    """One step of the optimiser; returns what metrics.jsonl records of it."""
    texts = batch(
        np.random.default_rng([config.seed, 1, state.step]), tokenizer, config.rows, config.length, config.context
    )
    rate = cosine(config.learning_rate, config.warmup, config.steps, state.step)
    model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16 and has_bf16()):
        nats_RL = token_losses(model, texts)
    weight_RL = texts.weight[:, 1:]
    loss = (nats_RL * weight_RL).sum() / weight_RL.sum()
    norm = descend(state, loss, rate, config.clip)
    answers = nats_RL.detach()[weight_RL == 1.0]
    line = {"loss": float(loss.detach()), "lr": rate, "grad_norm": norm}
    parts = {"answers": answers, "context": nats_RL.detach()[(weight_RL > 0) & (weight_RL < 1.0)]}
    return line | {name: float(nats.mean()) for name, nats in parts.items() if len(nats)}


def token_losses(model: LlamaForCausalLM, texts: TextBatch) -> Tensor:
    """(R, L - 1) nats of each token but the first, each document by itself."""
    said_RLV = model(input_ids=texts.ids, position_ids=texts.position, use_cache=False).logits
    flat = F.cross_entropy(said_RLV[:, :-1].float().flatten(0, 1), texts.ids[:, 1:].flatten(), reduction="none")
    return flat.reshape(texts.ids.shape[0], -1)


def save_model(model: LlamaForCausalLM, out: Path) -> None:
    """Write config.json and model.safetensors. Weights are rounded to float16, here and in the model, so that what is
    measured is what is loaded; they are loaded as float32, in which a CPU reckons faster.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    weights = {name: parameter.detach().half().contiguous() for name, parameter in model.named_parameters()}
    (out / f"{_WEIGHTS}.part").write_bytes(save(weights, {"format": "pt"}))
    (out / f"{_WEIGHTS}.part").replace(out / _WEIGHTS)
    model.config.architectures, model.config.dtype = [type(model).__name__], "float32"
    model.config.save_pretrained(out)
    model.generation_config.save_pretrained(out)


def _tokenizer(config: TextConfig, out: Path, console: Console) -> PreTrainedTokenizerFast:
    """That of the run, made where there is none yet."""
    if not all((out / name).is_file() for name in _TOKENIZER):
        console.print(f"making {config.vocabulary} tokens of {config.documents} documents")
        train_tokenizer(config.vocabulary, config.documents, config.seed).save_pretrained(out)
    return PreTrainedTokenizerFast.from_pretrained(out)
