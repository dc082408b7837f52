"""Reading a data set takes up to minutes: what is said meanwhile, on a terminal and in a pipe.

It knows no data set and none of what is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from backend.data.recording import Recordings


def read_aloud(name: str, read: Callable[[Path], Recordings], root: Path | None, console: Console) -> Recordings:
    """The recordings that `read` finds under `root`; the console is told before, and how long it took.

    Without a `root` (simulated sets need none) no folder is named.
    """
    console.print(f"reading {name}{f' in {root}' if root else ''} ...", soft_wrap=True, markup=False, highlight=False)
    began = time.monotonic()
    found = read(root or Path())
    console.print(f"{len(found):,} recordings of {name} in {time.monotonic() - began:.1f} s", highlight=False)
    return found


@contextmanager
def counted(name: str, total: int, console: Console) -> Iterator[Callable[[], None]]:
    """What to call after each of `total` recordings: a bar goes on; where there is no terminal, a line every tenth."""
    from rich.progress import Progress

    done = 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=total)

        def one_more() -> None:
            nonlocal done
            done += 1
            progress.advance(bar)
            if not console.is_terminal and done % max(1, total // 10) == 0:
                console.print(f"{name} {done:,}/{total:,} recordings", highlight=False)

        yield one_more
