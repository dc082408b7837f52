"""Doing cells: each after those that it needs, in several processes of one thread each; what is done stays done.

A cell that cannot be done (a set that is not at hand) is told with its reason, and those that need it are left out.
Ctrl-C ends steps in progress and saves them. It knows nothing of what a cell is about.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from backend.train.tables.cells import Cell, Work, do
from backend.train.tables.declared import Declared
from backend.train.tables.people import Amount, People
from backend.train.tables.plan import minutes
from broker.errors import ConfigError, IotlmError

T = TypeVar("T")


class _Here(Executor):
    """One job: in this very process, at once."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except IotlmError as error:
            future.set_exception(error)
        return future


_work: Work | None = None
_busy = False


def _begin(out: Path, amount: Amount, root: Path | None) -> None:
    """What a process of its own starts with. Ctrl-C reaches all of them; one that waits for work lets it pass."""
    global _work  # noqa: PLW0603
    import torch

    torch.set_num_threads(1)
    _work = Work(out, People(out / "data", amount, root))
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, _: FrameType | None) -> None:
    if _busy:
        raise KeyboardInterrupt


def _do_there(cell: Cell) -> str | None:
    """Do a cell in a process of its own; None if it was interrupted."""
    global _busy  # noqa: PLW0603
    assert _work is not None
    _busy = True
    try:
        do(cell, _work, lambda line: None)
    except KeyboardInterrupt:
        return None
    finally:
        _busy = False
    return cell.digest


@dataclass
class Done:
    """What came of it: by digest of a cell, why it was not done."""

    failed: dict[str, str] = field(default_factory=dict)


def run(declared: Declared, out: Path, root: Path | None, jobs: int, console: Console) -> Done:
    """Do all cells that are not done.

    Raises KeyboardInterrupt when interrupted; everything that is done, and every step, is kept.
    """
    todo = {digest: cell for digest, cell in declared.cells.items() if cell.result(out) is None}
    standing = _Standing(len(declared.cells), len(declared.cells) - len(todo), todo, jobs)
    done, running = Done(), dict[Future[Any], Cell]()
    with _executor(out, declared.size.amount, root, jobs) as (executor, task), _bar(console, standing) as tell:
        while todo or running:
            while hopeless := _hopeless(todo, declared, done):
                done.failed |= hopeless
                for digest in hopeless:
                    del todo[digest]
            for cell in _ready(declared, todo, running):
                if len(running) == jobs:
                    break
                del todo[cell.digest]
                running[executor.submit(task, cell)] = cell
            if not running:
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                cell = running.pop(future)
                try:
                    if future.result() is None:
                        raise KeyboardInterrupt
                except BrokenExecutor:
                    raise ConfigError(
                        f"--jobs {jobs}: a process was ended, perhaps for lack of memory; use less"
                    ) from None
                except IotlmError as error:
                    done.failed[cell.digest] = str(error)
                standing.finish(cell)
                tell(cell, done.failed.get(cell.digest))
    return done


def _ready(declared: Declared, todo: dict[str, Cell], running: dict[Future[Any], Cell]) -> list[Cell]:
    """Cells of which all that they need is done."""
    waiting = {*todo, *(cell.digest for cell in running.values())}
    return [cell for cell in todo.values() if not any(n.digest in waiting for n in declared.needs(cell))]


def _hopeless(todo: dict[str, Cell], declared: Declared, done: Done) -> dict[str, str]:
    """Cells that need what could not be done."""
    found = {}
    for digest, cell in todo.items():
        for needed in declared.needs(cell):
            if needed.digest in done.failed:
                found[digest] = done.failed[needed.digest]
    return found


@contextmanager
def _executor(out: Path, amount: Amount, root: Path | None, jobs: int) -> Any:
    """Something that takes cells, and what to call it with."""
    if jobs == 1:
        work = Work(out, People(out / "data", amount, root))
        yield _Here(), lambda cell: do(cell, work, lambda line: None)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, context, _begin, (out, amount, root))
    try:
        yield executor, _do_there
    except BaseException:
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGINT)
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Standing:
    """How far it is, and how long the rest takes: planned minutes, corrected by what the finished cells took."""

    def __init__(self, total: int, done: int, todo: dict[str, Cell], jobs: int) -> None:
        self.total, self.done, self.jobs = total, done, jobs
        self.left = sum(map(minutes, todo.values()))
        self.planned, self.began = 0.0, time.monotonic()

    def finish(self, cell: Cell) -> None:
        """Count one."""
        self.done += 1
        self.planned += minutes(cell)
        self.left -= minutes(cell)

    @property
    def remaining(self) -> float:
        """Minutes."""
        taken = (time.monotonic() - self.began) / 60
        pace = taken / self.planned if self.planned > 0.5 else 1.0 / self.jobs
        return max(self.left, 0.0) * pace


@contextmanager
def _bar(console: Console, standing: _Standing) -> Any:
    """A bar over cells; where there is no terminal, a line for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("cells", total=standing.total, completed=standing.done, left="")

        def tell(cell: Cell, failed: str | None) -> None:
            left = f"about {standing.remaining:.0f} min left"
            progress.update(bar, completed=standing.done, left=left, description=f"{cell.title}")
            if failed or not console.is_terminal:
                what = f"not done: {failed}" if failed else left
                console.print(
                    f"[{standing.done}/{standing.total}] {cell.title}: {what}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )

        yield tell
