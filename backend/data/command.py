"""`backend data`: list | check | show | instructions: what each prints; the work is in modules of its own.

Heavy imports stand inside the commands, so that `backend --help` answers at once.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from broker.command import new_app

if TYPE_CHECKING:
    from rich.table import Table

    from backend.data.inspect import Holding, Report

data = new_app("List the data sets, check that they are whole, draw a sample, ask questions about them.")

Name = Annotated[str, typer.Argument(help="one of those that `backend data list` names")]
Root = Annotated[
    Path | None,
    typer.Option(help="the set's folder or its parent; simulated sets need none", exists=True, file_okay=False),
]
LABELS = 12
"""Labels that a line of the report names; the rest are counted."""


@data.command("list")
def list_(
    root: Annotated[
        Path | None, typer.Option(help="folder that holds the sets: which are there?", exists=True, file_okay=False)
    ] = None,
) -> None:
    """List the data sets: what they measure and teach, under which licence, and where they are."""
    from rich.console import Console

    from backend.data import DATASETS

    console = Console()
    # A block of lines a set, not a table: cells would be cut, and an address is to be copied whole. Lines are wrapped
    # between words on a terminal, and whole in a pipe, for grep.
    width = console.width if console.is_terminal else sys.maxsize
    for name, row in DATASETS.items():
        lines = {
            "senses": ", ".join(row.modalities),
            "tasks": ", ".join(row.tasks) or "none",
            "masks": ", ".join(row.masks),
            "licence": row.licence,
            "from": row.address or "generated when used",
            "there": "" if root is None else _found(name, root),
        }
        block = [_wrapped(f"  {what:<9}{said}", 11, width) for what, said in lines.items() if said]
        console.print("\n".join((name, *block)), soft_wrap=True, highlight=False, markup=False)
    if root is not None:
        told = "What recordings are of, people or what stands for them, is what training and tests never share."
        console.print(_wrapped(told, 0, width), soft_wrap=True, highlight=False)


def _wrapped(text: str, indent: int, width: int) -> str:
    """Lines of at most `width` where words allow, those after the first indented. No word is broken."""
    left = text[:indent]
    return textwrap.fill(
        text[indent:],
        width,
        initial_indent=left,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _found(name: str, root: Path) -> str:
    """What is there of a set, and what is wrong with it."""
    from backend.data import DATASETS
    from backend.data.inspect import holding, is_there, simulated
    from broker.errors import DataError

    row = DATASETS[name]
    if not row.address:
        return _held(simulated(name), row.unit) + ", generated"
    try:
        return _held(holding(row.read(root)), row.unit)
    except DataError as error:
        return f"cannot be read: {error}" if is_there(name, root) else "no"


def _held(found: Holding, unit: str) -> str:
    """In words: recordings, whom they are of, and how long all of them last, or how many rows they have."""
    recordings = f"{found.recordings:,} recording{'' if found.recordings == 1 else 's'}"
    people = f"{found.people:,} {unit if found.people == 1 else _plural(unit)}"
    rows = f"{found.rows:,} row{'' if found.rows == 1 else 's'}"
    seconds = f"{found.seconds:,.0f} s" if found.seconds >= 1 else f"{found.seconds:.1f} s"
    lengths = [seconds] * bool(found.seconds or not found.rows) + [rows] * bool(found.rows)
    return f"{recordings} of {people}, {' and '.join(lengths)} in all"


def _plural(unit: str) -> str:
    return "people" if unit == "person" else f"{unit}s"


@data.command()
def check(name: Name, root: Root = None) -> None:
    """Read a whole set and say whether it is whole and in its units. The status is 1 where something is wrong."""
    from rich.console import Console

    from backend.data.aloud import counted
    from backend.data.inspect import dataset, inspect, read

    console, errors = Console(), Console(stderr=True)
    recordings = read(name, root, errors)
    with counted(name, len(recordings), errors) as done:
        report = inspect(name, recordings, done)
    row = dataset(name)
    console.print(f"{name}: {_held(report.holding, row.unit)}; {row.licence}", highlight=False, soft_wrap=True)
    if report.short:
        console.print(f"{report.short:,} recordings are shorter than a window", highlight=False)
    if report.left_out:
        told = f"{len(report.left_out):,} are left out, as the set's reader means to, the first: {report.left_out[0]}"
        console.print(told, highlight=False, soft_wrap=True, markup=False)
    for table in (_senses(report), _numbers(report), _truths(report)):
        if table.rows:
            console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    for problem in report.problems:
        typer.echo(f"problem: {' '.join(problem.split())}", err=True)
    if report.problems:
        raise typer.Exit(1)
    console.print("whole: nothing is wrong")


def _senses(report: Report) -> Table:
    """What the streams are like."""
    from rich.box import SIMPLE
    from rich.table import Table

    from broker.modalities import READABLE

    table = Table("modality", title="Streams", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("streams", "seconds", "samples", "windows", "Hz", "useful Hz", "NaN", "pauses"):
        table.add_column(column, justify="right")
    for modality, sense in report.senses.items():
        row = READABLE[modality]
        table.add_row(
            modality,
            f"{sense.streams:,}",
            f"{sense.seconds:,.0f}",
            f"{sense.samples:,}",
            f"{sense.windows:,}",
            sense.hertz(),
            f"{row.min_rate:g}..{row.max_rate:g}",
            f"{100 * sense.missing / max(sense.numbers, 1):.3g} %",
            f"{sense.pauses:,} ({sense.paused_s:,.0f} s)" if sense.pauses else "0",
        )
    return table


def _numbers(report: Report) -> Table:
    """How large the values are, stream by stream."""
    from rich.box import SIMPLE
    from rich.table import Table

    title = "Values, from the lowest stream to the highest"
    table = Table("of", "typically", title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("found", "plausible", "unit"):
        table.add_column(column, no_wrap=True)
    measured = {name: sense.measured for name, sense in report.senses.items()}
    measured |= {name: truth.measured for name, truth in report.truths.items()}
    for what, rules in measured.items():
        for one in rules:
            if one.count:
                rule, found = one.rule, f"{one.lowest:.3g} .. {one.highest:.3g}"
                table.add_row(what, rule.name, found, f"{rule.low:g} .. {rule.high:g}", rule.unit)
    return table


def _truths(report: Report) -> Table:
    """What is known of the windows."""
    import numpy as np
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("task", title="Truth", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("windows", justify="right")
    table.add_column("unknown", justify="right")
    table.add_column("windows by label, or what is known")
    for task, truth in report.truths.items():
        counts = [f"{label} {count:,}" for label, count in truth.labels.most_common()]
        more = [f"and {len(counts) - LABELS} more labels"] if len(counts) > LABELS else []
        known = ", ".join(counts[:LABELS] + more)
        if truth.shares:
            known = f"{len(truth.shares):,} estimates, {100 * np.mean(truth.shares):.0f} % of their numbers"
        table.add_row(task, f"{truth.windows:,}", f"{truth.unknown:,}", known)
    for mask, drawing in report.drawings.items():
        known = "no masks"
        if drawing.shares:
            share, most = 100 * np.mean(drawing.shares), 100 * max(drawing.shares)
            without = drawing.shares.count(0.0)
            known = (
                f"{len(drawing.shares):,} masks, {share:.2g} % of their cells are contact, {most:.2g} % at most; "
                f"{without:,} are empty"
            )
        table.add_row(mask, f"{drawing.windows:,}", f"{drawing.windows - len(drawing.shares):,}", known)
    return table


@data.command()
def show(
    name: Name,
    out: Annotated[Path, typer.Option(help="the picture, PNG", dir_okay=False)],
    root: Root = None,
    recording: Annotated[str | None, typer.Option(help="name of the recording; default: the first")] = None,
    at: Annotated[
        float | None,
        typer.Option(
            help="s from its start, or a row's number where axes are in rows; default: where labels change most"
        ),
    ] = None,
) -> None:
    """Draw a sample of a set: every stream, the labels and the truth, side by side."""
    from rich.console import Console

    from backend.data.inspect import read
    from backend.data.pictures import draw
    from broker.errors import ConfigError

    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: the picture is a PNG; give a name that ends in .png")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it, or name one that is there")
    found = read(name, root, Console(stderr=True))
    chosen = next((one for one in found if recording in (None, one.name)), None)
    if chosen is None:
        names = ", ".join(one.name for one in found[:5])
        raise ConfigError(f"--recording {recording}: {name} has none of that name; it has {names} ...")
    draw(chosen, out, at)
    typer.echo(f"{out}: {chosen.name}")


@data.command()
def instructions(
    out: Annotated[Path, typer.Option(help="file of JSON lines", dir_okay=False)],
    name: Annotated[list[str] | None, typer.Argument(help="sets; all of those that are there if none is named")] = None,
    root: Root = None,
    moments: Annotated[int, typer.Option(help="of each recording at most", min=1)] = 4,
    asked: Annotated[int, typer.Option(help="questions about each moment", min=1)] = 8,
    held_out: Annotated[bool, typer.Option("--held-out", help="in wordings that no training sees")] = False,
    seed: Annotated[int, typer.Option(help="of what is drawn", min=0)] = 0,
) -> None:
    """Write questions about recordings, with facts, right answers and the programs that compute them."""
    from rich.console import Console

    from backend.data import DATASETS
    from backend.data.inspect import dataset, is_there
    from backend.data.questions import write_instructions
    from broker.errors import DataError

    for one in name or ():
        dataset(one)
    there = [one for one in DATASETS if not DATASETS[one].address or (root and is_there(one, root))]
    if not (name or there):
        raise DataError(f"{root}: holds none of the sets that `backend data list` names")
    out.parent.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    counts = write_instructions(
        name or there, root, out, console, moments=moments, asked=asked, held_out=held_out, seed=seed
    )
    for one, count in counts.items():
        typer.echo(f"{one}: {count} questions")
