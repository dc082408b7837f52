"""How far long work is, on stderr: a bar on a terminal, and a plain line every few seconds where nobody watches live.

It asks the work for its standing and refuses to know what the work is.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

_BAR_S = 0.2
_LINE_S, _RAREST_S = 10.0, 3600.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far work is, in words, and in numbers for the bar: `done` of `total`, None where nobody knows the total."""

    text: str
    done: float = 0.0
    total: float | None = None


@contextlib.asynccontextmanager
async def shown(standing: Callable[[], Standing], every_s: float = _LINE_S) -> AsyncIterator[None]:
    """Show how far the work in this block is, as long as it takes.

    Lines of a pipe come every `every_s` seconds; of work without a known end ever more rarely, down to one an hour.
    """
    task = asyncio.create_task(_bar(standing) if sys.stderr.isatty() else _lines(standing, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _lines(standing: Callable[[], Standing], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        now = standing()
        print(now.text, file=sys.stderr, flush=True)  # noqa: T201 (progress is no log)
        if now.total is None:
            every_s = min(2 * every_s, _RAREST_S)


async def _bar(standing: Callable[[], Standing]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(20), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, _logs_above():
        bar = progress.add_task("")
        while True:
            now = standing()
            progress.update(bar, description=now.text, completed=now.done, total=now.total)
            await asyncio.sleep(_BAR_S)


@contextlib.contextmanager
def _logs_above() -> Iterator[None]:
    """Send log lines through the bar's stderr, which writes above it: handlers keep the stream they began with."""
    handlers = [each for each in logging.root.handlers if isinstance(each, logging.StreamHandler)]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
