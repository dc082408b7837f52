"""`backend`: train | eval | info | data | serve | demo. Only typer glue; each command's body is a module of its own.

Heavy imports stand inside the commands, so that `backend --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.data.command import data
from backend.demo.command import demo
from backend.serve.command import serve
from backend.train.command import train
from broker.command import new_app, run

app = new_app("Train, measure and serve the sensor model.")
app.command()(serve)
app.command()(demo)
app.add_typer(data, name="data")
app.add_typer(train, name="train")


@app.command("eval")
def evaluate(
    dataset: Annotated[str, typer.Option(help="one of those that `backend data list` names")],
    root: Annotated[Path, typer.Option(help="the dataset's folder or its parent", exists=True, file_okay=False)],
    json_path: Annotated[Path | None, typer.Option("--json", help="file for the whole report", dir_okay=False)] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="folder of a checkpoint; default: the bundled")] = None,
) -> None:
    """Measure a checkpoint on every recording under a folder."""
    import json

    from rich.console import Console

    from backend.checkpoint import load_checkpoint
    from backend.train.examine import examine, figures, optimistic

    report = examine(dataset, root, load_checkpoint(checkpoint), Console(stderr=True))
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(report, indent=1) + "\n")
    for one in (report, *report.get("tasks", {}).values()):
        typer.echo(f"{dataset} {figures(one)}")
    if warning := optimistic(report):
        typer.echo(f"{dataset} {warning}")


@app.command()
def info(
    checkpoint: Annotated[Path | None, typer.Argument(help="folder of a checkpoint; default: the bundled")] = None,
) -> None:
    """Show what a checkpoint decides, with which labels and thresholds, and what it learned from."""
    from rich.console import Console

    from backend.checkpoint import load_checkpoint
    from backend.info import show

    show(load_checkpoint(checkpoint), Console())


def main() -> None:
    """Run the command line, and end the process."""
    run(app)


if __name__ == "__main__":
    main()
