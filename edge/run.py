"""From settings to a running device: opens sensors, encoders, spool and link, and hands them to an agent.

The one place that knows all of them; it refuses to do any of their work.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from broker.errors import CheckpointError, ConfigError, DataError
from broker.link import MqttLink, Will
from edge.agent import Agent, streams_of, will
from edge.clock import SECOND, Clock, SystemClock
from edge.config import BrokerConfig, EdgeConfig, StreamConfig
from edge.encoder import Encoder
from edge.metrics import Metrics
from edge.progress import Standing, shown
from edge.recording import record
from edge.sensors import SENSORS, Sensor
from edge.sensors.host import HostFacts
from edge.sources import LiveSensor, SensorSource, stream_for
from edge.spool import Spool

log = logging.getLogger(__name__)

T = TypeVar("T")


async def run(config: EdgeConfig) -> None:
    """Be the device of these settings until SIGINT or SIGTERM, or until its sensors end and all is acknowledged.

    The log tells at INFO what it is and where it sends, and at the end what became of it.

    Raises:
        IotlmError: a setting cannot be used, or a recording failed.
    """
    clock, metrics = SystemClock(), Metrics()
    sources = open_sources(config, clock, metrics)
    size, owner = round(config.spool.max_mb * 1e6), f"{config.site}/{config.device}"
    with contextlib.closing(Spool(config.spool_path, size, owner)) as spool:
        if config.metrics.port is not None:
            port = metrics.serve(config.metrics.host, config.metrics.port)
            log.info("metrics on http://%s:%d/metrics", config.metrics.host, port)
        _introduce(config, spool)
        before = spool.next_seq, spool.base - spool.evicted
        farewell = will(config.site, config.device, sources, spool, clock)
        try:
            async with open_link(config.broker, config.site, config.device, farewell) as link:
                window = config.spool.window
                agent = Agent(config.site, config.device, sources, link, spool, clock, window=window, metrics=metrics)
                await until_stopped(agent.run())
        finally:
            measured, acknowledged = spool.next_seq - before[0], spool.base - spool.evicted - before[1]
            counts = (measured, acknowledged, spool.waiting, config.spool_path)
            log.info("%d windows measured, %d acknowledged; %d wait in %s for the next start", *counts)


async def record_to(config: EdgeConfig, path: Path, seconds: float | None) -> int:
    """Write what the device would publish to a file, for `seconds` or until SIGINT; the number of frames.

    Raises:
        IotlmError: a setting cannot be used, the file cannot be written, or there was no window to write.
    """
    clock, written = SystemClock(), 0
    sources = open_sources(config, clock, Metrics())
    begun = clock.now()

    def tell(count: int) -> None:
        nonlocal written
        written = count

    def standing() -> Standing:
        passed = (clock.now() - begun) / SECOND
        of = "" if seconds is None else f" of {seconds:g}"
        return Standing(f"{passed:.0f}{of} s, {written} windows in {path}", passed, seconds)

    async with shown(standing):
        return await until_stopped(record(config.site, config.device, sources, path, seconds, tell)) or 0


def open_sources(config: EdgeConfig, clock: Clock, metrics: Metrics) -> list[SensorSource]:
    """A source for every stream of the settings.

    Raises:
        ConfigError, CheckpointError, DataError: one cannot be opened; the text begins with the settings' file.
    """
    try:
        sources = [_open(config, row, clock, metrics) for row in config.streams]
        streams_of(sources)
    except (ConfigError, CheckpointError, DataError) as error:
        raise type(error)(f"{config.origin}: {error}") from None
    return sources


def open_link(broker: BrokerConfig, site: str, device: str, farewell: Will) -> MqttLink:
    """A link to the broker under a client id that no other device has."""
    return MqttLink(
        broker.host,
        broker.port,
        f"{site}.{device}",
        username=broker.username,
        password=broker.password,
        ca=broker.ca,
        cert=broker.cert,
        key=broker.key,
        keepalive=broker.keepalive,
        will=farewell,
    )


async def until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Do the work; SIGINT and SIGTERM cancel it, which lets it end cleanly and gives None."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _introduce(config: EdgeConfig, spool: Spool) -> None:
    streams = ", ".join(f"{row.name} ({row.sensor} at {row.placement})" for row in config.streams)
    where, broker = f"{config.site}/{config.device}", f"{config.broker.host}:{config.broker.port}"
    log.info("%s: %s to %s; %d windows wait in %s", where, streams, broker, spool.waiting, config.spool_path)


def _open(config: EdgeConfig, row: StreamConfig, clock: Clock, metrics: Metrics) -> SensorSource:
    if row.sensor not in SENSORS:
        raise ConfigError(f"stream {row.name}: sensor {row.sensor!r} is none of {', '.join(SENSORS)}")
    encoder = None if row.encoder is None else Encoder(row.encoder, row.provider)
    grid = (row.rate, row.window_s, row.hop_s)
    stream = stream_for(row.name, row.modality, row.placement, encoder, grid)
    kind = SENSORS[row.sensor]

    def open_sensor() -> Sensor:
        return kind(row.options, stream, clock)

    sensor = open_sensor() if kind.patient else LiveSensor(row.name, open_sensor, clock, metrics)
    return SensorSource(
        config.site,
        config.device,
        stream,
        sensor,
        clock,
        encoder=encoder,
        patient=kind.patient,
        metrics=metrics,
        host_facts=HostFacts() if row.host_facts else None,
    )
