"""From results of cells to the figures of the tables: what `tables.json` holds, and what pages and plots are made of.

Everything said of a row follows from the metric of every person left out. It knows nothing of how anything is drawn.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from backend.tasks import TASKS, Classification
from backend.train.tables.declared import IOT_LM, MORE, MULTI, MULTI_MT, STAGE_1, TAKEN_OUT, TOLD, Declared
from backend.train.tables.paper import value
from backend.train.tables.plan import minutes
from backend.train.tables.stages import CONDITIONINGS
from backend.train.tables.statistics import UNKNOWN, Figure, People, difference, figure, spread, verdict

CONSTANT, SHUFFLED = "always the same answer", "shuffled sensors"
FORMAT = 1


def higher_is_better(task: str) -> bool:
    """Whether more of the task's metric is better."""
    return isinstance(TASKS[task], Classification)


def reference(table: str, row: str, rows: Iterable[str]) -> str:
    """The row that another one is compared with: IoT-LM where there is one, else the best trained of its kind."""
    there = list(rows)
    if table == "ablations":
        wanted = [IOT_LM] if row in (*CONDITIONINGS, TOLD) else [STAGE_1]
    elif table in ("2", "3"):
        wanted = ["all"]
    elif table == "4":
        wanted = [f"{IOT_LM}, 0 shots", f"{MULTI_MT}, 0 shots"]
    elif table == "5":
        wanted = [row.removesuffix(TAKEN_OUT)] if row.endswith(TAKEN_OUT) else there[:1]
    elif table == "steps":
        wanted = [row.removesuffix(MORE)]
    else:
        wanted = [IOT_LM, MULTI_MT, MULTI]
    return next((one for one in wanted if one in there), "")


def collect(declared: Declared, out: Path, failed: Mapping[str, str], absent: Mapping[str, str]) -> dict[str, Any]:
    """All figures of the cells that are done; why cells `failed`, and why sets are `absent`."""
    people: dict[tuple[str, str, str, str], dict[str, float]] = {}
    about: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    results = {digest: cell.result(out) for digest, cell in declared.cells.items()}
    disturbed: dict[tuple[str, str, str, str], dict[str, float]] = {}
    gates: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for place in declared.places:
        result, seed = results[place.cell.digest], place.cell.seed
        if result is None:
            continue
        if place.table == "D":
            for condition, columns in result["conditions"].items():
                key = (place.world, place.row, place.column.name, condition)
                disturbed.setdefault(key, {}).update(_of_seed(columns.get(place.column.name, {}), seed))
            if place.column.name in result["gate"]:
                told = result["gate"][place.column.name]
                gates.setdefault((place.world, place.row, place.column.name), []).append(told)
            continue
        found = result["columns"].get(place.column.name)
        if found is None:
            continue
        _note(people, (place.table, place.world, place.row, place.column.name), found["people"], seed)
        for floor, row in (("constant", CONSTANT), ("shuffled", SHUFFLED)):
            if place.table == "1" and place.row == MULTI_MT and floor in found:
                _note(people, ("1", place.world, row, place.column.name), found[floor], seed)
        one = about.setdefault((place.table, place.world, place.row, place.column.name), {"cells": []})
        one["cells"].append(place.cell.digest)
        for fact in ("parameters", "learned", "steps"):
            if fact in result:
                one[fact] = result[fact]
        if found.get("ece") and found.get("calibrated_on") == "validation":
            one.setdefault("ece", []).append(found["ece"])
    took = [result["cpu"] for result in results.values() if result]
    return {
        "format": FORMAT,
        "size": {k: v for k, v in asdict(declared.size).items() if k not in ("encoders", "sets")},
        "machine": _machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cells": {"done": len(took), "of": len(results), "minutes": round(sum(took), 1)},
        "planned": _planned(declared, results),
        "language_models": _language_models(declared),
        "tables": _tables(people, about),
        "disturbances": _disturbances(disturbed),
        "gate": _gates(gates),
        "calibration": _calibration(about),
        "parameters": _parameters(about),
        "lacking": [{"table": t, "row": r, "why": why} for (t, r), why in declared.lacking.items()],
        "not_done": [{"cell": declared.cells[digest].title, "why": why} for digest, why in failed.items()],
        "absent": [{"set": name, "why": why} for name, why in absent.items()],
    }


def _of_seed(people: Mapping[str, float], seed: int) -> dict[str, float]:
    return {f"{seed}/{person}": value for person, value in people.items()}


def _note(
    people: dict[tuple[str, str, str, str], dict[str, float]],
    key: tuple[str, str, str, str],
    found: Mapping[str, float],
    seed: int,
) -> None:
    people.setdefault(key, {}).update(_of_seed(found, seed))


def _machine() -> dict[str, Any]:
    import os

    import torch

    return {"cores": os.cpu_count(), "processor": platform.machine(), "torch": torch.__version__.split("+")[0]}


