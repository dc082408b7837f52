"""`backend`: train | eval | info | data | serve | ask | demo. Only typer glue; each command's body is another module.

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
    dialogue: Annotated[bool, typer.Option("--dialogue", help="ask it about people it has not learned from")] = False,
) -> None:
    """Measure a checkpoint on every recording under a folder; with --dialogue in words; with --tables all rows of the
    paper's tables.
    """
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
    from backend.checkpoint import load_checkpoint
    from backend.train.examine import examine, figures, in_words, optimistic

    if dialogue:
        from backend.train.conversation import line_of, measure_dialogue

        if dataset is not None:
            raise ConfigError(
                "--dataset: --dialogue asks about every set that the checkpoint knows; leave one of them out"
            )
        found = measure_dialogue(load_checkpoint(checkpoint, str(llm[0]) if llm else None), root, console)
        _write(found, json_path)
        typer.echo(line_of(found))
        return
    if dataset is None:
        raise ConfigError(
            "eval: name --dataset and --root, to measure a checkpoint; or --dialogue; or --tables and --out"
        )
    report = examine(dataset, root, load_checkpoint(checkpoint, str(llm[0]) if llm else None), console)
    _write(report, json_path)
    for one in (report, *report.get("tasks", {}).values()):
        for line in filter(None, (figures(one), in_words(one))):
            typer.echo(f"{dataset} {line}")
    if warning := optimistic(report):
        typer.echo(f"{dataset} {warning}")


def _write(report: dict[str, Any], path: Path | None) -> None:
    import json

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")


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


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help='such as "What is the person doing?"')],
    url: Annotated[str, typer.Option(help="where `backend serve` answers")] = "http://127.0.0.1:8600",
    site: Annotated[str | None, typer.Option(help="of the group; not needed where there is only one")] = None,
    group: Annotated[
        str | None, typer.Option(help="whose sensors are asked; not needed where there is only one")
    ] = None,
    sensors: Annotated[str | None, typer.Option(help="DEVICE/STREAM,DEVICE/STREAM: answer from these alone")] = None,
    session: Annotated[
        str | None, typer.Option(help="a name; the next question under it may continue this one")
    ] = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="show what the answer rests on, too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the answer and what it rests on as one JSON object")] = False,
    timeout: Annotated[float, typer.Option(help="seconds that nothing may be heard", min=0.1)] = 60.0,
) -> None:
    """Ask a running backend what its sensors show; the answer is told as it is known."""
    import json

    from backend.ask import Asking, rests_on

    named = {"site": site, "group": group, "sensors": sensors, "session": session}
    asking = Asking(url, question, {name: value for name, value in named.items() if value}, timeout)
    text = ""
    for part in asking.parts():
        text += part
        if not as_json:
            typer.echo(part, nl=False)
    if as_json:
        typer.echo(json.dumps({"answer": text, **asking.rests}, ensure_ascii=False))
        return
    typer.echo()
    if evidence:
        for line in rests_on(asking.rests):
            typer.echo(line)


def main() -> None:
    """Run the command line, and end the process."""
    run(app)


if __name__ == "__main__":
    main()
