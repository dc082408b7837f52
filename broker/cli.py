"""The command `broker`: only the glue between a command line and `broker.server`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from broker import command

app = command.new_app("The MQTT broker that devices and backend meet at.")


@app.command()
def run(
    host: Annotated[
        str, typer.Option(help="Address to listen on; off loopback --password-file is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 1883,
    directory: Annotated[
        Path | None, typer.Option(help="Where the generated configuration and the state live.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="Names and passwords, made by mosquitto_passwd.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM: clients must show a certificate of this authority.")] = None,
    cert: Annotated[Path | None, typer.Option(help="PEM: the broker's certificate; turns TLS on.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM: the broker's private key.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use the demonstration broker even if mosquitto is there.")
    ] = False,
) -> None:
    """Run mosquitto if it is installed, otherwise the embedded broker, until Ctrl-C."""
    from broker import server

    config = server.ServerConfig(directory or server.default_directory(), host, port, password_file, ca, cert, key)
    asyncio.run(server.serve(config, embedded=embedded, announce=typer.echo))


def main() -> None:
    """Run the command line, and end the process."""
    command.run(app)


if __name__ == "__main__":
    main()
