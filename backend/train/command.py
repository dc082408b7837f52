"""`backend train`: a whole recipe, or one stage of it. What each prints; the work is in modules of its own.

Heavy imports stand inside the commands, so that `backend --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from broker.command import new_app

train = new_app("Train a checkpoint, or with --folds measure a recipe on people left out.", alone=True)

Recipe = Annotated[str | None, typer.Option(help="sp-sw-har, esc10, bundled ...")]
Data = Annotated[Path | None, typer.Option(help="folder that holds the datasets", exists=True, file_okay=False)]
Out = Annotated[Path | None, typer.Option(help="folder of the run", file_okay=False)]
Resume = Annotated[bool, typer.Option("--resume", help="go on where the run in OUT stopped")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="remove the run in OUT and train anew")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="field=value of the recipe")]


@train.callback(invoke_without_command=True)
def whole(
    context: typer.Context,
    recipe: Recipe = None,
    data: Data = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    folds: Annotated[int | None, typer.Option(help="leave people out fold by fold and report the mean")] = None,
    seeds: Annotated[int, typer.Option(help="with --folds: train every fold with as many seeds", min=1)] = 1,
    settings: Settings = None,
) -> None:
    """Train a checkpoint, or with --folds measure a recipe on people left out."""
    if context.invoked_subcommand is not None:
        return
    for name, value in (("--recipe", recipe), ("--data", data), ("--out", out)):
        if value is None:  # not required of the stages, which stand below this command
            context.fail(f"Missing option '{name}'.")
    assert recipe is not None and data is not None and out is not None
    from rich.console import Console

    from backend import recipes
    from backend.train import run as runs
    from broker.errors import ConfigError

    if folds is None and seeds > 1:
        raise ConfigError(f"--seeds {seeds}: goes with --folds; one training has the seed that --set seed=... gives it")
    more = [] if folds is None else [f"folds={folds}"]
    config = recipes.with_settings(recipes.recipe(recipe), [*(settings or []), *more])
    console = Console()
    try:
        if folds is None:
            runs.train(config, data, out, console, resume=resume, overwrite=overwrite)
        else:
            runs.train_folds(config, data, out, console, seeds=seeds, resume=resume, overwrite=overwrite)
    except KeyboardInterrupt as stop:
        raise typer.Abort(str(stop) or runs.kept(out, overwrite=overwrite)) from None


@train.command()
def adapt(
    dataset: Annotated[
        Path, typer.Option(help="folder of LABEL/*.frames, by `edge record`", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="folder for the new checkpoint", file_okay=False)],
    checkpoint: Annotated[Path | None, typer.Option(help="folder of a checkpoint; default: the bundled")] = None,
    task: Annotated[str | None, typer.Option(help="task to teach, where the sensors tell several")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="folder of sets that it learned from, to rehearse; may be repeated", exists=True),
    ] = None,
    words: Annotated[list[str] | None, typer.Option(help='LABEL="a few words", of a new label')] = None,
    overwrite: Overwrite = False,
) -> None:
    """Teach a trained checkpoint new labels, or a device that it has not seen, by a few recordings."""
    from rich.console import Console

    from backend.train.adapt import Order
    from backend.train.adapt import adapt as work
    from broker.errors import ConfigError

    said = {}
    for one in words or []:
        label, equals, text = one.partition("=")
        if not equals or not text.strip() or len(text) > 80:
            raise ConfigError(f"--words {one!r}: write LABEL=words, at most 80 letters")
        said[label] = text.strip()
    order = Order(dataset, out, checkpoint, task, tuple(data or ()), said, overwrite)
    try:
        work(order, Console())
    except KeyboardInterrupt:
        raise typer.Abort(f"nothing was written to {out}; the same command begins anew") from None
