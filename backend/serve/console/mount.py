"""The web console, on the server of the HTTP API: what sensors measure, what happens, and a chat with them.

It only reads and asks. Everything that its pages need comes from this process; no page loads anything from elsewhere.
NiceGUI has one application in a process, so there is one console in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse
from nicegui import Client, core, ui

from backend.serve.console.desk import Desk
from backend.serve.console.page import Page
from backend.serve.console.parts import STYLE

if TYPE_CHECKING:
    from backend.serve.api import Parts

PATH = "/console"
MOST_PAGES = 32
"""That are open at once; further ones are refused."""
_LEFT_S = 20.0  # a page whose browser has gone for as long is closed
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#4c78a8"/>'
    '<path d="M4 17h6l3-9 5 17 4-12 2 4h4" fill="none" stroke="#fff" stroke-width="2.6" stroke-linejoin="round"/></svg>'
)


def add_console(app: FastAPI, parts: Parts, answer_s: float) -> None:
    """Put the console at `PATH` of an application whose life the server follows (lifespan).

    An answer that is not there after `answer_s` seconds is not waited for.
    """
    desk, open_pages = Desk(parts), set[str]()

    @ui.page("/", title="IoT-LM")
    def page(client: Client, group: str = "") -> Response | None:
        if len(open_pages) >= MOST_PAGES:
            client.delete()
            return PlainTextResponse("too many pages are open; close one and try again\n", 503, {"retry-after": "10"})
        open_pages.add(client.id)
        client.on_delete(lambda: open_pages.discard(client.id))
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
