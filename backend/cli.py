"""`backend`: train | eval | info | data | serve | demo. Only typer glue; each command's body is a module of its own.

Heavy imports stand inside the commands, so that `backend --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from backend.data.command import data
from backend.demo.command import demo
from backend.serve.command import serve
from backend.train.command import train
from broker.command import new_app, run

LLM = "where the checkpoint's language model lies; none: without it"
app = new_app("Train, measure and serve the sensor model.")
app.command()(serve)
app.command()(demo)
app.add_typer(data, name="data")
app.add_typer(train, name="train")


@app.command("eval")
def evaluate(
    dataset: Annotated[str | None, typer.Option(help="one of those that `backend data list` names")] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="the dataset's folder or its parent; simulated ones need none", exists=True, file_okay=False),
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="file for the whole report", dir_okay=False)] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="folder of a checkpoint; default: the bundled")] = None,
    tables: Annotated[bool, typer.Option("--tables", help="train and measure all rows of the paper's tables")] = False,
    data: Annotated[
        Path | None, typer.Option(help="--tables: folder that holds the recorded sets", exists=True, file_okay=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="--tables: folder of the cells and tables", file_okay=False)] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="--tables: tiny models, few people, one seed")] = False,
    jobs: Annotated[int, typer.Option(help="--tables: processes, of one thread each", min=1)] = 1,
    only: Annotated[str, typer.Option(help="--tables: of 1, 2, 3, 4, 5, D, ablations, steps; with commas")] = "",
    worlds: Annotated[str, typer.Option(help="--tables: of simulator, real; with commas")] = "",
    llm: Annotated[
        list[Path] | None, typer.Option(help=f"{LLM}; --tables: a language model, again for Table 5's sizes")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="--tables: tell cells and minutes, and do nothing")] = False,
    publish: Annotated[
        Path | None, typer.Option(help="--tables: folder for copies of tables, page and pictures", file_okay=False)
    ] = None,
) -> None:
    """Measure a checkpoint on every recording under a folder; or with --tables all rows of the paper's tables."""
    from rich.console import Console

    from broker.errors import ConfigError

    alone = {"--dataset": dataset, "--root": root, "--json": json_path, "--checkpoint": checkpoint}
    of_tables = {
        "--data": data, "--out": out, "--smoke": smoke, "--jobs": jobs > 1, "--only": only, "--worlds": worlds,
        "--llm twice": llm and len(llm) > 1, "--plan": plan, "--publish": publish,
    }  # fmt: skip
    for name, value in (alone if tables else of_tables).items():
        if value:
            what = "measures a checkpoint, and --tables trains its own" if tables else "goes with --tables"
            raise ConfigError(f"{name}: {what}; leave one of them out" if tables else f"{name}: {what}")
    console = Console(stderr=True)
    if tables:
        if out is None:
            raise ConfigError("--tables: name the folder of its cells by --out; what is done there is not done again")
        from backend.train.tables.command import measure_tables

        how: dict[str, Any] = {"smoke": smoke, "jobs": jobs, "only": only, "worlds": worlds, "llms": llm or []}
        try:
            measure_tables(out, data, console, **how, planned=plan, publish=publish)
        except KeyboardInterrupt:
            raise typer.Abort(f"what is done is kept in {out}; the same command goes on") from None
        return
    import json

    from backend.checkpoint import load_checkpoint
    from backend.train.examine import examine, figures, in_words, optimistic

    if dataset is None:
        raise ConfigError("eval: name --dataset and --root, to measure a checkpoint; or --tables and --out")
    report = examine(dataset, root, load_checkpoint(checkpoint, str(llm[0]) if llm else None), console)
    if json_path:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(report, indent=1) + "\n")
    for one in (report, *report.get("tasks", {}).values()):
        for line in filter(None, (figures(one), in_words(one))):
            typer.echo(f"{dataset} {line}")
    if warning := optimistic(report):
        typer.echo(f"{dataset} {warning}")


@app.command()
def info(
    checkpoint: Annotated[Path | None, typer.Argument(help="folder of a checkpoint; default: the bundled")] = None,
    llm: Annotated[str | None, typer.Option(help=LLM)] = None,
) -> None:
    """Show what a checkpoint decides, with which labels and thresholds, and what it learned from."""
    from rich.console import Console

    from backend.checkpoint import load_checkpoint
    from backend.info import show

    show(load_checkpoint(checkpoint, llm), Console())


def main() -> None:
    """Run the command line, and end the process."""
    run(app)


if __name__ == "__main__":
    main()
