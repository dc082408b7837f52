"""`backend eval --tables`: declare, plan, do, write. What is in a table is told by other modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence as Many
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from backend.train.tables.collect import collect
from backend.train.tables.columns import REAL, SIMULATOR, sets_of
from backend.train.tables.declared import TABLES, Declared, declare
from backend.train.tables.page import page
from backend.train.tables.people import People
from backend.train.tables.plan import minutes
from backend.train.tables.plots import draw
from backend.train.tables.rows import FULL, SMOKE, Size
from backend.train.tables.schedule import run
from broker.errors import ConfigError

REPORT, PAGE = "tables.json", "tables.md"


def parts(option: str, text: str, known: Many[str]) -> list[str]:
    """The names in a list with commas, in the order of `known`; raises ConfigError for one that is not known."""
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if strangers := [name for name in asked if name not in known]:
        raise ConfigError(f"{option} {strangers[0]!r}: choose among {', '.join(known)}")
    if not asked:
        raise ConfigError(f"{option} names nothing; choose among {', '.join(known)}")
    return [name for name in known if name in asked]


def measure_tables(
    out: Path,
    data: Path | None,
    console: Console,
    *,
    smoke: bool = False,
    jobs: int = 1,
    only: str = "",
    worlds: str = "",
    llms: Many[Path] = (),
    planned: bool = False,
    publish: Path | None = None,
) -> dict[str, Any]:
    """Do the cells that are not done, and write `tables.json`, the page and the pictures into `out`.

    With `planned` nothing is done or written: the cells are told with what they cost. `publish` is a folder for copies
    of what is worth keeping: results/tables.json, tables.md and its pictures.

    Raises:
        ConfigError: a table, world or language model that there is none of, or recorded sets without `data`, or none
            of them in it.
        KeyboardInterrupt: it was interrupted; what is done is kept, and the same call goes on.
    """
    everywhere = [SIMULATOR, REAL] if data else [SIMULATOR]
    chosen = parts("--worlds", worlds, (SIMULATOR, REAL)) if worlds else everywhere
    if REAL in chosen and data is None:
        raise ConfigError(f"--worlds {REAL}: its sets are recorded; name their folder by --data, or leave {REAL} out")
    tables = parts("--only", only, TABLES) if only else list(TABLES)
    size, absent = at_hand(SMOKE if smoke else FULL, chosen, out, data)
    for name, why in absent.items():
        console.print(f"left out: {name} ({why})", soft_wrap=True, markup=False, highlight=False)
    if not (data or worlds):
        console.print("the simulator alone: recorded sets are measured, too, with --data DIR", highlight=False)
    declared = declare(size, chosen, tables, llms)
    if planned:
        _tell_plan(declared, out, jobs, console)
        return {}
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / "lock", timeout=0):  # two at once would train the same cells into the same folders
            done = run(declared, out, data, jobs, console)
    except Timeout:
        raise ConfigError(f"--out {out}: another `backend eval --tables` is at work there; wait for it") from None
    report = collect(declared, out, done.failed, absent)
    (out / REPORT).write_text(json.dumps(report, indent=1) + "\n")
    pictures = draw(report, out)
    (out / PAGE).write_text(page(report, pictures))
    console.print(f"{out / PAGE} has the tables, {out / REPORT} every figure", soft_wrap=True, highlight=False)
    if publish is not None:
        _publish(out, publish, pictures)
        console.print(f"copied to {publish}", soft_wrap=True, highlight=False)
    return report


def at_hand(size: Size, worlds: Many[str], out: Path, data: Path | None) -> tuple[Size, dict[str, str]]:
    """The size with the recorded sets that are there, and why others are not.

    Raises ConfigError where none is.
    """
    if REAL not in worlds:
        return size, {}
    wanted, people = sets_of(size.columns(REAL)), People(out / "data", size.amount, data)
    absent = {name: why for name in wanted if (why := people.lacks(name))}
    if len(absent) == len(wanted):
        raise ConfigError(f"--data {data}: holds none of {', '.join(wanted)}; give the folder of the recorded sets")
    if not absent:
        return size, {}
    there = sets_of(one for world in (SIMULATOR, REAL) for one in size.columns(world) if one.dataset not in absent)
    return replace(size, sets=there), absent


def _publish(out: Path, folder: Path, pictures: Many[str]) -> None:
    (folder / "results").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / REPORT, folder / "results" / REPORT)
    for name in (PAGE, *pictures):
        shutil.copyfile(out / name, folder / name)


def _tell_plan(declared: Declared, out: Path, jobs: int, console: Console) -> None:
    """The cells by table and row, with minutes, and what of it is done."""
    shown = Table("table", "row", "world", "cells", "done", "core-minutes")
    rows: dict[tuple[str, str, str], list[float]] = {}
    for cell in declared.cells.values():
        one = rows.setdefault((cell.table, cell.row, cell.world), [0, 0, 0.0])
        one[0] += 1
        one[1] += cell.result(out) is not None
        one[2] += minutes(cell)
    for (table, row, world), (count, done, cost) in rows.items():
        shown.add_row(table, row, world, f"{count:.0f}", f"{done:.0f}", f"{cost:.1f}")
    console.print(shown)
    left = sum(minutes(cell) for cell in declared.cells.values() if cell.result(out) is None)
    console.print(f"{len(declared.cells)} cells; {left:.0f} core-minutes left, {left / jobs:.0f} with --jobs {jobs}")
    for (table, row), why in declared.lacking.items():
        console.print(f"not measured: table {table}, {row}: {why}", soft_wrap=True, markup=False, highlight=False)
