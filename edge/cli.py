"""The command `edge`: only the glue between a command line and the modules that do the work."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from broker import command

app = command.new_app("A device: sensors in, windows out over MQTT.")

Config = Annotated[Path, typer.Option("--config", "-c", help="Settings of the device; edge/README.md lists them.")]


@app.command()
def run(
    config: Config = Path("edge.toml"),
    broker: Annotated[str | None, typer.Option(help="HOST:PORT of the broker, in place of the settings'.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while all is well.")] = False,
) -> None:
    """Be a device: measure, cut windows, and send them until Ctrl-C."""
    from edge import config as settings
    from edge.run import run as work

    host, port = settings.parse_address(broker) if broker else ("", 0)
    flags = {"broker.host": host, "broker.port": port} if broker else {}
    if not quiet:
        for name in ("edge", "broker"):
            logging.getLogger(name).setLevel(logging.INFO)
    asyncio.run(work(settings.load(config, flags)))


@app.command()
def sensors() -> None:
    """Show what this machine could measure with."""
    from rich.console import Console
    from rich.table import Table

    from edge.sensors.listing import available, host_facts

    table = Table("sensor", "measures", "here", "which, or why not", box=None)
    for row in available():
        table.add_row(row.sensor, ", ".join(row.modalities), "yes" if row.usable else "no", row.detail)
    console = Console(markup=False, emoji=False, highlight=False)  # the cells are data, with brackets and all
    console.print(table)
    console.print(
        f"facts of the device, which any stream may carry (host_facts = true): {host_facts()}", soft_wrap=True
    )


@app.command()
def record(
    out: Annotated[Path, typer.Argument(help="New file, such as walk.frames.")],
    config: Config = Path("edge.toml"),
    seconds: Annotated[float | None, typer.Option(min=0, help="How long; until Ctrl-C if not given.")] = None,
) -> None:
    """Write the frames that the device would send to a file; `edge replay` sends them."""
    from broker.errors import ConfigError
    from edge import config as settings
    from edge.recording import SUFFIX
    from edge.run import record_to

    if out.suffix != SUFFIX:
        raise ConfigError(f"{out}: frames are known by their name; end it in {SUFFIX}, as {out.stem or 'walk'}{SUFFIX}")
    if seconds == 0:
        raise ConfigError("--seconds 0: no window is that short; give more, or leave it out to record until Ctrl-C")
    frames = asyncio.run(record_to(settings.load(config), out, seconds))
    typer.echo(f"{frames} windows in {out}")


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help=".frames, .csv, .wav, .flac, .ogg, .parquet, or a folder of them.")],
    site: Annotated[str, typer.Option(help="Site to play at.")] = "home",
    device: Annotated[
        str | None, typer.Option(help="Play this device only; or the name of one that the recording does not name.")
    ] = None,
    broker: Annotated[str, typer.Option(help="HOST:PORT of the broker.")] = "127.0.0.1:1883",
    speed: Annotated[float, typer.Option(min=0, help="Times real time; 0: as fast as acknowledgements allow.")] = 1.0,
    now: Annotated[bool, typer.Option("--now", help="Move the recording's times to the present.")] = False,
    spool: Annotated[
        Path | None, typer.Option(help="Folder for the state; a replay that was killed goes on from there.")
    ] = None,
    encoder: Annotated[
        list[Path] | None, typer.Option(help="ONNX encoder, of any modality in the recording; may be repeated.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to look for the broker; a backend is waited for without end.")
    ] = 10.0,
    username: Annotated[str | None, typer.Option(help="As the broker wants it.")] = None,
    password: Annotated[str | None, typer.Option(envvar="IOTLM_EDGE_BROKER__PASSWORD", help="Better given so.")] = None,
    ca: Annotated[str | None, typer.Option(help="PEM of the broker's authority; turns TLS on.")] = None,
) -> None:
    """Send a recording, and end when all of it is acknowledged. Its devices play together, each as its own."""
    from broker.topics import check_name
    from edge.config import BrokerConfig, parse_address
    from edge.replay import Replay
    from edge.replay import replay as work
    from edge.run import until_stopped

    host, port = parse_address(broker)
    order = Replay(
        path=path,
        site=check_name(site, "--site"),
        broker=BrokerConfig(host=host, port=port, username=username, password=password, ca=ca),
        device=None if device is None else check_name(device, "--device"),
        speed=speed,
        now=now,
        folder=spool,
        encoders=tuple(encoder or ()),
        timeout_s=timeout,
    )
    sent = asyncio.run(until_stopped(work(order)))
    if sent is None:
        raise typer.Abort
    typer.echo(f"{sent} windows sent and acknowledged")


def main() -> None:
    """Run the command line, and end the process."""
    command.run(app)


if __name__ == "__main__":
    main()
