"""The page of the tables: Markdown, made of `tables.json`: every figure and every verdict is computed.

Who is better follows from intervals of paired differences; the paper's numbers stand in tables of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from itertools import product
from typing import Any

from backend.tasks import TASKS
from backend.train.tables.collect import CONSTANT, SHUFFLED, higher_is_better
from backend.train.tables.columns import COLUMNS, TASK_NAMES, WORLDS
from backend.train.tables.declared import ABLATED, LONG, TABLE_1
from backend.train.tables.paper import PAPER
from backend.train.tables.rows import FULL, LONGER, SMOKE
from backend.train.tables.statistics import BETTER, SAME, WORSE

TITLES = {
    "1": "Table 1: methods",
    "2": "Table 2: share of senses (one task)",
    "3": "Table 3: share of tasks (all senses of each)",
    "4": "Table 4: zero and few shots on what was held out whole",
    "5": "Table 5: sizes of the language model",
    "ablations": "Ablations",
    "steps": "Rows that learn longer",
    LONG: "Table 1, all learning longer",
}
NOTES = {
    "5": "A row with its language model taken out answers from the adapter of the same checkpoints, without learning "
    "anew, and is compared with the row that has it.",
    "ablations": f"Of the scene `{ABLATED}` alone. What changes stage 1 is compared with it, what changes the language "
    "model with IoT-LM.",
    "steps": f"Of the simulator, above the same encoders: {LONGER} times the steps of Table 1 in each stage, beside "
    "the row as it stands there.",
    LONG: "The same longer rows beside each other.",
}
"""What a table is of, where it is not all tasks of both worlds."""
UNITS = {"error_cm": "cm", "mae_mm": "mm", "epe_mm": "mm"}
Report = Mapping[str, Any]


def page(report: Report, pictures: Many[str] = ()) -> str:
    """The whole page."""
    parts = [_head(report), _verdicts(report)]
    for table, title in TITLES.items():
        if table in report["tables"] or table in PAPER:
            parts.append(_table(report, table, title, [p for p in pictures if p.startswith(f"tables-{table}-")]))
    parts += [
        _disturbed(report, [p for p in pictures if p.startswith("tables-D-")]),
        _gate(report),
        _calibration(report),
        _cost(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    size, machine, cells = report["size"], report["machine"], report["cells"]
    amount = size["amount"]
    lines = [
        "# The paper's tables, measured anew",
        f'Made by `backend eval --tables`, {report["date"]}, at the size "{size["name"]}": {machine["cores"]} cores '
        f"({machine['processor']}), PyTorch {machine['torch']}, {cells['done']} of {cells['of']} cells done in "
        f"{cells['minutes']:.0f} core-minutes, {size['seeds']} seed{'s' * (size['seeds'] != 1)}. Simulated: "
        f"{amount['people']} people a scene, {amount['seconds']} s each. Recorded: at most {amount['slots']} windows "
        "of each person, or eight of each recording where these are more.",
        f"Encoders of {size['dim']} dimensions are trained once for a world and a seed, by all tasks that each sense "
        f"tells of ({size['encoding']} steps of {size['crops']} crops of {size['slots']} windows for each set), and "
        "stay. The paper trains them with each row; here all rows of a world and seed share them, because of what they "
        "cost, and a row is what is learned above them, from windows as they were recorded: "
        f"{size['steps']} steps for each set that it learns from, IoT-LM and the multisensory multi-task model "
        f"{size['steps'] + size['second']}, of which {size['second']} are IoT-LM's stage 2. So even a row of one task "
        "and one sense has an encoder that other tasks have taught, which narrows what is to be won by many. "
        f"Domain-specific rows have no encoder; the unimodal adapter learns {size['second']} steps above the unimodal "
        "row. Stage 2 learns from the tasks' losses alone, where the paper's learns from words, "
        f"too.{_named(report)}",
        "A figure is the mean over people who are in no training set, each person's own metric (Appendix C), over the "
        "windows in which the task's main sense delivers; in brackets its 95 % interval, by a bootstrap over seeds, "
        "which train anew and leave out different people, and over the people of each. A difference has the wider one "
        "of that interval and of Student's t over the seeds' means, because three seeds say little of how trainings "
        "differ. Without brackets there were fewer than five people. An F1 of events is of people with events. How "
        "many streams a crop keeps, and how long encoders and rows learn, was chosen when the simulator's figures of "
        "all people were known. The parts of `rgbd_7scenes` are stretches of one room, and no people. The paper's "
        "numbers come from other data, larger models and other splits: they are shown, and nothing here claims them.",
    ]
    if size["name"] == SMOKE.name:
        lines.insert(1, "**None of these figures means anything: tiny models saw a few people for a few steps.**")
    missing = [f"- Table {one['table']}, {one['row']}: {one['why']}" for one in report["lacking"]]
    missing += [f"- {one['set']}: {one['why']}" for one in report["absent"]]
    missing += [f"- {one['cell']}: {one['why']}" for one in report["not_done"]]
    if missing:
        lines.append("Not measured:\n\n" + "\n".join(dict.fromkeys(missing)))
    return "\n\n".join(lines)


def _named(report: Report) -> str:
    """Which language models there are, in a sentence; the first is that of all tables but the fifth."""
    told = [
        f"`{one['name']}` ({one['model_type']}, {one['num_hidden_layers']} layers of {one['hidden_size']}, fingerprint "
        f"{one['fingerprint'][:8]})"
        for one in report["language_models"]
    ]
    return f" Language models: {', '.join(told)}." if told else ""


def _verdicts(report: Report) -> str:
    """Where the reference of Table 1 is better, worse, and neither; and what is no better than a constant."""
    lines = ["## Who is better, by paired differences"]
    for table, world in product(("1", LONG), WORLDS):
        against, body, poor = "", [], []
        for row, columns in report["tables"].get(table, {}).get(world, {}).items():
            by: dict[str, list[str]] = {BETTER: [], WORSE: [], SAME: []}
            for column, one in columns.items():
                if row in (CONSTANT, SHUFFLED) or one["same_as"]:
                    continue
                compared = one.get("reference")
                if compared and compared["verdict"] in by:
                    against = compared["row"]
                    by[compared["verdict"]].append(_heading(column))
                if one.get("beside_constant") in (WORSE, SAME):
                    poor.append(f"{row} ({_heading(column)})")
            if any(by.values()):
                body.append([row, *(f"{len(of)}{': ' * bool(of)}{', '.join(of)}" for of in by.values())])
        if against:
            lines.append(f"{world}, {against} beside each other row of {TITLES[table]}, person by person:")
            lines.append(_markdown([f"{against} beside", "better", "worse", "no sign of either"], body))
        if poor:
            lines.append(f"{world}, not shown to be better than always the same answer: {'; '.join(poor)}.")
    if len(lines) == 1:
        return ""
    lines.append(
        "Where two rows have one model, it counts once, for the first of them. Verdicts are each by itself: of forty "
        "where there is no difference, two are expected to say that there is one."
    )
    return "\n\n".join(lines)


def _table(report: Report, table: str, title: str, pictures: Many[str]) -> str:
    lines = [f"## {title}", *([NOTES[table]] if table in NOTES else [])]
    for world in WORLDS:
        rows = report["tables"].get(table, {}).get(world)
        if not rows:
            continue
        order = _order(table, rows)
        columns = [one.name for one in COLUMNS if any(_same(one.name, c) for row in rows.values() for c in row)]
        lines.append(f"### {world}")
        lines.append(_grid(columns, [(row, _cells(rows[row], columns)) for row in order], table, report, world))
        gaps = [(row, _gaps(rows[row], columns)) for row in order if any("reference" in c for c in rows[row].values())]
        if gaps:
            against = {
                row: next(c["reference"]["row"] for c in rows[row].values() if "reference" in c) for row, _ in gaps
            }
            several = len({*against.values()}) > 1
            what = "One row less another" if several else f"{against[gaps[0][0]]}, less each row"
            lines.append(f"{what}, person by person (better, worse, or no sign: neither is shown):")
            named = [(f"{against[row]} less {row}" if several else row, found) for row, found in gaps]
            lines.append(_grid(columns, named, "", report, world))
    if table in PAPER:
        heads = [f"{name} ({_unit(task)})" for task, name in TASK_NAMES.items()]
        numbers = [[row, *("—" if n is None else f"{n:g}" for n in found)] for row, found in PAPER[table].items()]
        lines += ["The paper's:", _markdown(["row", *heads], numbers)]
    lines += [f"![{title}]({name})" for name in pictures]
    return "\n\n".join(lines)


def _order(table: str, rows: Mapping[str, Any]) -> list[str]:
    """Rows in the paper's order, language models by size; floors last."""
    wanted = [*TABLE_1, *PAPER.get(table, {}), *(f"{r}, {n} shots" for r in reversed(TABLE_1) for n in FULL.shots)]
    known = [row for row in dict.fromkeys(wanted) if row in rows]
    rest = [row for row in rows if row not in known]
    if table == "5":
        rest.sort(key=lambda row: max(one["parameters"] for one in rows[row].values()))
    floors = [row for row in rest if row in (CONSTANT, SHUFFLED)]
    return [*known, *(row for row in rest if row not in floors), *floors]


