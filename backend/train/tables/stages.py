"""What starts from a trained model, and what differs from the standard in one thing: stage 2, few shots, ablations.

Stage 2 (Eq. 3) and the unimodal adapter (LLaMA-Adapter, B.2) are configurations of the same loop that name a checkpoint
to start from and a language model.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from backend.model.language import LanguageConfig, resolved
from backend.train.batch import DropConfig
from backend.train.config import TrainConfig
from backend.train.tables.rows import Size

WORDS: dict[str, Any] = {"texts": 4, "text_weight": 0.5}
"""Stage 2 that learns answers in words, too: so many in a step, and what they weigh beside the tasks."""


def lacking(llms: Many[Path]) -> str:
    """Why there are no rows with a language model; empty where there are."""
    return "" if llms else "no language model is named; give --llm DIR"


CONDITIONINGS: dict[str, dict[str, Any]] = {
    "gated conditioning": {"conditioning": "gated"},
    "language model frozen": {"tuning": "frozen"},
    "language model tuned whole": {"tuning": "full"},
}
"""What IoT-LM (soft tokens, LoRA) is compared with among the ablations."""


def spoken(config: TrainConfig, llm: Path, conditioning: str = "soft", tuning: str = "lora") -> TrainConfig:
    """The configuration with a language model between adapter and heads."""
    how: dict[str, Any] = {"conditioning": conditioning, "tuning": tuning, "kept": tuning == "full"}
    return replace(config, model=replace(config.model, language=replace(_about(str(llm)), **how)))


@lru_cache
def _about(llm: str) -> LanguageConfig:
    """The language model with its architecture and fingerprint: it is read once for all rows."""
    return resolved(LanguageConfig(llm))


def instructed(config: TrainConfig, size: Size, sets: int, llm: Path, **how: str) -> TrainConfig:
    """Stage 2 of a model of stage 1: its encoders stay, adapter, heads and conditioning learn."""
    told = replace(spoken(config, llm, **how), frees=("adapter", "heads", "language"))
    return replace(told, steps=size.second * sets, learning_rate=1e-3)


def adapter(config: TrainConfig, size: Size, llm: Path) -> TrainConfig:
    """Unimodal adapter: the unimodal model and the language model are frozen, and the gated conditioning learns.

    Appendix B.2 has half the learning rate of the other baselines.
    """
    gated = spoken(config, llm, "gated", "frozen")
    return replace(gated, steps=size.second, learning_rate=config.learning_rate / 2, frees=("language",))


def adapted(config: TrainConfig, size: Size, dataset: str) -> TrainConfig:
    """A few steps over a few labelled windows of a set that was held out; the encoders stay."""
    few = replace(config, datasets={**config.datasets, dataset: 1.0}, steps=size.adapting, learning_rate=1e-4)
    frees = ("adapter", "heads", *(("language",) if config.model.language else ()))
    return replace(few, warmup=0.0, ema=0.9, frees=frees)


def ablations(config: TrainConfig) -> dict[str, TrainConfig]:
    """Stage 1 with one thing changed, by name."""
    whole = DropConfig(whole=0.0, onwards=0.0, windows=0.0, modality=0.0, most=99)
    return {
        "early fusion": replace(config, model=replace(config.model, fusion="early")),
        "late fusion": replace(config, model=replace(config.model, fusion="late")),
        "no modality dropout": replace(config, drop=whole),
        **{f"{rule} balance": replace(config, balance=rule) for rule in ("uncertainty", "fixed")},
    }
