"""The `demo` command: the glue between a command line and `backend.demo.run`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    scene: Annotated[
        str | None, typer.Option(help="What is simulated: home (if left out), drive or touch.", metavar="NAME")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Play recordings instead: sp_sw_har, CSV, WAV, FLAC, OGG or recorded frames.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of a model; the bundled one if left out.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="MQTT port; 1883, or a free one, if left out.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of metrics and events; 8600, or a free one, if left out.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="End after this long; otherwise at Ctrl-C.")] = None,
) -> None:
    """Run a broker, simulated devices and the backend, and watch what comes: events, estimates, windows."""
    from backend.demo.run import Screen, prepare, run

    console = Screen(highlight=False, markup=False)
    summary = run(prepare(scene, replay, checkpoint), port=port, http_port=http_port, seconds=seconds, console=console)
    console.print(summary, soft_wrap=not console.is_terminal)