def _same(plain: str, column: str) -> bool:
    return column.rstrip("+") == plain


def _one(columns: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return next((one for column, one in columns.items() if _same(name, column)), None)


def _cells(columns: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    return [_number(name, _one(columns, name)) for name in names]


def _number(column: str, one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "—"
    factor, digits = _scale(column)
    mean = f"{one['mean'] * factor:.{digits}f}"
    if one["low"] is None:
        return f"{mean} (n {one['people']})"
    return f"{mean} [{one['low'] * factor:.{digits}f}, {one['high'] * factor:.{digits}f}]"


def _gaps(columns: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        one = _one(columns, name)
        gap = one.get("reference") if one else None
        if one and one["same_as"]:
            found.append(f"= {one['same_as']}")
            continue
        if not gap or not gap["minus_this"]:
            found.append("—")
            continue
        sign = {BETTER: " better", WORSE: " worse"}.get(gap["verdict"], "")
        factor, digits = _scale(name)
        told, limits = gap["minus_this"], ""
        if told["low"] is not None:
            limits = f" [{told['low'] * factor:+.{digits}f}, {told['high'] * factor:+.{digits}f}]"
        found.append(f"{told['mean'] * factor:+.{digits}f}{limits}{sign}")
    return found


def _scale(column: str) -> tuple[float, int]:
    """What a metric is multiplied by to be shown, and how many digits it has then."""
    task = column.partition("@")[0]
    if higher_is_better(task):
        return 100.0, 1
    return 1.0, 2 if UNITS[TASKS[task].metric] == "cm" else 0


def _unit(task: str) -> str:
    return f"{UNITS.get(TASKS[task].metric, '%')}, {'↑' if higher_is_better(task) else '↓'}"


def _heading(column: str) -> str:
    task, _, dataset = column.partition("@")
    return f"{TASK_NAMES[task]} {dataset}"


def _grid(columns: Many[str], rows: Iterable[tuple[str, list[str]]], table: str, report: Report, world: str) -> str:
    heads = [f"{_heading(column)} ({_unit(column.split('@')[0])})" for column in columns]
    sizes = report["parameters"].get(table, {}).get(world, {}) if table else {}
    more = [] if not sizes else ["parameters"]
    lines = []
    for row, found in rows:
        size = sizes.get(row)
        told = [] if not more else ["" if size is None else f"{size['parameters'] / 1e6:.2f} M"]
        lines.append([row, *found, *told])
    return _markdown(["row", *heads, *more], lines)


def _disturbed(report: Report, pictures: Many[str]) -> str:
    """Appendix D."""
    lines = [
        "## Appendix D: noise, missing and late sensors, less of the past",
        "On the first half of every recording of the people left out, and at least eight windows of it; so `none` need "
        "not be Table 1's figure.",
    ]
    for world, rows in report["disturbances"].items():
        for row, conditions in rows.items():
            names = [one.name for one in COLUMNS if any(one.name in of for of in conditions.values())]
            lines.append(f"### {world}, {row}")
            heads = [f"{_heading(name)} ({_unit(name.split('@')[0])})" for name in names]
            body = [[condition, *_cells(of, names)] for condition, of in conditions.items()]
            lines.append(_markdown(["disturbance", *heads], body))
    lines += [f"![Appendix D]({name})" for name in pictures]
    return "\n\n".join(lines) if report["disturbances"] else ""


def _gate(report: Report) -> str:
    """The gate beside removal."""
    lines = [
        "## The gate beside removal",
        "`gate`: the mean weight that the gate gave a sense. `removal`: by how much the loss grows without it (-log of "
        "the truth's probability, or the distance in the metric's unit). `rank`: Spearman's correlation of the two "
        "over pairs of person and sense, mean over seeds.",
    ]
    body = []
    for world, rows in report["gate"].items():
        for row, columns in rows.items():
            for column, one in columns.items():
                senses = "; ".join(
                    f"{m} {told['attribution']:.2f} / {told['removal']:+.3g}" for m, told in one["modalities"].items()
                )
                rank = "—" if one["rank"] is None else f"{one['rank']:.2f}"
                body.append([world, row, _heading(column), rank, str(one["pairs"]), senses])
    if not body:
        return ""
    return "\n\n".join([*lines, _markdown(["world", "row", "task", "rank", "pairs", "gate / removal by sense"], body)])


def _calibration(report: Report) -> str:
    """Calibration errors."""
    body = [
        [world, row, _heading(column), f"{one['before']:.3f}", f"{one['after']:.3f}", f"{one['temperature']:.2f}"]
        for world, rows in report["calibration"].items()
        for row, columns in rows.items()
        for column, one in columns.items()
    ]
    heads = ["world", "row", "task", "before", "after", "temperature"]
    if not body:
        return ""
    about = "Mean over the seeds that leave people of the set for validation, which the temperature comes from."
    return f"## Calibration error (ECE), before and after the temperature\n\n{about}\n\n{_markdown(heads, body)}"


def _cost(report: Report) -> str:
    """What it was planned to cost, and what it did."""
    body = [
        [one["table"], one["row"], str(one["cells"]), f"{one['planned']:.1f}", f"{one['minutes']:.1f}"]
        for one in report["planned"]
    ]
    total = [
        "",
        "all",
        *(f"{sum(one[key] for one in report['planned']):.0f}" for key in ("cells", "planned", "minutes")),
    ]
    heads = ["table", "row", "cells", "planned, core-minutes", "taken"]
    return f"## Cost\n\n{_markdown(heads, [*body, total])}"


def _markdown(heads: Many[str], rows: Iterable[Many[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
