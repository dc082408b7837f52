"""What does a task lose when a sense is missing? One row per task: its metric with all senses, and without each.

    python -m benchmarks.missing [CHECKPOINT]

The checkpoint (the bundled one, unless another is named) answers about simulated people and places that no training
has seen, at every slot at which a stream that the task asks for is left. Truth is that of `backend eval`. Writes
benchmarks/results/missing.json and prints the table of the README.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.checkpoint import load_checkpoint
from backend.data import DATASETS
from backend.model.sensorlm import Predictor
from backend.tasks import TASKS
from backend.train.evaluate import Decided, Encoded, cut_all, decide, encode, headline

RESULT = Path(__file__).parent / "results" / "missing.json"
SIMULATED = tuple(name for name, dataset in DATASETS.items() if dataset.unseen)


def row(predictor: Predictor, encoded: Encoded, dataset: str, name: str) -> dict[str, Any] | None:
    """The metric of one task on one simulated set, by what is missing; None where nothing of it can be answered.

    Without a sense fewer moments may be answered: beside each figure stands that of all senses at the same moments.
    """
    outputs = tuple(o for o in DATASETS[dataset].tasks[name] if o in predictor.tasks[name].outputs)
    senses = {series.modality for one in encoded.sequences for series in one.series} & set(predictor.encoders)
    everything = decide(predictor, encoded, name, outputs)
    if not len(everything.true):
        return None
    task = TASKS[name].only(everything.outputs)
    without: dict[str, dict[str, Any]] = {}
    for sense in sorted(senses - TASKS[name].given_by):
        found = decide(predictor, encoded, name, outputs, keep=lambda w, sense=sense: w.modality != sense)
        there = {*zip(found.recording, found.slot, strict=True)}
        same = np.array([at in there for at in zip(everything.recording, everything.slot, strict=True)], bool)
        without[sense] = {"n": len(found.true)}
        if len(found.true):
            without[sense] |= {
                "value": round(headline(task, found), 4),
                "all": round(headline(task, chosen(everything, same)), 4),
            }
    about = {"metric": task.metric, "all": round(headline(task, everything), 4), "n": len(everything.true)}
    return {**about, "without": without}


def chosen(decided: Decided, which_P: NDArray[np.bool_]) -> Decided:
    """Some of the answers."""
    arrays = ("said", "true", "person", "recording", "slot")
    return replace(decided, **{name: getattr(decided, name)[which_P] for name in arrays})


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Markdown: one row per task and simulated set."""
    yield "| task | scene | metric | all senses | without (all senses at the same moments, where these are fewer) |"
    yield "|---|---|---|---:|---|"
    for name, sets in report["tasks"].items():
        for dataset, found in sets.items():
            said = []
            for sense, one in found["without"].items():
                fewer = f" ({one['all']:.3g})" if 0 < one["n"] < found["n"] else ""
                said.append(f"{sense} " + (f"{one['value']:.3g}{fewer}" if one["n"] else "nothing is asked"))
            yield f"| {name} | {dataset} | {found['metric']} | {found['all']:.3g} | {', '.join(said)} |"


def main() -> None:
    """Measure, write JSON, show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="folder of a checkpoint; default: the bundled one")
    parser.add_argument("--people", type=int, default=4, help="simulated recordings of each scene")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    predictor = Predictor(checkpoint)
    tasks: dict[str, dict[str, Any]] = {}
    for dataset in SIMULATED:
        unseen = DATASETS[dataset].unseen
        assert unseen is not None
        encoded = encode(predictor, cut_all(unseen(Path())[: options.people]))
        for name in DATASETS[dataset].tasks:
            if name in predictor.tasks and (found := row(predictor, encoded, dataset, name)):
                tasks.setdefault(name, {})[dataset] = found
                print(f"{name} on {dataset}: {found['all']}", flush=True)
    report = {"checkpoint": checkpoint.digest, "people": options.people, "tasks": tasks}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
