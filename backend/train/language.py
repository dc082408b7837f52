"""`backend train language`: the small language model that comes with the package, and its tokenizer, from text alone.

A Llama of a few million parameters learns to foretell the next token of documents about sensors, of which there are as
many as steps ask for. Answers count more than what stands before them: with all tokens alike it does not learn to copy.
Everything random in a step follows from (seed, step), as in `loop`, so a resumed run goes on exactly. A run's folder
is at the end a model folder as Hugging Face has them. What sensors are it does not know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backend.choices import CHECKED, Amount, Count, Positive, Share, build
from backend.device import has_bf16
from backend.train.config import SEEDS
from backend.train.folder import CONFIG, agree, make_room, standing, write_json
from backend.train.language_measure import line_of, measure
from backend.train.language_text import TextBatch, batch, train_tokenizer
from backend.train.loop import cosine, interruptible
from backend.train.pictures import draw_curves
from backend.train.progress import shown
from backend.train.state import METRICS, STATE, forget_after
from broker.errors import CheckpointError, ConfigError

LONGEST = 1024
"""Tokens that the model may be given at once."""
REPORT = "validation.json"
_WEIGHTS = "model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
FILES = (*_TOKENIZER, "generation_config.json", REPORT)
"""What such a run writes besides what every run does."""
_LONG_EVERY, _LONG = 8, 4  # so often, rows are so many times longer, and fewer


@dataclass(config=CHECKED)
class TextConfig:
    """One training of a language model.

    `hidden`, `inner`, `layers`, `heads` are the model's; `vocabulary` tokens are made from `documents` documents. A
    step has `rows` rows of `length` tokens, and now and then fewer and longer ones; a token that is no answer's counts
    `context`. `bf16` is used where the processor has it: elsewhere it costs more than it saves. `measured`: questions
    of each kind that are asked at the end.
    """

    hidden: Count = 256
    inner: Count = 704
    layers: Count = 6
    heads: Count = 8
    vocabulary: Annotated[int, Field(ge=300)] = 2048
    documents: Count = 20000
    steps: Count = 2000
    rows: Annotated[int, Field(ge=_LONG)] = 4
    length: Annotated[int, Field(ge=32, le=LONGEST // _LONG)] = 256
    context: Share = 0.1
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
    "tiny": TextConfig(hidden=128, inner=224, layers=3, heads=4, learning_rate=4e-3),
    "small": TextConfig(hidden=192, inner=480, layers=4, heads=6, learning_rate=3e-3),
    "medium": TextConfig(),
}
"""0.7, 2.1 and 5.3 million parameters."""


@dataclass(config={"arbitrary_types_allowed": True})
class State:
    """All that a run changes; `seconds` is the time that all steps took."""

    model: LlamaForCausalLM
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0


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
    state = load_state(config, out) if (out / STATE).is_file() else new_state(config)
    with shown("language", config.steps, state.step, console) as report_step:
        done = run_steps(state, tokenizer, config, out, report_step)
    if not done:
        raise KeyboardInterrupt
    save_model(state.model, out)
    report = measure(state.model, tokenizer, config.seed, config.measured)
    report["parameters"] = sum(p.numel() for p in state.model.parameters())
    report["seconds"] = round(state.seconds, 1)
    write_json(out / REPORT, report)
    draw_curves(out / METRICS, out / "curves.png")
    for name in ("new numbers", "new wordings"):
        console.print(f"{name}: {line_of(report[name])}", soft_wrap=True)
    console.print(f"language model {out}: {report['parameters']} parameters")
    return report


def new_state(config: TextConfig) -> State:
    """A fresh model, seeded, with AdamW; only matrices decay."""
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
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return State(model, torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98)))


def train_step(state: State, tokenizer: PreTrainedTokenizerFast, config: TextConfig) -> dict[str, float]:
    """One step of the optimiser; returns what metrics.jsonl records of it."""
    rng = np.random.default_rng([config.seed, 1, state.step])
    long = state.step % _LONG_EVERY == _LONG_EVERY - 1
    rows, length = (config.rows // _LONG, config.length * _LONG) if long else (config.rows, config.length)
    texts = batch(rng, tokenizer, rows, length, config.context, long=long)
    rate = cosine(config.learning_rate, config.warmup, config.steps, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.model.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16 and has_bf16()):
        nats_RL = token_losses(state.model, texts)
    weight_RL = texts.weight[:, 1:]
    loss = (nats_RL * weight_RL).sum() / weight_RL.sum()
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.step += 1
    answers = nats_RL.detach()[weight_RL == 1.0]
    line = {"step": state.step, "loss": float(loss.detach()), "lr": rate, "grad_norm": float(norm)}
    parts = {"answers": answers, "context": nats_RL.detach()[(weight_RL > 0) & (weight_RL < 1.0)]}
    return line | {name: float(nats.mean()) for name, nats in parts.items() if len(nats)}


def token_losses(model: LlamaForCausalLM, texts: TextBatch) -> Tensor:
    """(R, L - 1) nats of each token but the first, each document by itself."""
    said_RLV = model(input_ids=texts.ids, position_ids=texts.position, use_cache=False).logits
    flat = F.cross_entropy(said_RLV[:, :-1].float().flatten(0, 1), texts.ids[:, 1:].flatten(), reduction="none")
    return flat.reshape(texts.ids.shape[0], -1)


def run_steps(
    state: State,
    tokenizer: PreTrainedTokenizerFast,
    config: TextConfig,
    out: Path,
    report: Callable[[dict[str, float]], None],
) -> bool:
    """Train from `state.step` to the end; False when interrupted. Saves on the way, at the end and when interrupted."""
    with interruptible() as interrupted, (out / METRICS).open("a") as metrics:
        while state.step < config.steps and not interrupted():
            began = time.monotonic()
            line = train_step(state, tokenizer, config)
            state.seconds += time.monotonic() - began
            metrics.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
            report(line)
            if state.step % config.save_every == 0:
                metrics.flush()
                save_state(state, out)
        save_state(state, out)
        return state.step >= config.steps and not interrupted()


def save_state(state: State, out: Path) -> None:
    """Write what `load_state` reads, complete or not at all."""
    tensors = {}
    for name, parameter in state.model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    about = {"step": str(state.step), "seconds": f"{state.seconds:.1f}"}
    (out / f"{STATE}.part").write_bytes(save({k: v.contiguous() for k, v in tensors.items()}, about))
    (out / f"{STATE}.part").replace(out / STATE)


def load_state(config: TextConfig, out: Path) -> State:
    """The state that `save_state` wrote; metrics.jsonl is cut back to its step. Raises CheckpointError if damaged."""
    state, path = new_state(config), out / STATE
    try:
        with safe_open(path, "pt") as file, torch.no_grad():
            state.step, state.seconds = int(file.metadata()["step"]), float(file.metadata()["seconds"])
            for name, parameter in state.model.named_parameters():
                parameter.copy_(file.get_tensor(f"model.{name}"))
                if state.step:
                    moments = ("step", "exp_avg", "exp_avg_sq")
                    state.optimizer.state[parameter] = {k: file.get_tensor(f"optimizer.{k}.{name}") for k in moments}
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: damaged ({reason}); train anew with --overwrite") from None
    forget_after(out / METRICS, state.step)
    return state


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
