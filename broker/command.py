"""How every command of ours speaks: one line per error on stderr, an exit status other than 0, never a traceback."""

import logging
import sys
from typing import Annotated, Any, NoReturn

import typer

from broker.errors import IotlmError

_INTERRUPTED = 130


def new_app(summary: str, *, alone: bool = False) -> typer.Typer:
    """An empty command with the habits that all of ours share. One that stands `alone` has no commands below it."""
    app = typer.Typer(help=summary, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    if not alone:
        app.callback()(_above)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"iotlm {version('iotlm')}")
        raise typer.Exit


def _above(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


def run(app: typer.Typer) -> NoReturn:
    """Run a command line and end the process: 0 done, 1 one of our errors, 2 wrong usage, 130 interrupted.

    What a command knows more of an interruption it says by `typer.Abort(text)`.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    command = typer.main.get_command(app)
    try:
        status = command(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt) as stop:
        _end("; ".join(["interrupted", *map(str, stop.args)]), _INTERRUPTED)
    except IotlmError as error:
        _end(f"error: {error}", 1)
    except OSError as error:
        _end(f"error: {error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        # Wrong usage. Typer brings its own copy of click or uses click itself, by version: known by its habits.
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown, and is the answer
            sys.exit(2)
        _end(f"error: {error.format_message()}{_known(error)}", 2)
    if status == _INTERRUPTED:  # so a newer typer hands on a KeyboardInterrupt
        _end("interrupted", status)
    sys.exit(status)


def _known(error: Any) -> str:
    """The commands that there are, for somebody who named none of them."""
    group: Any = getattr(getattr(error, "ctx", None), "command", None)
    if "No such command" not in error.format_message() or not hasattr(group, "list_commands"):
        return ""
    return f" Commands: {', '.join(group.list_commands(error.ctx))}."


def _end(text: str, status: int) -> NoReturn:
    typer.echo(" ".join(text.split()), err=True)
    sys.exit(status)
