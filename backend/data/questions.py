"""Instruction data on disk: questions about recordings, with facts, answers and the programs that compute them.

`backend data instructions` writes a line of JSON for each moment: what is known then (`dialogue.situation.to_json`) and
items about it, whose answers anybody can compute again from that. Training draws its own, endlessly: this is to look
at, to train other models by, and to prove that answers follow from facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from backend.data import DATASETS
from backend.data.aloud import counted, read_aloud
from backend.data.observed import observe
from backend.data.recording import Recording
from backend.dialogue.items import draw
from backend.dialogue.situation import to_json
from backend.tasks import TASKS, Classification
from broker.modalities import MODALITIES


def write_instructions(
    names: Iterable[str],
    root: Path | None,
    out: Path,
    console: Console,
    *,
    moments: int,
    asked: int,
    held_out: bool,
    seed: int,
) -> dict[str, int]:
    """Questions about every recording of the sets into a file; how many there are of each set.

    Raises DataError where a set is not there.
    """
    rng, counts = np.random.default_rng([seed, 97]), dict[str, int]()
    part = out.with_name(f"{out.name}.part")
    with part.open("w") as file:
        for name in names:
            recordings = read_aloud(name, DATASETS[name].read, root, console)
            counts[name] = 0
            with counted(f"{name}, asked about,", len(recordings), console) as done:
                for recording in recordings:
                    for line in lines_of(recording, rng, moments, asked, held_out):
                        file.write(json.dumps(line) + "\n")
                        counts[name] += len(line["items"])
                    done()
    part.replace(out)
    return counts


def lines_of(
    recording: Recording, rng: np.random.Generator, moments: int, asked: int, held_out: bool
) -> Iterator[dict[str, Any]]:
    """Some moments of a recording, evenly spread, each with its situation and items."""
    observed, labels = observe(recording, MODALITIES), labels_of_set(recording.dataset)
    if observed is None:
        return
    one, there = observed.sequence, observed.there
    for i in np.unique(there[np.linspace(0, len(there) - 1, min(moments, len(there))).astype(int)]):
        situation = observed.at(int(i), labels)
        items = [item for _ in range(asked) if (item := draw(situation, rng, held_out=held_out)) is not None]
        if items:
            about = {"dataset": one.dataset, "recording": one.name, "person": one.person, "slot": int(i)}
            yield {**about, "situation": to_json(situation), "items": [item.to_json() for item in items]}


def labels_of_set(name: str) -> dict[str, dict[str, str]]:
    """By task, the labels of a data set, in words."""
    found = {}
    for task, outputs in DATASETS[name].tasks.items():
        whole = TASKS[task]
        if isinstance(whole, Classification):
            found[task] = dict(whole.only(outputs).words if outputs else whole.words)
    return found
