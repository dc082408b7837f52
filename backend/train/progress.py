"""How far a training is: a bar on a terminal, elsewhere a line every tenth of the way. It knows nothing of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def shown(name: str, steps: int, done: int, console: Console) -> Iterator[Callable[[dict[str, float]], None]]:
    """What is to be called with the line of metrics.jsonl after each of `steps` steps, of which `done` are taken."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=steps, completed=done, loss="")

        def report(line: dict[str, float]) -> None:
            progress.update(bar, completed=line["step"], loss=f"loss {line['loss']:.3f}")
            if not console.is_terminal and line["step"] % max(1, steps // 10) == 0:
                console.print(f"{name} step {line['step']}/{steps} loss {line['loss']:.3f}")

        yield report
