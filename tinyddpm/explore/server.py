"""Serving the interactive page to this machine and to nobody else.

    serve(Explorer("runs/x"), port=8765)        # until Ctrl-C

It listens on 127.0.0.1 alone, and answers only what a browser on this machine asks of this very
page. Another Host is what a rebound DNS name sends. Another Origin is a page of somebody else's in
the same browser. All else gets an error page of one line.
"""

import contextlib
import errno
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app, ui
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .explorer import Explorer
from .page import page

LOG = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
# What the page may load, and from where: from here. Vue compiles its templates in the browser,
# which is what unsafe-eval allows.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
PARTS = ("/_nicegui/", "/_nicegui_ws/")  # paths of what the page is made of
TEXTS = {
    400: "this server answers to its own address alone",
    403: "this server answers its own page alone",
    404: "there is no such page",
    405: "this page can only be read",
}


def serve(explorer: Explorer, port: int, started: Callable[[str], None] = lambda url: None) -> None:
    """Serve the page until the process is interrupted.

    Args:
        explorer: what the page shows.
        port: of the page's address, 0 for any that is free.
        started: called with the address once it answers.
    """
    with listening(port) as server:
        found = server.getsockname()[1]
        nicegui_app.on_startup(lambda: started(f"http://{LOOPBACK}:{found}"))
        config = uvicorn.Config(
            application(explorer, found),
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[server])


def listening(port: int) -> socket.socket:
    """A socket that listens on the loopback address."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ValueError(
            f"--port: expected one that is free, got {port}: choose another, or 0 for any"
        ) from None


def application(explorer: Explorer, port: int) -> FastAPI:
    """The ASGI application. NiceGUI has one for each process, so call this once."""
    _ = explorer.start  # computed before the first window asks for it
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.page("/")(lambda: page(explorer))
    ui.run_with(
        app, title="tinyddpm", favicon="🎲", dark=None, tailwind=False, show_welcome_message=False
    )
    app.add_middleware(OnlyFromHere, port=port)
    return app


class OnlyFromHere:
    """ASGI middleware: lets through what this very page asks for under this machine's name.

    What it lets through is the page, its parts and its websocket.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}".encode() for name in (LOOPBACK, "localhost")}
        if port == 80:
            self.hosts |= {LOOPBACK.encode(), b"localhost"}
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one websocket."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        status = self._problem(scope)
        if scope["type"] == "websocket":
            if status:  # closed before it was accepted: the browser sees status 403
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
            return
        if status:
            await _error_page(send, status)
            return
        try:
            await self.app(scope, receive, _plain(send))
        except Exception as error:
            # NiceGUI has answered it by now, through `_plain`. A traceback on the terminal would
            # tell the user nothing.
            LOG.error("explore: %s %r: %r", scope["method"], scope["path"], error)

    def _problem(self, scope: Scope) -> int | None:
        """The status to refuse a request with, or None."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        path = scope["path"]
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return 400
        if not self.origins.issuperset(origins):
            return 403
        if path != "/" and not path.startswith(PARTS) or ".." in path.split("/"):
            return 404
        reads = scope["type"] != "http" or scope["method"] in ("GET", "HEAD")
        return None if reads or path.startswith("/_nicegui_ws/") else 405


def _plain(send: Send) -> Send:
    """`send`, with our headers on what is found, and a plain page in place of any other error."""
    refused = False

    async def sending(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                refused = True
                await _error_page(send, message["status"])
                return
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        if not refused:
            await send(message)

    return sending


async def _error_page(send: Send, status: int) -> None:
    """One line that says what is wrong."""
    otherwise = "this did not work" if status >= 500 else "this request cannot be answered"
    text = f"{status}: {TEXTS.get(status, otherwise)}"
    body = f"<!doctype html><meta charset=utf-8><title>{status}</title><p>{text}".encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": status, "headers": headers + HEADERS}
    await send(start)
    await send({"type": "http.response.body", "body": body})
