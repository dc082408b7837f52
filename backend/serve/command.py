"""The command line of `backend serve`: flags to settings. It knows nothing of what they do."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="serve.toml; backend/serve/README.md lists all settings.")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="HOST or HOST:PORT of the broker.")] = None,
    site: Annotated[str | None, typer.Option(help="Only this site; + for all.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="NAME=DEVICE,DEVICE: devices fused together; may be repeated.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Publish this task only; may be repeated. All of the model's if left out.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of a model; the bundled one if left out.")] = None,
    llm: Annotated[
        str | None,
        typer.Option(help="Where the language model lies that the checkpoint refers to; none: do without one."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where the model computes: cpu, cuda ...")] = None,
    store: Annotated[str | None, typer.Option(help="Database: a file, or an SQLAlchemy URL.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Address of the HTTP API.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of the HTTP API; 0 takes a free one.")] = None,
    batch: Annotated[int | None, typer.Option(help="Most moments in one batch.")] = None,
    lateness: Annotated[float | None, typer.Option(help="Seconds that a moment waits for a silent stream.")] = None,
    idle: Annotated[float | None, typer.Option(help="Seconds of silence after which open moments close.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log nothing while all is well.")] = False,
) -> None:
    """Turn frames into events until Ctrl-C: MQTT in, MQTT out, HTTP for metrics, health and replay of events."""
    from backend.serve.config import load
    from backend.serve.server import serve as run
    from broker.errors import ConfigError
    from edge.config import parse_address

    flags: dict[str, Any] = {
        "site": site,
        "tasks": task or None,
        "checkpoint": str(checkpoint) if checkpoint else None,
        "llm": llm,
        "device": device,
        "store.url": f"sqlite:///{store}" if store and "://" not in store else store,
        "http.host": http_host,
        "http.port": http_port,
        "batch.size": batch,
        "lateness_s": lateness,
        "idle_s": idle,
    }
    if broker:
        flags["broker.host"], flags["broker.port"] = parse_address(broker)
    if group:
        pairs = [text.partition("=") for text in group]
        if bad := [name for name, _, members in pairs if not members]:
            raise ConfigError(f"--group {bad[0]!r}: write NAME=DEVICE,DEVICE")
        flags["groups"] = {name: {"devices": members.split(",")} for name, _, members in pairs}
    if not quiet:
        for name in ("backend", "broker"):
            logging.getLogger(name).setLevel(logging.INFO)
    settings = load(config, {name: value for name, value in flags.items() if value is not None})
    asyncio.run(run(settings, typer.echo))
