"""`python -m export [CHECKPOINT] OUT`: typer glue; what it does is in `bundle`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.command import new_app, run
from broker.errors import ConfigError

app = new_app("Export a checkpoint's encoders for devices, and prove that they equal the originals.", alone=True)


@app.command()
def export(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="[CHECKPOINT] OUT", help="folder of a checkpoint (default: the bundled); folder to write"
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="folder of real recordings to prove on; default: simulated", exists=True, file_okay=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace files that exist")] = False,
    tolerance: Annotated[float, typer.Option(help="largest difference of fp32 from torch", min=0)] = 1e-4,
    max_loss: Annotated[float, typer.Option(help="largest loss of a task's metric by int8", min=0)] = 0.02,
) -> None:
    """Write every encoder as .onnx in fp32 and in int8, and parity.json. What fails its proof is not written."""
    if len(folders) > 2:
        raise ConfigError(f"{len(folders)} folders given; python -m export [CHECKPOINT] OUT takes one or two")
    import onnxscript  # noqa: F401  torch would ask for it late, and in words of its own

    from backend.checkpoint import load_checkpoint
    from export import bundle
    from export.parity import gather

    *given, out = folders
    checkpoint = load_checkpoint(given[0] if given else None)
    bundle.require_room(out, checkpoint.encoders, force)
    kind = f"recordings in {data}" if data else "simulated recordings"
    typer.echo(f"exporting {', '.join(checkpoint.encoders)}; proving on {kind} takes some minutes")
    files = bundle.build(checkpoint, typer.echo)
    found = gather(checkpoint, data, typer.echo)
    report = bundle.prove(checkpoint, files, found, bundle.Bounds(tolerance, max_loss), typer.echo)
    _show(report)
    bundle.write(files, report, out)
    typer.echo(f"{len(report['encoders']) * len(files)} encoders and {bundle.REPORT} in {out}")


def _show(report: Mapping[str, Any]) -> None:
    for name, why in report["unused"].items():
        typer.echo(f"not used: {name} ({why})")
    for name, people in report["windows"].items():
        typer.echo(f"proven on {name}: {people}")
    for about in report["encoders"].values():
        for precision in ("fp32", "int8"):
            one = about[precision]
            typer.echo(
                f"{one['file']:22} {one['bytes'] / 1e6:5.2f} MB  {one['windows']} windows, "
                f"largest difference {one['tokens']:.2g}, rms {one['tokens_rms']:.2g}"
            )
    for row in report["tasks"]:
        changes = ", ".join(f"{p} {row[p]['change']:+.4f} (same {row[p]['same']:.1%})" for p in ("fp32", "int8"))
        typer.echo(f"{row['dataset']} {row['task']}: {row['metric']} {row['torch']:.4f}, {changes}, n {row['n']}")


def main() -> None:
    """Run the command line, and end the process."""
    run(app)
