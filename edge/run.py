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

from broker.errors import ConfigError
from broker.link import MqttLink, Will
from edge.agent import Agent, streams_of, will
from edge.clock import Clock, SystemClock
from edge.config import BrokerConfig, EdgeConfig, StreamConfig
from edge.encoder import Encoder
from edge.metrics import Metrics
from edge.recording import record
from edge.sensors import SENSORS
from edge.sensors.host import HostFacts
from edge.sources import SensorSource, stream_for
from edge.spool import Spool

log = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENT = {"replay"}  # sensors whose samples can wait


async def run(config: EdgeConfig) -> None:
    """Be the device of these settings until SIGINT or SIGTERM, or until its sensors end and all is acknowledged.

    Raises:
        IotlmError: a setting cannot be used, or a sensor failed.
    """
    clock, metrics = SystemClock(), Metrics()
    sources = open_sources(config, clock, metrics)
    with contextlib.closing(Spool(config.spool_path, round(config.spool.max_mb * 1e6))) as spool:
        if config.metrics.port is not None:
            port = metrics.serve(config.metrics.host, config.metrics.port)
            log.info("metrics on http://%s:%d/metrics", config.metrics.host, port)
        farewell = will(config.site, config.device, sources, spool, clock)
        async with open_link(config.broker, config.site, config.device, farewell) as link:
            window = config.spool.window
            agent = Agent(config.site, config.device, sources, link, spool, clock, window=window, metrics=metrics)
            await until_stopped(agent.run())


async def record_to(config: EdgeConfig, path: Path, seconds: float | None) -> int:
    """Write what the device would publish to a file, for `seconds` or until SIGINT; the number of frames."""
    sources = open_sources(config, SystemClock(), Metrics())
    return await until_stopped(record(config.site, config.device, sources, path, seconds)) or 0


def open_sources(config: EdgeConfig, clock: Clock, metrics: Metrics) -> list[SensorSource]:
    """A source for every stream of the settings. Raises `ConfigError`, `CheckpointError` or `DataError`."""
    sources = [_open(config, row, clock, metrics) for row in config.streams]
    streams_of(sources)
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


def _open(config: EdgeConfig, row: StreamConfig, clock: Clock, metrics: Metrics) -> SensorSource:
    if row.sensor not in SENSORS:
        raise ConfigError(f"stream {row.name}: sensor {row.sensor!r} is none of {', '.join(SENSORS)}")
    encoder = None if row.encoder is None else Encoder(row.encoder, row.provider)
    grid = (row.rate, row.window_s, row.hop_s)
    stream = stream_for(row.name, row.modality, row.placement, encoder, grid)
    sensor = SENSORS[row.sensor](row.options, stream, clock)
    patient = row.sensor in _PATIENT
    return SensorSource(
        config.site,
        config.device,
        stream,
        sensor,
        clock,
        encoder=encoder,
        patient=patient,
        metrics=metrics,
        host_facts=HostFacts() if row.host_facts else None,
    )