def _planned(declared: Declared, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By table and kind of cell: how many there are, and what they were planned to and did take."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for digest, cell in declared.cells.items():
        row = found.setdefault((cell.table, cell.row), {"cells": 0, "planned": 0.0, "minutes": 0.0})
        row["cells"] += 1
        row["planned"] += minutes(cell)
        row["minutes"] += results[digest]["cpu"] if results[digest] else 0.0
    return [
        {
            "table": t,
            "row": r,
            "cells": one["cells"],
            "planned": round(one["planned"], 1),
            "minutes": round(one["minutes"], 1),
        }
        for (t, r), one in found.items()
    ]


def _language_models(declared: Declared) -> list[dict[str, Any]]:
    """Which language models the rows have, in the order of their first cells."""
    found: dict[str, dict[str, Any]] = {}
    for cell in declared.cells.values():
        of = None if cell.config is None else cell.config.model.language
        if of is not None:
            size = {k: of.architecture.get(k) for k in ("model_type", "hidden_size", "num_hidden_layers")}
            found.setdefault(of.fingerprint, {"name": Path(of.llm).name, "fingerprint": of.fingerprint, **size})
    return list(found.values())


def _tables(
    people: Mapping[tuple[str, str, str, str], People], about: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in dict.fromkeys(t for t, _, _, _ in people):
        for world in dict.fromkeys(w for t, w, _, _ in people if t == table):
            rows = list(dict.fromkeys(r for t, w, r, _ in people if (t, w) == (table, world)))
            for row in rows:
                for column in dict.fromkeys(c for t, w, r, c in people if (t, w, r) == (table, world, row)):
                    mine = people[table, world, row, column]
                    against = reference(table, row, rows)
                    other = people.get((table, world, against, column)) if against and against != row else None
                    one = _figure(column, mine, other, against)
                    task = column.split("@")[0]
                    if (told := value(table, row, task)) is not None:
                        one["paper"] = told
                    if always := people.get((table, world, CONSTANT, column)):
                        one["beside_constant"] = _verdict(column, difference(mine, always))
                    facts = about.get((table, world, row, column), {})
                    same = (r for r in rows[: rows.index(row)] if _same_model(facts, about, (table, world, r, column)))
                    one["same_as"] = next(same, None)
                    one |= {k: v for k, v in facts.items() if k not in ("ece", "cells")}
                    found.setdefault(table, {}).setdefault(world, {}).setdefault(row, {})[column] = one
    return found


def _same_model(facts: Mapping[str, Any], about: Mapping[Any, Mapping[str, Any]], other: Any) -> bool:
    """Whether two rows have one and the same model of a column in every seed."""
    return bool(facts.get("cells")) and facts["cells"] == about.get(other, {}).get("cells")


def _figure(column: str, mine: People, other: People | None, against: str) -> dict[str, Any]:
    told: dict[str, Any] = {**asdict(figure(mine)), "spread_of_seeds": spread(mine)}
    if other is not None:
        gap = difference(other, mine)
        told["reference"] = {"row": against, "minus_this": _plain(gap), "verdict": _verdict(column, gap)}
    return told


def _plain(gap: Figure | None) -> dict[str, Any] | None:
    return None if gap is None else asdict(gap)


def _verdict(column: str, gap: Figure | None) -> str:
    return verdict(gap, higher_is_better(column.partition("@")[0])) if gap else UNKNOWN


def _disturbances(of: Mapping[tuple[str, str, str, str], People]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (world, row, column, condition), people in of.items():
        if not people:
            continue
        told: dict[str, Any] = asdict(figure(people))
        if condition != "none" and (world, row, column, "none") in of:
            told["change"] = _plain(difference(people, of[world, row, column, "none"]))
        found.setdefault(world, {}).setdefault(row, {}).setdefault(condition, {})[column] = told
    return found


def _gates(of: Mapping[tuple[str, str, str], list[dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (world, row, column), told in of.items():
        ranks = [one["rank"] for one in told if one["rank"] is not None]
        modalities = dict.fromkeys(m for one in told for m in one["modalities"])
        found.setdefault(world, {}).setdefault(row, {})[column] = {
            "rank": _mean(ranks),
            "pairs": sum(one["pairs"] for one in told),
            "modalities": {
                m: {
                    key: _mean([one["modalities"][m][key] for one in told if m in one["modalities"]])
                    for key in ("attribution", "removal")
                }
                for m in modalities
            },
        }
    return found


def _calibration(about: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Of Table 1's rows: the calibration error before and after the temperature, mean over the seeds of which
    validation has people.
    """
    found: dict[str, Any] = {}
    for (table, world, row, column), one in about.items():
        if table == "1" and one.get("ece"):
            means = {key: _mean([e[key] for e in one["ece"]]) for key in ("before", "after", "temperature")}
            found.setdefault(world, {}).setdefault(row, {})[column] = means
    return found


def _parameters(about: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """By table, world and row: parameters of the largest of its models, and those of them that learned."""
    found: dict[str, Any] = {}
    for (table, world, row, _), one in about.items():
        if "parameters" in one:
            there = found.setdefault(table, {}).setdefault(world, {}).setdefault(row, {"parameters": 0, "learned": 0})
            for key in there:
                there[key] = max(there[key], one[key])
    return found


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
