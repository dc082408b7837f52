"""Small pictures of the tables, from `tables.json` alone: figures of every table by task, and Appendix D."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.train.tables.collect import CONSTANT, SHUFFLED, higher_is_better
from backend.train.tables.columns import COLUMNS, TASK_NAMES
from backend.train.tables.page import TITLES, _order, _scale, _unit

DPI = 70
INK, GREY = "#1f4e79", "#999999"


def draw(report: Mapping[str, Any], folder: Path) -> list[str]:
    """Write the pictures; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for table in TITLES:
        for world, rows in report["tables"].get(table, {}).items():
            names.append(f"tables-{table}-{world}.png")
            _rows(rows, table, folder / names[-1])
    for world, rows in report["disturbances"].items():
        names.append(f"tables-D-{world}.png")
        _disturbed(rows, folder / names[-1])
    return names


def _panels(count: int, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    across = min(count, 4)
    down = -(-count // across)
    made = Figure(figsize=(3.2 * across, max(height, 1.7) * down), layout="constrained")
    panels = list(made.subplots(down, across, squeeze=False).ravel())
    for panel in panels[count:]:
        panel.axis("off")
    return made, panels[:count]


def _rows(rows: Mapping[str, Mapping[str, Any]], table: str, path: Path) -> None:
    """A panel for each task: every row's mean and interval."""
    columns = [one.name for one in COLUMNS if any(one.name == c.rstrip("+") for row in rows.values() for c in row)]
    order = _order(table, rows)
    made, panels = _panels(len(columns), 0.6 + 0.17 * len(order))
    for panel, column in zip(panels, columns, strict=True):
        factor, _ = _scale(column)
        task, _, dataset = column.partition("@")
        for y, row in enumerate(reversed(order)):
            one = next((v for c, v in rows[row].items() if c.rstrip("+") == column), None)
            if one is None:
                continue
            colour = GREY if row in (CONSTANT, SHUFFLED) else INK
            if one["low"] is not None:
                panel.plot([one["low"] * factor, one["high"] * factor], [y, y], color=colour, linewidth=1.5)
            panel.plot(one["mean"] * factor, y, "o", color=colour, markersize=4)
        panel.set_yticks(
            range(len(order)), list(reversed(order)) if panel in panels[::4] else [""] * len(order), fontsize=7
        )
        panel.set_title(f"{TASK_NAMES[task]} ({_unit(task).split(',')[0]})\n{dataset}", fontsize=8)
        panel.tick_params(axis="x", labelsize=7)
        panel.grid(axis="x", color="#dddddd", linewidth=0.5)
    made.savefig(path, dpi=DPI)


def _disturbed(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """A panel for each task: how every row's metric stands under each disturbance, in shares of the undisturbed."""
    first = next(iter(rows.values()))
    columns = [one.name for one in COLUMNS if any(one.name in of for of in first.values())]
    conditions = list(dict.fromkeys(c for of in rows.values() for c in of if c != "none"))
    made, panels = _panels(len(columns), 0.6 + 0.14 * len(conditions))
    for panel, column in zip(panels, columns, strict=True):
        for row, of in rows.items():
            whole = of.get("none", {}).get(column)
            there = [(y, of[c][column]) for y, c in enumerate(reversed(conditions)) if column in of.get(c, {})]
            if whole and whole["mean"] and there:
                panel.plot(
                    [one["mean"] / whole["mean"] for _, one in there],
                    [y for y, _ in there],
                    "o",
                    markersize=3,
                    label=row,
                )
        panel.axvline(1.0, color=GREY, linewidth=0.8)
        shown = list(reversed(conditions)) if panel in panels[::4] else [""] * len(conditions)
        panel.set_yticks(range(len(conditions)), shown, fontsize=6)
        task, _, dataset = column.partition("@")
        better = "more is better" if higher_is_better(task) else "less is better"
        panel.set_title(f"{TASK_NAMES[task]} {dataset}\n{better}; 1: undisturbed", fontsize=7)
        panel.tick_params(axis="x", labelsize=7)
    panels[0].legend(fontsize=6)
    made.savefig(path, dpi=DPI)
