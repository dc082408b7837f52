"""Fusion: from the tokens of all streams, now and just before, to the logits of every task.

Three ways, selectable and compared: `model` (latent queries attend to all tokens, and a gate per task weighs the
streams), `early` (one transformer over all tokens) and `late` (the gate averages the windows, each by itself). All of
them report one weight per row, which serving publishes as attribution. Nothing here knows of labels or of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FUSIONS = ("model", "early", "late")
PLACEMENTS = (
    "unknown", "wrist", "pocket", "room", "chest", "head", "ankle", "car", "thigh", "hand", "phone", "screen", "panel",
    "face", "above", "front", "roof", "table",
)  # fmt: skip
"""Placements with an embedding of their own; any other name counts as unknown."""


@dataclass(frozen=True)
class FuseBatch:
    """Rows of encoded windows for B decisions, S rows each, padded where `present` is False.

    `tokens` (B, S, K, d); `modality` index, `placement` index and `age` in slots (0 = current) are (B, S) integers;
    `quality` (B, S) is 0..1; `present` (B, S) is bool.
    """

    tokens: Tensor
    modality: Tensor
    placement: Tensor
    age: Tensor
    quality: Tensor
    present: Tensor


@dataclass(frozen=True)
class Fused:
    """Of B decisions: `task` (B, tasks, d), the `latents` (B, Q, d) that they are means of, and the log-`gate`
    (B, tasks, S) of the rows.
    """

    task: Tensor
    latents: Tensor
    gate: Tensor


class Gate(nn.Module):
    """g(task, summary of a row, quality), normalised over the rows that are open to the task."""

    def __init__(self, dim: int, tasks: int, hidden: int = 32) -> None:
        super().__init__()
        self.row = nn.Linear(dim, hidden)
        self.task = nn.Parameter(torch.zeros(tasks, hidden))
        self.score = nn.Linear(hidden, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, summary_BSd: Tensor, quality_BS: Tensor, open_BNS: Tensor) -> Tensor:
        """Log-weights (B, tasks, S); a row that is not `open` to a task gets -inf, a row of low quality little."""
        hidden = torch.tanh(self.row(summary_BSd)[:, None] + self.task[:, None])
        score_BNS = self.score(hidden).squeeze(-1) + quality_BS.clamp_min(1e-3).log()[:, None]
        level_BNS: Tensor = score_BNS.masked_fill(~open_BNS, -torch.inf).log_softmax(-1)
        return level_BNS


class Attention(nn.Module):
    """Multi-head attention with an additive bias, pre-normalised, followed by a feed-forward part."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_x, self.norm_f = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, q_BQd: Tensor, x_BXd: Tensor, bias_BQX: Tensor | None = None) -> Tensor:
        """(B, Q, d): queries that have looked at `x`; `bias` is added to every head's scores."""
        batch, queries, dim = q_BQd.shape
        split = (batch, -1, self.heads, dim // self.heads)
        q = self.query(self.norm_q(q_BQd)).view(split).transpose(1, 2)
        k, v = (part.reshape(split).transpose(1, 2) for part in self.key_value(self.norm_x(x_BXd)).chunk(2, -1))
        scores = q @ k.transpose(-2, -1) / (dim // self.heads) ** 0.5
        if bias_BQX is not None:
            scores = scores + bias_BQX[:, None]
        seen = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, queries, dim)
        y_BQd: Tensor = q_BQd + self.dropout(self.out(seen))
        fed_BQd: Tensor = self.dropout(self.feed(self.norm_f(y_BQd)))
        return y_BQd + fed_BQd


class Adapter(nn.Module):
    """Rows of tokens -> one vector per task, and the weight of every row for that task.

    `senses` (tasks, modalities) bool: what each task looks at, where it is not to look at everything.
    """

    senses: Tensor

    def __init__(
        self,
        *,
        dim: int,
        tokens: int,
        modalities: int,
        tasks: int,
        slots: int,
        placements: int = len(PLACEMENTS),
        fusion: str = "model",
        latents: int = 2,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        senses: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.fusion, self.tasks, self.latents, self.slots = fusion, tasks, latents, slots
        everything = torch.ones(tasks, modalities, dtype=torch.bool)
        self.register_buffer("senses", everything if senses is None else senses, persistent=False)
        self.modality = nn.Embedding(modalities, dim)
        self.placement = nn.Embedding(placements, dim)
        self.age = nn.Embedding(slots + 1, dim)
        self.part = nn.Parameter(torch.zeros(tokens, dim))
        self.missing = nn.Parameter(torch.zeros(dim))
        self.query = nn.Parameter(torch.randn(tasks * latents, dim) * 0.2)
        for table in (self.modality, self.placement, self.age):
            nn.init.normal_(table.weight, std=0.2)
        self.gate = Gate(dim, tasks)
        self.looks = nn.ModuleList(Attention(dim, heads, dropout) for _ in range(layers))
        self.talks = nn.ModuleList(Attention(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def embed(self, batch: FuseBatch) -> Tensor:
        """Tokens (B, S, K, d) that know their modality, placement, age and part of the window."""
        about_BSd = self.modality(batch.modality) + self.placement(batch.placement) + self.age(batch.age)
        x_BSKd: Tensor = batch.tokens + about_BSd[:, :, None] + self.part
        return x_BSKd

    def absent(self, batch: FuseBatch) -> tuple[Tensor, Tensor]:
        """One mask token per modality (B, M, d) and whether it stands: the modality has no row in the current slot."""
        now_BS = batch.present & (batch.age == 0)
        index_M = torch.arange(self.modality.num_embeddings, device=batch.tokens.device)
        here_BM = (now_BS[:, :, None] & (batch.modality[:, :, None] == index_M)).any(1)
        token_Md = self.missing + self.modality(index_M)
        return token_Md.expand(len(here_BM), -1, -1), ~here_BM

    def open(self, batch: FuseBatch) -> Tensor:
        """(B, tasks, S): the rows that each task may look at; all that are present where none is of its senses."""
        senses_BNS = self.senses[:, batch.modality].transpose(0, 1) & batch.present[:, None]
        return senses_BNS | (batch.present[:, None] & ~senses_BNS.any(-1, keepdim=True))

    def forward(self, batch: FuseBatch) -> Fused:
        """What the rows say together."""
        x_BSKd = self.embed(batch)
        gate_BNS = self.gate(x_BSKd.mean(2), batch.quality, self.open(batch))
        if self.fusion == "late":
            # Normalised after the average, which leaves little of what tells windows apart.
            task_BNd = self.norm(gate_BNS.exp() @ batch.tokens.mean(2))
            return Fused(task_BNd, task_BNd, gate_BNS)
        absent_BMd, stands_BM = self.absent(batch)
        x_BXd = torch.cat([x_BSKd.flatten(1, 2), absent_BMd], 1)
        blind_BX = torch.cat([~batch.present.repeat_interleave(x_BSKd.shape[2], 1), ~stands_BM], 1)
        z_BQd = self.query.expand(len(x_BXd), -1, -1)
        mix = self._early if self.fusion == "early" else self._model
        z_BQd, gate_BNS = mix(z_BQd, x_BXd, blind_BX, gate_BNS)
        z_BQd = self.norm(z_BQd)
        return Fused(z_BQd.unflatten(1, (self.tasks, self.latents)).mean(2), z_BQd, gate_BNS)

    def _model(self, z_BQd: Tensor, x_BXd: Tensor, blind_BX: Tensor, gate_BNS: Tensor) -> tuple[Tensor, Tensor]:
        """Latents look at all tokens through the gate, then talk among themselves, layer by layer."""
        rows = gate_BNS.shape[-1]
        parts = (x_BXd.shape[1] - self.modality.num_embeddings) // rows
        count_BN1 = (gate_BNS > -torch.inf).sum(-1, keepdim=True)
        level_BNS = gate_BNS + count_BN1.clamp_min(1).log()  # an even gate is no bias at all
        bias_BNX = F.pad(level_BNS.repeat_interleave(parts, 2), (0, self.modality.num_embeddings))
        bias_BNX = bias_BNX.masked_fill(blind_BX[:, None], -torch.inf)
        bias_BQX = bias_BNX.repeat_interleave(self.latents, 1)
        for look, talk in zip(self.looks, self.talks, strict=True):
            z_BQd = look(z_BQd, x_BXd, bias_BQX)
            z_BQd = talk(z_BQd, z_BQd)
        return z_BQd, gate_BNS

    def _early(self, z_BQd: Tensor, x_BXd: Tensor, blind_BX: Tensor, gate_BNS: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and tokens in one transformer; the published weights are those of rows by quality alone."""
        queries = z_BQd.shape[1]
        x_BXd = torch.cat([z_BQd, x_BXd], 1)
        bias_B1X = torch.zeros_like(x_BXd[:, None, :, 0])
        bias_B1X = bias_B1X.masked_fill(F.pad(blind_BX, (queries, 0))[:, None], -torch.inf)
        for layer in (*self.looks, *self.talks):
            x_BXd = layer(x_BXd, x_BXd, bias_B1X)
        return x_BXd[:, :queries], gate_BNS
