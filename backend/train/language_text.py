"""Documents as tokens: the tokenizer of the small language model, its chat template, and batches to learn from.

Knows how a document is written down, and what of it counts in the loss; not what documents say, nor the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from backend.data.corpus import Document, documents

PAD, BOS, EOS, USER, ASSISTANT = "<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, BOS, EOS, USER, ASSISTANT)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'user' %}" + USER + "{{ message.content }}"
    "{% elif message.role == 'assistant' %}" + ASSISTANT + "{{ message.content }}{{ eos_token }}"
    "{% else %}{{ message.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
"""What a system says stands before the first question: facts do, and so do soft tokens."""


def train_tokenizer(vocabulary: int, count: int, seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over texts of the corpus. Every digit is a token of its own: numbers are copied and compared."""
    rng = np.random.default_rng([seed, 0])
    bpe = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(parts)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    made = islice(documents(rng), count)
    bpe.train_from_iterator(("\n".join(_texts(one)) for one in made), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _texts(made: Document) -> list[str]:
    return [made.text, *(text for turn in made.turns for text in (turn.question, turn.answer))]


def messages(made: Document, turns: int) -> list[dict[str, str]]:
    """A document with so many of its turns as a chat: the text is what the system says."""
    chat = [{"role": "system", "content": made.text}] if made.text else []
    for turn in made.turns[:turns]:
        chat += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return chat


@dataclass(frozen=True)
class Written:
    """A document as tokens, and which of them are an answer's."""

    ids: list[int]
    answers: list[bool]


def write(made: Document, tokenizer: PreTrainedTokenizerFast) -> Written:
    """As the chat template writes it; only the last answer counts, because what stands before tells no other."""
    bos, eos, user, assistant = tokenizer.convert_tokens_to_ids([BOS, EOS, USER, ASSISTANT])
    parts, counts = [[bos, *_encode(tokenizer, made.text)]], [False]
    for n, turn in enumerate(made.turns, 1):
        parts += [[user, *_encode(tokenizer, turn.question), assistant], [*_encode(tokenizer, turn.answer), eos]]
        counts += [False, n == len(made.turns)]
    ids = [token for part in parts for token in part]
    return Written(ids, [count for part, count in zip(parts, counts, strict=True) for _ in part])


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


@dataclass(frozen=True)
class TextBatch:
    """Documents one after another in rows, each in a place of its own; all are (R, L), R rows of L tokens."""

    ids: Tensor
    position: Tensor
    """From 0 in each document: attention stays within it."""
    weight: Tensor
    """Of each token as something to be foretold; 0 for the first of a document and for padding."""


def batch(
    rng: np.random.Generator, tokenizer: PreTrainedTokenizerFast, rows: int, length: int, context: float
) -> TextBatch:
    """Rows full of new documents. A document that is longer than a row is cut off; one that fits in no row ends it."""
    made = documents(rng)
    return pack(lambda: write(next(made), tokenizer), rows, length, context, tokenizer.pad_token_id)


def pack(draw: Callable[[], Written], rows: int, length: int, context: float, pad: int) -> TextBatch:
    """Documents into rows: tokens of answers count 1, others `context`."""
    ids = np.full((rows, length), pad, np.int64)
    position, weight, filled = np.zeros((rows, length), np.int64), np.zeros((rows, length), np.float32), [0] * rows
    while True:
        written = draw()
        size = min(len(written.ids), length)
        row = next((i for i in range(rows) if filled[i] + size <= length), None)
        if row is None:
            break
        at = slice(filled[row], filled[row] + size)
        ids[row, at], position[row, at] = written.ids[:size], np.arange(size)
        weight[row, at] = np.where(written.answers[:size], 1.0, context)
        weight[row, at.start] = 0.0
        filled[row] += size
    return TextBatch(torch.from_numpy(ids), torch.from_numpy(position), torch.from_numpy(weight))
