"""What can be asked over HTTP: metrics, health, readiness, events from an offset, devices, bad frames.

It only reads. It refuses to know how anything it shows came about, and it binds to loopback unless told otherwise.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from backend.serve.pipeline import Pipeline
from backend.serve.store import Store
from broker.link import Link


@dataclass(slots=True)
class Parts:
    """What the API looks at; `pipeline` and `link` are None until the model is loaded."""

    registry: CollectorRegistry
    store: Store
    link: Link | None = None
    pipeline: Pipeline | None = None


def create_app(parts: Parts) -> FastAPI:
    """The application; every handler is a coroutine or runs in a thread, so none holds up the event loop."""
    app = FastAPI(title="IoT-LM backend", docs_url=None, redoc_url=None)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, bool]:
        state = {
            "broker": parts.link is not None and parts.link.connected,
            "model": parts.pipeline is not None,
            "store": await asyncio.to_thread(_writable, parts.store),
        }
        response.status_code = 200 if all(state.values()) else 503
        return state

    @app.get("/events")
    def events(
        after: Annotated[int, Query(ge=0, le=1 << 62)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> dict[str, Any]:
        found = [asdict(event) for event in parts.store.events(after, limit)]
        last = found[-1]["offset"] if found else after
        return {"events": found, "last": last, "newest": parts.store.newest_offset}

    @app.get("/devices")
    async def devices() -> list[dict[str, Any]]:
        if parts.pipeline is None:
            return []
        return [
            {**sender._asdict(), "committed": receiver.watermark, "pending": receiver.pending}
            for sender, receiver in parts.pipeline.ingest.senders()
        ]

    @app.get("/dead-letters")
    async def dead_letters() -> list[dict[str, Any]]:
        return [asdict(letter) for letter in parts.pipeline.ingest.dead_letters] if parts.pipeline else []

    return app


def _writable(store: Store) -> bool:
    try:
        store.check()
    except SQLAlchemyError:
        return False
    return True
