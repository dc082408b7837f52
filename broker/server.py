"""`broker run`: a broker on this machine, from one generated configuration file that a person can read.

mosquitto if it is installed; otherwise the embedded broker (amqtt), which is slower, speaks MQTT 3.1.1 only and
forgets everything when it ends: good enough to look around, so it says that it is for demonstration and stays on
loopback. It also sends a client the retained messages that others have subscribed to (amqtt 0.12); `MqttLink`
passes over them, mosquitto_sub does not. Neither needs to be trusted with a message: delivery is end to end (see
`broker.messages`).
"""

import asyncio
import contextlib
import getpass
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker.errors import ConfigError

_EXTRA_PATHS = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"  # where systems keep servers off a user's PATH


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the broker listens and whom it trusts.

    Off loopback nothing is anonymous: `password_file` (made by mosquitto_passwd) is then required. `cert` and `key`
    (PEM) turn TLS on; `ca` makes every client show a certificate of that authority.
    """

    directory: Path
    host: str = "127.0.0.1"
    port: int = 1883
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def check(self, *, embedded: bool) -> None:
        """Raise `ConfigError` for what would be unsafe or cannot work."""
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port {self.port}: use 1 to 65535")
        if (self.cert is None) != (self.key is None):
            raise ConfigError("cert and key belong together: give both or none")
        if self.ca and not self.cert:
            raise ConfigError("ca asks clients for certificates, which needs TLS: give cert and key, too")
        for path in (self.password_file, self.ca, self.cert, self.key):
            if path and not path.is_file():
                raise ConfigError(f"{path}: no such file")
        if embedded and (not _is_loopback(self.host) or self.password_file or self.cert):
            raise ConfigError("the embedded broker is for demonstration on 127.0.0.1 only: install mosquitto")
        if not _is_loopback(self.host) and self.password_file is None:
            raise ConfigError(f"host {self.host}: off this machine nobody may connect unnamed; give --password-file")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise ConfigError(f"port {self.port} on {self.host}: {error.strerror}; choose another --port") from None


def find_mosquitto() -> str | None:
    """Path of the mosquitto program, or None if it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_EXTRA_PATHS)


def mosquitto_conf(config: ServerConfig) -> str:
    """The configuration of mosquitto, one setting per line with its reason."""
    anonymous = config.password_file is None and config.ca is None
    lines = [
        "# Written by `broker run`; changes are overwritten.",
        f"listener {config.port} {config.host}",
        f"allow_anonymous {str(anonymous).lower()}",
        f"user {getpass.getuser()}",
        "# Retained status survives a restart; frames do not need to: devices send again what was not acknowledged.",
        "persistence true",
        f"persistence_location {config.directory.resolve()}/",
        "# A burst may be longer than the default of 1000; the spool of each device bounds it.",
        "max_queued_messages 10000",
        "max_inflight_messages 1000",
        "max_packet_size 2097152",
        "set_tcp_nodelay true",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
    ]
    if config.password_file:
        lines.append(f"password_file {config.password_file.resolve()}")
    if config.cert and config.key:
        lines += [f"certfile {config.cert.resolve()}", f"keyfile {config.key.resolve()}"]
    if config.ca:
        lines += [f"cafile {config.ca.resolve()}", "require_certificate true", "use_identity_as_username true"]
    return "\n".join(lines) + "\n"


def embedded_conf(config: ServerConfig) -> dict[str, object]:
    """The configuration of the embedded broker, as amqtt takes it."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{config.host}:{config.port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


async def serve(config: ServerConfig, *, embedded: bool, announce: Callable[[str], None]) -> None:
    """Run a broker until SIGINT or SIGTERM. `announce` is told one line when it accepts connections.

    Raises:
        ConfigError: the settings are unsafe, the port is taken, or the broker ended by itself.
    """
    program = None if embedded else find_mosquitto()
    config.check(embedded=program is None)
    config.directory.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if program:
        await _serve_mosquitto(program, config, stop, announce)
    else:
        await _serve_embedded(config, stop, announce)


async def _serve_mosquitto(
    program: str, config: ServerConfig, stop: asyncio.Event, announce: Callable[[str], None]
) -> None:
    path = config.directory / "mosquitto.conf"
    path.write_text(mosquitto_conf(config))
    process = await asyncio.create_subprocess_exec(program, "-c", str(path), start_new_session=True)
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stop.wait())
    try:
        await _wait_listening(config.host, config.port, ended)
        if not ended.done():
            announce(f"mosquitto listens on {config.host}:{config.port} (configuration: {path})")
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise ConfigError(
                f"mosquitto ended with status {ended.result()}; its words are above, its settings in {path}"
            )
    finally:
        stopped.cancel()
        if process.returncode is None:
            process.terminate()
            await ended


async def _serve_embedded(config: ServerConfig, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
    try:
        from amqtt.broker import Broker
    except ImportError:
        raise ConfigError(
            "no broker here: install mosquitto, or pip install '.[backend]' in the clone for a demo one"
        ) from None
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    settings = embedded_conf(config)
    path = config.directory / "embedded.json"
    path.write_text(json.dumps(settings, indent=2) + "\n")
    broker = Broker(settings)
    await broker.start()
    announce(f"embedded broker, for demonstration only, listens on {config.host}:{config.port} (configuration: {path})")
    announce("a flaw of it: subscribers get retained messages of other topics, too; mosquitto has none such")
    await stop.wait()
    with contextlib.suppress(Exception):  # it is leaving; whatever it stumbles over now concerns nobody
        await asyncio.wait_for(broker.shutdown(), timeout=3)


async def _wait_listening(host: str, port: int, ended: "asyncio.Task[int]") -> None:
    while not ended.done():
        try:
            _, writer = await asyncio.open_connection(host if host != "0.0.0.0" else "127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_directory() -> Path:
    """Where a broker keeps its configuration and state: the user's state folder (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "iotlm" / "broker"
