"""Random language models of a few thousand parameters, as folders that transformers reads."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as undo
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 256, "vocab_size": 259,
    "initializer_range": 0.3,  # words that differ: what is frozen can still say something else
}  # fmt: skip
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
KINDS = ("llama", "qwen")


def write_llm(folder: Path, kind: str = "llama", seed: int = 0) -> str:
    """A model of that kind and a tokenizer of bytes; Qwen's has no token that begins a text, as in the original."""
    torch.manual_seed(seed)
    if kind == "llama":
        llm = LlamaForCausalLM(LlamaConfig(**SHAPE, bos_token_id=256, eos_token_id=257, tie_word_embeddings=True))
    else:
        llm = Qwen2ForCausalLM(Qwen2Config(**SHAPE, bos_token_id=None, eos_token_id=257, tie_word_embeddings=False))
    disable_progress_bar()
    llm.save_pretrained(folder)
    letters = pre_tokenizers.ByteLevel.alphabet()
    special = {"<bos>": 256, "<eos>": 257, "<pad>": 258}
    bytes_only = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(sorted(letters))} | special, merges=[]))
    bytes_only.pre_tokenizer, bytes_only.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), undo.ByteLevel()
    named = {"eos_token": "<eos>", "pad_token": "<pad>"} | ({"bos_token": "<bos>"} if kind == "llama" else {})
    words = PreTrainedTokenizerFast(tokenizer_object=bytes_only, **named)
    if kind == "llama":
        words.chat_template = TEMPLATE
    words.save_pretrained(folder)
    return str(folder)
