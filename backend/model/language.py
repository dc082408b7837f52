"""A language model conditioned on the adapter: soft tokens go in, a residual for every task's vector or text comes out.

Any `AutoModelForCausalLM` will do. With `soft` conditioning the soft tokens are part of its input (LoRA by peft may
tune it). With `gated` they are none: attention of its own in the top layers looks at them, behind a gate that begins at
zero (paper, section 3.1; Zhang et al. 2023, LLaMA-Adapter), so that the language model says bit for bit what it said
before. Nothing here knows of labels, losses or words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import pydantic.dataclasses
import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from backend.choices import CHECKED, Count, Share
from backend.model.llms import architecture, decoder, embedding, fingerprint, new_llm, read_llm, read_tokenizer
from backend.model.told import OnlyTold
from broker.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SOFT_TOKENS = 32
"""The most that a language model is given of the sensors."""


@pydantic.dataclasses.dataclass(config=CHECKED, frozen=True)
class LanguageConfig:
    """Which language model, and how it is conditioned and tuned.

    `llm`: folder or hub name of an `AutoModelForCausalLM`. `rank`: of LoRA. `top`: how many layers, from the last
    down, are gated. `bypass`: in training, the chance that a decision is made without it, so that the rest can serve
    alone, faster. `kept`: its weights travel in the checkpoint, which then needs `llm` no more. Others are read from
    where `llm` says, and only what was trained beside them is kept. `architecture` is the model's own configuration,
    `fingerprint` tells one that is read again from another (sha256 hex of its word embeddings): see `resolved`.
    """

    llm: str
    conditioning: Literal["soft", "gated"] = "soft"
    tuning: Literal["frozen", "lora", "full"] = "lora"
    rank: Count = 8
    top: Count = 2
    bypass: Share = 0.25
    kept: bool = False
    architecture: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tuning == "full" and not self.kept:
            raise ValueError("tuning is full and kept false: weights that are trained have to be kept; use --keep")
        return self


def resolved(config: LanguageConfig) -> LanguageConfig:
    """The configuration with architecture and fingerprint of what `llm` names.

    Raises:
        CheckpointError: there is no language model.
    """
    if config.architecture:
        return config
    found = read_llm(config.llm)
    return replace(config, architecture=architecture(found), fingerprint=fingerprint(found))


class LanguageModel(nn.Module):
    """The language model between the adapter and the heads.

    Args:
        config: which, and how.
        dim: width d of latents and task vectors.
        tasks: how many tasks there are.
        begin: take the weights from where `config.llm` says, also where the checkpoint is to keep them; those of a
            model that is about to be loaded need not be read.

    Raises:
        CheckpointError: there is no such model, or it cannot be conditioned as asked.
    """

    def __init__(self, config: LanguageConfig, dim: int, tasks: int, *, begin: bool = False) -> None:
        super().__init__()
        self.config = config
        self.llm = new_llm(config.architecture) if config.kept and not begin else read_llm(config.llm)
        if not config.kept and config.fingerprint not in ("", fingerprint(self.llm)):
            raise CheckpointError(
                f"language model {config.llm}: is another than the one that was conditioned ({type(self.llm).__name__} "
                "or its weights differ); give that one, or train stage 2 on this"
            )
        self.tokenizer: PreTrainedTokenizerBase | None = None
        width = self.llm.config.get_text_config().hidden_size
        words = embedding(self.llm).weight.detach()
        size = float(words.float().square().mean().sqrt()) or 1.0
        self.soft = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
        self.about = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
        for projection in (self.soft, self.about):
            nn.init.normal_(cast(nn.Linear, projection[1]).weight, std=size / math.sqrt(dim))  # as large as words are
        self.task = nn.Parameter(torch.randn(tasks, width) * size)
        self.back = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))
        nn.init.zeros_(cast(nn.Linear, self.back[1]).weight)
        nn.init.zeros_(cast(nn.Linear, self.back[1]).bias)
        self.llm.requires_grad_(config.tuning == "full")
        if config.tuning == "lora":
            _with_lora(self.llm, config.rank)
        for weight in self.llm.parameters():
            if weight.requires_grad:  # steps and averages are lost in less than single precision
                weight.data = weight.data.float()
        self.gates = nn.ModuleList()
        if config.conditioning == "gated":
            for layer in _layers(self.llm)[-config.top :]:
                gate = GatedAttention(width, self.llm.config.get_text_config().num_attention_heads)
                layer.self_attn.register_forward_hook(gate.added, with_kwargs=True)
                self.gates.append(gate)
        self.register_state_dict_post_hook(_leave_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_not_missed)  # type: ignore[no-untyped-call]

    def forward(self, latents_BQd: Tensor, task_BNd: Tensor, index: Sequence[int]) -> Tensor:
        """(B, N, d), to be added to the vectors of the tasks `index`: one prefill for all of them.

        A task's token sees the sensors and itself, and not the other tasks: what is asked beside it changes nothing.
        """
        chosen = torch.tensor(index, device=task_BNd.device)
        asked_BNh = self.task[chosen] + self.about(task_BNd)
        soft_BQh = self.soft(latents_BQd)
        first_BPh = self.before(soft_BQh)
        x_BLh = torch.cat([first_BPh, asked_BNh], 1)
        before, tasks = first_BPh.shape[1], len(index)
        sees_LL = torch.ones(before + tasks, before + tasks, dtype=torch.bool, device=x_BLh.device).tril()
        sees_LL[before:, before:] = torch.eye(tasks, dtype=torch.bool, device=x_BLh.device)
        position_1L = torch.arange(before + tasks, device=x_BLh.device).clamp_max(before)[None]
        with self.sensed(soft_BQh):
            dtype = self.llm.dtype
            bias_LL = torch.zeros(sees_LL.shape, dtype=dtype, device=x_BLh.device)
            bias_LL = bias_LL.masked_fill(~sees_LL, torch.finfo(dtype).min)
            hidden_BLh = decoder(self.llm)(
                inputs_embeds=x_BLh.to(dtype),
                attention_mask=bias_LL.expand(len(x_BLh), 1, -1, -1),
                position_ids=position_1L.expand(len(x_BLh), -1),
                use_cache=False,
            ).last_hidden_state
        residual_BNd: Tensor = self.back(hidden_BLh[:, before:].to(task_BNd.dtype))
        if self.training and self.config.bypass:
            passes_B11 = torch.rand(len(residual_BNd), 1, 1, device=residual_BNd.device) >= self.config.bypass
            residual_BNd = residual_BNd * passes_B11
        return residual_BNd

    def loss(
        self, latents_BQd: Tensor | None, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> Tensor:
        """Mean cross-entropy () per token of the answers, each after its own prompt and, with latents, its own sensors
        (paper, Eq. 3).
        """
        soft_BQh = None if latents_BQd is None else self.soft(latents_BQd)
        first_BPh = self.before(soft_BQh, len(prompts))
        rows, labels = [], []
        for first_Ph, prompt, answer in zip(first_BPh, prompts, answers, strict=True):
            words = torch.tensor([*prompt, *answer], device=first_Ph.device)
            rows.append(torch.cat([first_Ph, self.embedded(words)]))
            silent = torch.full((len(first_Ph) + len(prompt),), -100, device=first_Ph.device)
            labels.append(torch.cat([silent, words[len(prompt) :]]))
        x_BLh = pad_sequence(rows, batch_first=True)
        label_BL = pad_sequence(labels, batch_first=True, padding_value=-100)
        there_BL = pad_sequence([torch.ones(len(row), device=row.device, dtype=torch.long) for row in rows], True)
        with self.sensed(soft_BQh):
            logits_BLv = self.llm(
                inputs_embeds=x_BLh.to(self.llm.dtype), attention_mask=there_BL, use_cache=False
            ).logits
        wanted = label_BL[:, 1:]
        return nn.functional.cross_entropy(
            logits_BLv[:, :-1].float().flatten(0, 1), wanted.flatten(), ignore_index=-100
        )

    @torch.inference_mode()
    def generate(
        self,
        latents_BQd: Tensor | None,
        prompts: Sequence[Sequence[int]],
        most: int = 48,
        *,
        cached: bool = True,
        told: Sequence[Sequence[str]] | None = None,
    ) -> list[list[int]]:
        """Greedy answers in tokens, at most `most` each, without the token that ends them.

        Without latents no sensor is seen. What was `told` of each, as lines, is what answers go on as (`OnlyTold`).
        """
        from transformers import LogitsProcessorList

        soft_BQh = None if latents_BQd is None else self.soft(latents_BQd)
        first_BPh = self.before(soft_BQh, len(prompts))
        rows = [
            torch.cat([first_Ph, self.embedded(torch.tensor(prompt, device=first_Ph.device))])
            for first_Ph, prompt in zip(first_BPh, prompts, strict=True)
        ]
        x_BLh = pad_sequence(rows, batch_first=True, padding_side="left")
        there_BL = pad_sequence(
            [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows], True, padding_side="left"
        )
        end = self.end()
        rules = LogitsProcessorList()
        if told is not None:
            rules.append(OnlyTold([self.told(several) for several in told], self.words, 0))
        with self.sensed(soft_BQh):
            said_BL = cast(Any, self.llm).generate(
                inputs_embeds=x_BLh.to(self.llm.dtype),
                attention_mask=there_BL,
                do_sample=False,
                max_new_tokens=most,
                use_cache=cached,
                eos_token_id=end,
                pad_token_id=end,
                logits_processor=rules,
            )
        return [_until(row, end) for row in said_BL.tolist()]

    @property
    def words(self) -> PreTrainedTokenizerBase:
        """The tokenizer: the checkpoint's, or that of `config.llm`."""
        if self.tokenizer is None:
            self.tokenizer = read_tokenizer(self.config.llm)
        return self.tokenizer

    def tokens(self, question: str, lines: str = "", before: Sequence[tuple[str, str]] = ()) -> list[int]:
        """A user's words as a prompt of the model's own kind, by its chat template, where it has one.

        `lines` are what the system says, `before` earlier questions and their answers. No text is read as a token
        that controls the chat.
        """
        chat = [{"role": "system", "content": lines}] if lines else []
        for asked, said in before:
            chat += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        chat.append({"role": "user", "content": question})
        tokenizer = self.words
        for turn in chat:
            turn["content"] = harmless(turn["content"], tokenizer)
        if tokenizer.chat_template is None:  # a turn is a line, so no turn has two
            parts = (
                each["content"] if each["role"] == "system" else " ".join(each["content"].split()) for each in chat
            )
            return list(tokenizer("".join(f"{part}\n" for part in parts), add_special_tokens=False).input_ids)
        written = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        bos = tokenizer.bos_token or ""
        return list(tokenizer(cast(str, written).removeprefix(bos), add_special_tokens=False).input_ids)

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer, and the one that ends it."""
        return [*self.words(text, add_special_tokens=False).input_ids, self.end()]

    def told(self, lines: Iterable[str]) -> list[list[int]]:
        """The tokens of lines: each as a sentence, and as a part of one."""
        return [self.answer(f"{said}.") for line in lines for said in (f"{line[:1].upper()}{line[1:]}", f" {line}")]

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say."""
        return str(self.words.decode(list(tokens), skip_special_tokens=True)).strip()

    @torch.no_grad()
    def merge(self) -> None:
        """Add LoRA's factors to the weights that they belong to, and forget them (Hu et al. 2022)."""
        from peft.tuners.lora import LoraLayer

        for name, module in list(self.llm.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge()
                parent, _, own = name.rpartition(".")
                setattr(self.llm.get_submodule(parent), own, module.get_base_layer())
        self.config = replace(self.config, tuning="frozen")

    @torch.no_grad()
    def settle(self) -> LanguageConfig:
        """End all training: what a checkpoint keeps is merged. The configuration then.

        A model that is read from elsewhere stays as it is, beside its LoRA.
        """
        if not self.config.kept:
            return self.config
        self.tokenizer = self.words
        self.merge()
        self.config = replace(self.config, llm="", tuning="frozen")
        return self.config

    def before(self, soft_BQh: Tensor | None, rows: int = 0) -> Tensor:
        """(B, P, h): what stands before everything: the token that begins a text, and the soft tokens if they are."""
        if soft_BQh is None:
            soft_BQh = self.task.new_zeros(rows, 0, self.task.shape[1])
        soft_BQh = soft_BQh if self.config.conditioning == "soft" else soft_BQh[:, :0]
        begin = self.llm.config.bos_token_id
        if begin is None:
            return soft_BQh
        bos_1h = self.embedded(torch.tensor([begin], device=soft_BQh.device))
        return torch.cat([bos_1h.expand(len(soft_BQh), 1, -1).to(soft_BQh.dtype), soft_BQh], 1)

    def embedded(self, words_L: Tensor) -> Tensor:
        """(L, h) words as the language model takes them in."""
        embedded_Lh: Tensor = embedding(self.llm)(words_L).to(self.task.dtype)
        return embedded_Lh

    def end(self) -> int:
        """The token that ends a text; raises CheckpointError where there is none."""
        end = self.llm.config.eos_token_id
        if end is None:
            raise CheckpointError(
                f"language model {type(self.llm).__name__}: has no token that ends a text; take another"
            )
        return int(end[0] if isinstance(end, list) else end)

    @contextmanager
    def sensed(self, soft_BQh: Tensor | None) -> Iterator[None]:
        """Gates look at these soft tokens meanwhile."""
        for gate in self.gates:
            cast(GatedAttention, gate).memory = soft_BQh
        try:
            yield
        finally:
            for gate in self.gates:
                cast(GatedAttention, gate).memory = None


def harmless(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text with tokens that control a chat taken apart, so that it can only be data."""
    control = _control(tokenizer)
    while control.search(text):  # what was taken apart may have stood between the halves of another
        text = control.sub(_apart, text)
    return text


def _apart(found: re.Match[str]) -> str:
    """Its first sign, which is no blank, and the rest; nothing of a single sign."""
    whole = found[0].strip()
    return f"{whole[0]} {whole[1:]}" if len(whole) > 1 else ""


@lru_cache(maxsize=4)
def _control(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Any token that controls a chat: those of `all_special_tokens` are only some of those that are special, and what
    begins a thought or a call of a tool (`<think>`) often is not even that.
    """
    added = tokenizer.added_tokens_decoder.values()
    marks = {str(one) for one in added if one.special or (len(str(one)) > 1 and re.search(r"[^\w\s]", str(one)))}
    listed = sorted({*tokenizer.all_special_tokens, *marks}, key=len, reverse=True)
    return re.compile("|".join(re.escape(one.strip()) for one in listed if one.strip()) or "(?!)")


class GatedAttention(nn.Module):
    """Attention of a layer's input to the soft tokens, added to what its own attention says, times tanh of a gate.

    One gate per head, zero at first: then exactly nothing is added.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(heads))
        self.memory: Tensor | None = None

    def forward(self, x_BLh: Tensor, memory_BQh: Tensor) -> Tensor:
        """(B, L, h)."""
        split = (len(x_BLh), -1, self.heads, x_BLh.shape[-1] // self.heads)
        q = self.query(x_BLh).view(split).transpose(1, 2)
        k, v = (part.reshape(split).transpose(1, 2) for part in self.key_value(memory_BQh).chunk(2, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v) * self.gate.tanh()[:, None, None]
        added_BLh: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return added_BLh

    def added(self, _: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        """A forward hook of a layer's own attention."""
        if self.memory is None:
            return output
        x_BLh = named["hidden_states"] if "hidden_states" in named else args[0]
        dtype = self.query.weight.dtype
        more_BLh = self(x_BLh.to(dtype), self.memory.to(dtype)).to(x_BLh.dtype)
        if isinstance(output, tuple):
            return (output[0] + more_BLh, *output[1:])
        return output + more_BLh


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """A hook of `state_dict`: what is read from elsewhere is not kept, and what is tied is kept once."""
    assert isinstance(module, LanguageModel)
    start = f"{prefix}llm."
    tied = module.llm.config.tie_word_embeddings
    for name in [name for name in state if name.startswith(start)]:
        if ("lora_" not in name and not module.config.kept) or (tied and name == f"{start}lm_head.weight"):
            del state[name]


def _not_missed(module: nn.Module, keys: Any) -> None:
    """A hook of `load_state_dict`: what `_leave_out` leaves out is not missed."""
    assert isinstance(module, LanguageModel)
    own = module.state_dict().keys()
    found = [name for name in keys.missing_keys if ".llm." in f".{name}" and not any(name.endswith(k) for k in own)]
    for name in found:
        keys.missing_keys.remove(name)


def _until(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _layers(llm: PreTrainedModel) -> list[Any]:
    layers = getattr(decoder(llm), "layers", None)
    if layers is None or not hasattr(layers[0], "self_attn"):
        raise CheckpointError(
            f"language model {type(llm).__name__}: has no layers with self_attn to be gated; use conditioning soft"
        )
    return list(layers)


def _with_lora(llm: PreTrainedModel, rank: int) -> None:
    """Put LoRA beside every linear layer but the last, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"), llm)
