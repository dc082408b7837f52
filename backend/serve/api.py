"""What can be asked over HTTP: metrics, health, readiness, events from an offset, devices, bad frames; and dialogue.

It only reads. It refuses to know how anything it shows came about, and it binds to loopback unless told otherwise.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from backend.serve.chat import add_chat
from backend.serve.pipeline import Pipeline
from backend.serve.store import Store
from broker.link import Link
from edge.config import wanted

MOST_EVENTS = 1_000
"""What /events answers at once at most."""


@dataclass(slots=True)
class Parts:
    """What the API looks at; `pipeline` and `link` are None until the model is loaded."""

    registry: CollectorRegistry
    store: Store
    link: Link | None = None
    pipeline: Pipeline | None = None


def create_app(parts: Parts, home: str = "") -> FastAPI:
    """The application; every handler is a coroutine or runs in a thread, so none holds up the event loop.

    Whoever wants HTML at `/`, as a browser does, is sent to `home`, if there is one.
    """
    app = FastAPI(title="IoT-LM backend", docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    async def refused(request: Request, error: RequestValidationError) -> JSONResponse:
        detail = error.errors()[0]
        text = f"{detail['loc'][-1]} = {str(detail['input'])[:80]}: {wanted(detail)}"
        return JSONResponse({"error": text}, status_code=422)

    @app.exception_handler(HTTPException)
    async def no_such(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {error.detail}; GET / lists the paths"
        return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)

    @app.get("/", response_model=None)
    async def paths(request: Request) -> dict[str, list[str]] | Response:
        if home and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(home)
        return {"paths": [route.path for route in app.routes if isinstance(route, APIRoute) and route.path != "/"]}

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
        after: Annotated[int, Query(ge=0, le=1 << 62)] = 0, limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100
    ) -> dict[str, Any]:
        found = [asdict(event) for event in parts.store.events(after, limit)]
        last = found[-1]["offset"] if found else after
        return {"events": found, "last": last, "newest": parts.store.newest_offset}

    @app.get("/devices")
    async def devices() -> list[dict[str, Any]]:
        if parts.pipeline is None:
            return []
        newest = {}  # of the spools of a device
        for sender, receiver in parts.pipeline.ingest.senders():
            row = {**sender._asdict(), "committed": receiver.watermark, "pending": receiver.pending}
            newest[sender.site, sender.device] = row
        return list(newest.values())

    @app.get("/dead-letters")
    async def dead_letters() -> list[dict[str, Any]]:
        return [asdict(letter) for letter in parts.pipeline.ingest.dead_letters] if parts.pipeline else []

    add_chat(app, lambda: parts.pipeline.dialogue if parts.pipeline else None)
    return app


def _writable(store: Store) -> bool:
    try:
        store.check()
    except SQLAlchemyError:
        return False
    return True
