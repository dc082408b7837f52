"""How good a small language model is: how well it foretells texts, and how often its answer is right to the letter.

Each figure stands beside a floor: a bigram of tokens, and who repeats the first line. It knows the corpus and its kinds
of questions, and nothing of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from backend.data.corpus import Document, documents
from backend.train.language_text import Written, messages, pack, write

_ANSWER = 128  # tokens
_TOGETHER = 25
_LENGTH = 1024
_BIGRAM_DOCUMENTS = 4000
_HELD_OUT = 2
"""A stream of random numbers that no step draws from."""


def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, count: int) -> dict[str, Any]:
    """The figures over `count` documents of each kind, with new numbers in learned wordings and in held-out ones."""
    bigram = _bigram(tokenizer, seed)
    report: dict[str, Any] = {}
    for i, (name, held_out) in enumerate((("new numbers", False), ("new wordings", True))):
        made = documents(np.random.default_rng([seed, _HELD_OUT, i]), held_out=held_out)
        figures = _foretold(model, tokenizer, bigram, list(islice(made, 2 * count)))
        asked = list(islice(made, 4 * count))
        figures["answers"] |= exact(lambda chats: replies(model, tokenizer, chats), asked)
        report[name] = figures
    return report


def line_of(figures: dict[str, Any]) -> str:
    """The figures of one kind of texts on a line, each with its floor."""
    foretold = f"perplexity {figures['perplexity']:.2f} (bigram {figures['floor']['perplexity']:.1f})"
    bits = f"{figures['bits_per_byte']:.3f} bits per byte (bigram {figures['floor']['bits_per_byte']:.2f})"
    answers = figures["answers"]
    return (
        f"{foretold}, {bits}, answers right to the letter {answers['exact']:.2f} (the first line "
        f"{answers['floor']:.2f}, perplexity {answers['perplexity']:.3f})"
    )


def exact(answer: Callable[[list[list[dict[str, str]]]], list[str]], asked: list[Document]) -> dict[str, Any]:
    """Share of last answers that are right to the letter, by kind, too, and that of who repeats the first line."""
    said = answer([messages(made, len(made.turns))[:-1] for made in asked])
    right = [text == made.turns[-1].answer for text, made in zip(said, asked, strict=True)]
    floor = [made.turns[-1].floor == made.turns[-1].answer for made in asked]
    kinds = np.array([made.turns[-1].kind for made in asked])
    return {
        "n": len(asked),
        "exact": float(np.mean(right)),
        "floor": float(np.mean(floor)),
        "by_kind": {str(kind): round(float(np.mean(np.array(right)[kinds == kind])), 4) for kind in np.unique(kinds)},
    }


@torch.no_grad()
def replies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, chats: list[list[dict[str, str]]]
) -> list[str]:
    """The likeliest answer to each chat, which ends with a question."""
    model.eval()
    texts = []
    for first in range(0, len(chats), _TOGETHER):
        given = tokenizer.apply_chat_template(
            chats[first : first + _TOGETHER], add_generation_prompt=True, padding=True, return_tensors="pt"
        )
        said = model.generate(**given, max_new_tokens=_ANSWER, do_sample=False)
        texts += tokenizer.batch_decode(said[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


@torch.no_grad()
def _foretold(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, bigram: torch.Tensor, made: list[Document]
) -> dict[str, Any]:
    """Perplexity and bits per byte over all tokens, of the model and the bigram; and perplexity of answers alone."""
    from backend.train.language import token_losses

    model.eval()
    nats, floor, of_answers, count, answers, size = 0.0, 0.0, 0.0, 0, 0, 0
    for one in made:
        written = _short(write(one, tokenizer))
        texts = pack(iter([written, written]).__next__, 1, len(written.ids), 0.1, tokenizer.pad_token_id)
        nats_L, weight_L = token_losses(model, texts)[0], texts.weight[0, 1:]
        ids_L = texts.ids[0]
        nats += float(nats_L.sum())
        floor -= float(bigram[ids_L[:-1], ids_L[1:]].sum())
        of_answers += float(nats_L[weight_L == 1.0].sum())
        answers += int((weight_L == 1.0).sum())
        count += len(nats_L)
        size += len(tokenizer.decode(ids_L, skip_special_tokens=True).encode())
    return {
        "n": len(made),
        "perplexity": math.exp(nats / count),
        "bits_per_byte": nats / math.log(2) / size,
        "answers": {"perplexity": math.exp(of_answers / max(1, answers))},
        "floor": {"perplexity": math.exp(floor / count), "bits_per_byte": floor / math.log(2) / size},
    }


def _short(written: Written) -> Written:
    return Written(written.ids[:_LENGTH], written.answers[:_LENGTH])


def _bigram(tokenizer: PreTrainedTokenizerFast, seed: int) -> torch.Tensor:
    """(V, V) log-probability of a token after another: counted, and mixed with how often it is found at all."""
    rng = np.random.default_rng([seed, _HELD_OUT + 1])
    pairs = torch.zeros(len(tokenizer), len(tokenizer))
    for made in islice(documents(rng), _BIGRAM_DOCUMENTS):
        ids = torch.tensor(write(made, tokenizer).ids)
        pairs.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    single = F.normalize(pairs.sum(0) + 1.0, p=1, dim=0)
    return ((pairs + 5.0 * single) / (pairs.sum(1, keepdim=True) + 5.0)).log()
