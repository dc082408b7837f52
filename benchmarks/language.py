"""What does the language model cost on the path of events? Windows per second and latency beside the adapter alone.

    python -m benchmarks.language [--checkpoint RUN] [--llm DIR]

The same model with its language model and without, in turns within one run, on moments of simulated homes: windows that
arrive raw (encoding included), and tokens from devices (fusion and heads alone), one moment at a time and in batches.
`--llm` puts a language model, untrained in what it adds, into a checkpoint that has none: what it costs does not
depend on that. Text is measured besides: tokens per second of answers, one by one and in a batch. Writes
benchmarks/results/language.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.checkpoint import Checkpoint, load_checkpoint
from backend.data.recording import sequence
from backend.data.synthetic import scene_recording
from backend.model.history import Context, History
from backend.model.language import LanguageConfig, resolved
from backend.model.sensorlm import Predictor, SensorModel
from backend.moment import Moment
from backend.tasks import TASKS
from benchmarks.int8 import cpu

RESULT = Path(__file__).parent / "results" / "language.json"
BATCHES = (1, 16, 64)
SEED, SECONDS = 30_000, 40
WITH, WITHOUT = "with language model", "adapter alone"
Measured = dict[str, dict[str, float]]


def conditioned(checkpoint: Checkpoint, llm: str) -> Checkpoint:
    """The checkpoint with a language model that adds nothing yet."""
    config = replace(checkpoint.model.config, language=resolved(LanguageConfig(llm, tuning="frozen")))
    model = SensorModel(config, begin=True)
    model.load_state_dict(checkpoint.model.state_dict(), strict=False)
    return Checkpoint(model.eval(), checkpoint.temperatures, checkpoint.thresholds)


def moments_of(predictor: Predictor) -> list[Moment]:
    """Moments of one simulated home."""
    cut = sequence(scene_recording(SEED, SECONDS))
    assert cut is not None
    known = [(m, tuple(w for w in m.windows if w.modality in predictor.encoders)) for m in cut.moments()]
    return [replace(moment, windows=windows) for moment, windows in known if windows]


def contexts_of(predictor: Predictor, moments: Sequence[Moment]) -> list[Context]:
    """What a decision about each moment sees, encoded beforehand."""
    history, found = History(predictor.slots), []
    for moment in moments:
        history.add(predictor.encode_windows(moment.windows))
        found.append(history.at(moment.slot))
    return found


def in_turns(
    predictor: Predictor, work: Callable[[int], object], batches: range, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each batch with the language model and without, the two next to each other in time."""
    language, taken = predictor.model.language, dict[str, list[float]]({WITH: [], WITHOUT: []})
    for turn in range(rounds):
        for at in batches:
            for name in (WITH, WITHOUT)[:: 1 if turn % 2 else -1]:
                predictor.model.language = language if name == WITH else None
                began = time.perf_counter()
                work(at)
                taken[name].append(time.perf_counter() - began)
    predictor.model.language = language
    return taken


def path(predictor: Predictor, moments: Sequence[Moment], batch: int, rounds: int, *, raw: bool) -> dict[str, Any]:
    """Windows per second, and milliseconds of a batch, of both."""
    contexts = contexts_of(predictor, moments)

    def work(at: int) -> object:
        chosen = slice(at, at + batch)
        if raw:
            predictor.encode_windows([w for moment in moments[chosen] for w in moment.windows])
        return predictor.decide(contexts[chosen])

    work(0)
    starts = range(0, len(moments) - batch + 1, batch)
    windows = sum(len(moment.windows) for at in starts for moment in moments[at : at + batch])
    found: dict[str, Any] = {}
    taken = in_turns(predictor, work, starts, rounds)
    for name, seconds in taken.items():
        found[name] = {
            "windows_per_s": round(windows * rounds / sum(seconds), 1),
            "ms_median": round(float(np.median(seconds)) * 1e3, 2),
            "ms_p95": round(float(np.quantile(seconds, 0.95)) * 1e3, 2),
        }
    ratios = np.array(taken[WITHOUT]).reshape(rounds, -1).sum(1) / np.array(taken[WITH]).reshape(rounds, -1).sum(1)
    return {
        **found,
        "ratio": round(float(np.median(ratios)), 3),
        "ratio_range": [round(float(f(ratios)), 3) for f in (np.min, np.max)],
    }


def text(predictor: Predictor, contexts: Sequence[Context], most: int = 16) -> dict[str, float]:
    """Tokens per second of answers, one by one and all at once; the token that ends an answer is one of them."""
    language = predictor.model.language
    assert language is not None
    prompt = language.tokens(next(iter(TASKS.values())).question)
    with torch.inference_mode():
        latents = predictor.model.adapter(predictor._batch(contexts)).latents
    began = time.perf_counter()
    single = [language.generate(latents[n : n + 1], [prompt], most)[0] for n in range(len(contexts))]
    middle = time.perf_counter()
    batched = language.generate(latents, [prompt] * len(contexts), most)
    ended = time.perf_counter()
    said = sum(map(len, single)) + len(single)
    return {
        "answers": len(single),
        "one_by_one_tokens_per_s": round(said / (middle - began), 1),
        "batched_tokens_per_s": round((sum(map(len, batched)) + len(batched)) / (ended - middle), 1),
    }


def measure(checkpoint: Checkpoint, rounds: int) -> dict[str, Any]:
    """Everything."""
    torch.set_num_threads(1)
    predictor = Predictor(checkpoint)
    language = checkpoint.model.language
    assert language is not None
    moments = moments_of(predictor)
    return {
        "cpu": cpu(),
        "threads": 1,
        "language_parameters": sum(p.numel() for p in language.llm.parameters()),
        "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
        "soft_tokens": checkpoint.model.config.soft_tokens,
        "moments": len(moments),
        "windows_per_moment": round(sum(len(m.windows) for m in moments) / len(moments), 1),
        "tokens": {f"batch {n}": path(predictor, moments, n, rounds, raw=False) for n in BATCHES},
        "raw": {f"batch {n}": path(predictor, moments, n, rounds, raw=True) for n in BATCHES},
        "text": text(predictor, contexts_of(predictor, moments)[:16]),
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder of a checkpoint; the bundled one if left out")
    parser.add_argument("--llm", help="a language model for a checkpoint that has none")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    if options.llm:
        checkpoint = conditioned(checkpoint, options.llm)
    if checkpoint.model.language is None:
        parser.error("the checkpoint has no language model; name one with --llm, or train one with `backend train`")
    found = measure(checkpoint, options.rounds)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    for kind in ("tokens", "raw"):
        for batch, row in found[kind].items():
            pair = ", ".join(f"{name} {row[name]['windows_per_s']} windows/s" for name in (WITH, WITHOUT))
            print(f"{kind}, {batch}: {pair}, ratio {row['ratio']}")
    print(f"text: {found['text']}")


if __name__ == "__main__":
    main()
