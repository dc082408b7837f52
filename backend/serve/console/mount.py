"""The web console, on the server of the HTTP API: what sensors measure, what happens, and a chat with them.

It only reads and asks. Everything that its pages need comes from this process; no page loads anything from elsewhere.
NiceGUI has one application in a process, so there is one console in it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from nicegui import Client, core, ui
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.serve.console.desk import Desk
from backend.serve.console.page import Page
from backend.serve.console.parts import STYLE

if TYPE_CHECKING:
    from backend.serve.api import Parts

PATH = "/console"
MOST_PAGES = 32
"""That are open at once; further ones are refused. So many more may be on their way."""
_LEFT_S = 20.0  # a page whose browser has gone for as long is closed
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#4c78a8"/>'
    '<path d="M4 17h6l3-9 5 17 4-12 2 4h4" fill="none" stroke="#fff" stroke-width="2.6" stroke-linejoin="round"/></svg>'
)


class Pages:
    """Which pages are open. Whoever fetches a page and does not connect, such as an image's address, occupies none."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._coming: dict[str, Client] = {}  # oldest first

    def admit(self, client: Client) -> bool:
        """Whether there is room for one more; of those that have not connected, the oldest gives way."""
        if len(self._open) >= MOST_PAGES:
            return False
        if len(self._coming) >= MOST_PAGES:
            next(iter(self._coming.values())).delete()
        self._coming[client.id] = client
        client.on_connect(lambda: self._enter(client.id))
        client.on_delete(lambda: self._leave(client.id))
        return True

    def _enter(self, name: str) -> None:
        self._coming.pop(name, None)
        self._open.add(name)

    def _leave(self, name: str) -> None:
        self._coming.pop(name, None)
        self._open.discard(name)


class Guard:
    """Lets in who asks for the console by a name of this machine, and from no other site's page; none may frame it.

    Names are those of the loopback and `host`; where that is the wildcard, any. A name of somebody else's that leads
    here (DNS rebinding) would make this console a part of his site.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        bound = _address(host)
        self._app, self._host = app, host.lower()
        self._any = host == "" or (bound is not None and bound.is_unspecified)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it in, or say why not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = "frame-ancestors 'none'"
            await send(message)

        if not self._ours(headers.get("host", "")):
            await PlainTextResponse("no such host\n", 400)(scope, receive, unframed)
        elif headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") != "document":
            await PlainTextResponse("a page of another site\n", 403)(scope, receive, unframed)
        else:  # a link from anywhere may be followed: that is a person's doing
            await self._app(scope, receive, unframed)

    def _ours(self, said: str) -> bool:
        try:
            name = urlsplit(f"//{said}").hostname or ""
        except ValueError:
            return False
        if self._any or name in ("localhost", self._host):
            return True
        address = _address(name)
        return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def add_console(app: FastAPI, parts: Parts, answer_s: float, host: str) -> None:
    """Put the console at `PATH` of an application whose life the server follows (lifespan) and which binds to `host`.

    An answer that is not there after `answer_s` seconds is not waited for.
    """
    desk, pages = Desk(parts), Pages()

    @ui.page("/", title="IoT-LM")
    def page(client: Client, group: str = "") -> Response | None:
        if not pages.admit(client):
            client.delete()
            return PlainTextResponse("too many pages are open; close one and try again\n", 503, {"retry-after": "10"})
        Page(client, desk, answer_s, group)
        return None

    ui.add_css(STYLE, shared=True)
    core.sio.eio.cors_allowed_origins = None  # no other site's page may talk to this one
    ui.run_with(
        app,
        mount_path=PATH,
        title="IoT-LM",
        favicon=_ICON,
        dark=None,  # as the system has it
        reconnect_timeout=_LEFT_S,
        binding_refresh_interval=None,
        gzip_middleware_factory=None,  # it would compress in the event loop
        tailwind=False,
        show_welcome_message=False,
    )
    core.app.add_middleware(Guard, host=host)
