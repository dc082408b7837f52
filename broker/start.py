"""How every command of ours starts: Ctrl-C is answered in one line already while the libraries are being imported.

So it imports next to nothing itself, and neither does a package's `__init__`, where the console scripts begin.
"""

import importlib
import os
import signal
import sys

_OURS = ("broker", "edge", "backend", "export")


def start(module: str, extra: str = "") -> None:
    """Import the module of a command line, and call its `main`.

    `extra` is the extra of ours that installs what the command needs beyond a device's packages: where one is missing,
    the process ends with a line that says so. Without it, and for a module of our own, the ModuleNotFoundError is
    raised: that is a bug.
    """
    try:
        _start(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not extra or package in ("", *_OURS):
            raise
        sys.exit(f"error: {package} is not installed; pip install '.[{extra}]' in the clone")


def _start(module: str) -> None:
    if answered := signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell wants it ignored
        signal.signal(signal.SIGINT, _leave)
    main = importlib.import_module(module).main
    if answered:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def _leave(*_: object) -> None:
    """End at once: nothing is open yet, and libraries half imported would make an exception into one of theirs."""
    os.write(2, b"interrupted\n")
    os._exit(130)
