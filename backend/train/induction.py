"""Where a small language model begins: heads that look back, and heads that find what followed the same words.

Copying needs two layers that work together (induction heads: Olsson et al. 2022), which gradient descent finds late
and, in a small model with little text, not at all. So they are there from the start (mimetic initialisation: Trockman
and Kolter 2023), as weights like any others, which training changes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

BACK = 3
"""How many tokens before a place tell it from others."""
_CONSTANT = 3.0  # of the one entry that all word embeddings share, in standard deviations of the others
_SHARP, _MATCH, _LOUD = 12.0, 6.0, 3.0
_FAST, _SLOW = 0.02, 0.012  # radians a token: positions are told by faster entries, contents by slower ones


@torch.no_grad()
def look_back(model: LlamaForCausalLM, seed: int) -> None:
    """Write such heads into the first two layers; into as many as fit, where a model has fewer heads or entries.

    Head k of the first layer sees only the token k + 1 places before, because its queries and keys are the same for all
    words and turned against each other by as many places; each leaves what it saw in a subspace of its own. Heads of
    the second layer compare the newest tokens with those before every place, and pass on what stands where they agree.
    """
    config = model.config
    width, heads = config.hidden_size, config.num_attention_heads
    size = width // heads
    if config.num_hidden_layers < 2:
        return
    half = size // 2
    frequencies = [config.rope_parameters["rope_theta"] ** (-i / half) for i in range(half)]
    slow = [i for i, frequency in enumerate(frequencies) if frequency < _SLOW]
    contents = torch.tensor([*slow, *(i + half for i in slow)], device="cpu")
    back = min(BACK, heads)
    entries = min(len(contents) // back, (width - 1) // (back + 1))
    if entries < 1:
        return
    embedding, spread = model.model.embed_tokens.weight, config.initializer_range
    embedding[:, 0] = spread * _CONSTANT
    basis = _basis(width, seed)
    token, seen = basis[:entries], [basis[entries * (k + 1) : entries * (k + 2)] for k in range(back)]
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    for k in range(back):
        own = slice(k * size, (k + 1) * size)
        query, key = _apart(torch.tensor(frequencies, device="cpu"), k + 1)
        strength = math.sqrt(_SHARP * math.sqrt(size)) / (_CONSTANT / math.sqrt(1 + _CONSTANT**2 / width))
        for projection, vector in ((first.q_proj, query), (first.k_proj, key)):
            projection.weight[own] *= 0.1
            projection.weight[own, 0] = vector * strength
        first.v_proj.weight[own] = 0.0
        first.v_proj.weight[own.start : own.start + entries] = token
        first.o_proj.weight[:, own] = 0.0
        first.o_proj.weight[:, own.start : own.start + entries] = seen[k].T * spread * _LOUD
    wanted_q, wanted_k = torch.zeros(size, width), torch.zeros(size, width)
    for k in range(back):
        rows = contents[k * entries : (k + 1) * entries]
        wanted_q[rows] = (token if k == 0 else seen[k - 1] / _LOUD) * math.sqrt(_MATCH)
        wanted_k[rows] = seen[k] / _LOUD * math.sqrt(_MATCH)
    for head in range(max(1, heads // 2)):
        own = slice(head * size, (head + 1) * size)
        second.q_proj.weight[own] = second.q_proj.weight[own] * 0.1 + wanted_q
        second.k_proj.weight[own] = second.k_proj.weight[own] * 0.1 + wanted_k
        read = basis[torch.randperm(width - 1, generator=_random(seed + head + 1))[:size]]
        second.v_proj.weight[own.start : own.start + len(read)] = read
        second.o_proj.weight[:, own.start : own.start + len(read)] = read.T * spread * _LOUD


def _basis(width: int, seed: int) -> Tensor:
    """(width - 1, width) orthonormal rows, none of which has a part in the shared entry."""
    basis = torch.zeros(width - 1, width)
    basis[:, 1:] = torch.linalg.qr(torch.randn(width - 1, width - 1, generator=_random(seed)))[0]
    return basis


def _apart(frequency_F: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """A query and a key (2 F,) whose product is largest so many places apart (rotary positions: Su et al. 2021)."""
    fast = (frequency_F > _FAST).float()
    query = torch.cat([torch.cos(places * frequency_F) * fast, -torch.sin(places * frequency_F) * fast])
    return query, torch.cat([fast, torch.zeros_like(fast)])


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
