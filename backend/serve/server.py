"""`backend serve`: puts the parts together, starts them in the order in which they are useful, ends them cleanly.

The HTTP API comes first (so that readiness can be asked while the model loads), then the model in a thread, then the
broker. SIGINT and SIGTERM end everything; nothing is lost by SIGKILL either, it only costs the devices a resend.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from backend.metrics import Metrics
from backend.serve.api import Parts, create_app
from backend.serve.config import ServeConfig
from backend.serve.pipeline import Pipeline
from backend.serve.store import Store
from broker.errors import CheckpointError, ConfigError
from broker.link import MqttLink

if TYPE_CHECKING:
    from backend.model.sensorlm import Predictor
    from backend.model.talk import Talk


log = logging.getLogger(__name__)

_ANSWER_S = 20.0  # beyond the language model's time, for all else that an answer takes
_MOST_WORDS = 1 << 18  # bytes of what a page may say at once


class _Api(uvicorn.Server):
    """A uvicorn that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(config: ServeConfig, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `announce` is told where the API listens and which model is loaded once nothing
    of the settings stands in the way, and when frames are taken, which needs the broker.

    Raises:
        ConfigError: a setting cannot be used, such as a taken HTTP port.
        CheckpointError: there is no usable model.
    """
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    registry = _registry()
    store = Store(config.store.url, config.store.keep_windows, config.store.keep_events)
    parts = Parts(registry, store)
    with contextlib.closing(store), contextlib.suppress(asyncio.CancelledError):
        async with _api(config, parts) as url:
            await _serve(config, parts, Metrics(registry), url, announce)


async def _serve(
    config: ServeConfig, parts: Parts, metrics: Metrics, url: str, announce: Callable[[str], None]
) -> None:
    model = await asyncio.to_thread(_load_model, config)
    with contextlib.ExitStack() as stack:
        talk = await asyncio.to_thread(_load_talk, model, config)
        if talk is not None:
            stack.enter_context(talk)
        await _run(config, parts, metrics, model, talk, url, announce)


async def _run(
    config: ServeConfig,
    parts: Parts,
    metrics: Metrics,
    model: "Predictor",
    talk: "Talk | None",
    url: str,
    announce: Callable[[str], None],
) -> None:
    b = config.broker
    link = MqttLink(
        b.host,
        b.port,
        b.client_id,
        username=b.username,
        password=b.password,
        ca=b.ca,
        cert=b.cert,
        key=b.key,
        keepalive=b.keepalive,
        version="5",  # for response topics
    )
    pipeline = Pipeline(config, link, model, parts.store, metrics, talk=talk)
    parts.link, parts.pipeline = link, pipeline
    console = " /console" if config.console else ""
    announce(f"{url} answers{console} /metrics /readyz /events /v1/chat/completions")
    announce(f"model {model.digest[:12]} is loaded, the broker is looked for at {b.host}:{b.port}")
    telling = asyncio.create_task(_tell(link, announce, f"takes frames from {b.host}:{b.port}, site {config.site}"))
    try:
        await pipeline.run()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        telling.cancel()


async def _tell(link: MqttLink, announce: Callable[[str], None], text: str) -> None:
    """Announce it once the link is connected for the first time."""
    while not link.session:  # noqa: ASYNC110 (it may not be entered yet)
        await asyncio.sleep(0.05)
    announce(text)


@contextlib.asynccontextmanager
async def _api(config: ServeConfig, parts: Parts) -> AsyncIterator[str]:
    """The HTTP API, for as long as the context lasts, and its address."""
    listener = _listen(config.http.host, config.http.port)
    server = _Api(_console(config, parts) if config.console else _settings(create_app(parts)))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{config.http.host}:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await task


def _settings(app: FastAPI, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(app, **{"log_config": None, "access_log": False, "lifespan": "off", "ws": "none", **more})


def _console(config: ServeConfig, parts: Parts) -> uvicorn.Config:
    """The HTTP API with the console, which wants a web socket and to be told of beginning and end."""
    from backend.serve.console.mount import PATH, add_console

    app = create_app(parts, home=f"{PATH}/")
    add_console(app, parts, config.dialogue.time_s + _ANSWER_S, config.http.host)
    return _settings(app, lifespan="on", ws="websockets-sansio", ws_max_size=_MOST_WORDS, ws_per_message_deflate=False)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise ConfigError(f"http.port {port} on {host}: {reason}; choose another --http-port") from None


def _load_model(config: ServeConfig) -> "Predictor":
    """Torch enters the process here; half the threads, because the event loop and the broker need the other cores."""
    import torch

    from backend.checkpoint import load_checkpoint
    from backend.model.sensorlm import Predictor

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    try:
        torch.zeros(1, device=config.device).item()
    except (RuntimeError, AssertionError) as error:  # the latter: torch without CUDA
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {config.device!r}: {reason}; --device cpu works everywhere") from None
    return Predictor(load_checkpoint(config.checkpoint, config.llm), config.device)


def _load_talk(model: "Predictor", config: ServeConfig) -> "Talk | None":
    """What answers in words; None where the checkpoint has no words."""
    if model.model.language is None:
        return None
    from backend.model.talk import Talk

    try:
        return Talk(model, config.dialogue.together)
    except CheckpointError as error:  # events need no tokenizer
        log.warning("questions are answered by facts alone: %s", error)
        return None


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
