"""Serving the interactive page to this machine and to nobody else.

    serve(Explorer("runs/x"), port=8765)        # until Ctrl-C

It listens on 127.0.0.1 alone, and answers only what a browser on this machine asks in its name: another Host is what a rebound DNS name
sends, another Origin is a page of somebody else's in the same browser. All else gets an error page of one line.
"""
import contextlib
import errno
import logging
import socket

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

from .page import page

LOG = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
# What the page may load, and from where: from here. Vue compiles its templates in the browser, which is what unsafe-eval allows.
POLICY = (b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
          b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
TEXTS = {400: "this server answers to its own address alone", 403: "this server answers its own page alone", 404: "there is no such page",
         405: "this page can only be read"}
HEADERS = [(b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def serve(explorer, port, started=lambda url: None):
    """Serve the page until the process is interrupted. port: 0 for any that is free. `started` is called with the address once it answers."""
    with listening(port) as server:
        url = f"http://{LOOPBACK}:{server.getsockname()[1]}"
        nicegui_app.on_startup(lambda: started(url))
        config = uvicorn.Config(application(explorer, server.getsockname()[1]), log_level="error", server_header=False, timeout_graceful_shutdown=1)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[server])


def listening(port):
    """A socket that listens on the loopback address."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ValueError(f"--port: expected one that is free, {port} is not: give another one, or 0 for any") from None


def application(explorer, port):
    """The ASGI application. NiceGUI has one for each process, so this is to be called once."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.page("/")(lambda: page(explorer))
    ui.run_with(app, title="tinyddpm", favicon="🎲", dark=None, tailwind=False, show_welcome_message=False)
    app.add_middleware(OnlyFromHere, port=port)
    return app


class OnlyFromHere:
    """ASGI middleware: refuses what is not the page, its parts or its websocket, asked for under the name of this machine by this very page."""

    def __init__(self, app, port):
        self.app = app
        self.hosts = {f"{name}:{port}".encode() for name in (LOOPBACK, "localhost")} | ({LOOPBACK.encode(), b"localhost"} if port == 80 else set())
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        status = self._problem(scope)
        if scope["type"] == "websocket":
            return await (send({"type": "websocket.close", "code": 1008}) if status else self.app(scope, receive, send))  # before it was accepted: status 403
        if status:
            return await _error_page(send, status)
        try:
            await self.app(scope, receive, _plain(send))
        except Exception as error:  # NiceGUI has answered it by now, through `_plain`; a traceback on the terminal would tell the user nothing
            LOG.error("explore: %s %r: %r", scope["method"], scope["path"], error)

    def _problem(self, scope):
        """The status that a request is to be refused with, or None."""
        cond = {b"host": [], b"origin": []}
        for name, value in scope["headers"]:
            if name in cond:
                cond[name].append(value)
        path = scope["path"]
        if len(cond[b"host"]) != 1 or cond[b"host"][0] not in self.hosts:
            return 400
        if not self.origins.issuperset(cond[b"origin"]):
            return 403
        if path != "/" and not path.startswith(("/_nicegui/", "/_nicegui_ws/")) or ".." in path.split("/"):
            return 404
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and not path.startswith("/_nicegui_ws/"):
            return 405
        return None


def _plain(send):
    """`send` with our headers on what is found, and an error page in place of whatever else an error would have been answered with."""
    refused = False

    async def sending(message):
        nonlocal refused
        if message["type"] == "http.response.start":
            if message["status"] >= 400:
                refused = True
                return await _error_page(send, message["status"])
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        if not refused:
            await send(message)
    return sending


async def _error_page(send, status):
    text = TEXTS.get(status, "this did not work" if status >= 500 else "this request cannot be answered")
    body = f"<!doctype html><meta charset=utf-8><title>{status}</title><p>{status}: {text}".encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + HEADERS})
    await send({"type": "http.response.body", "body": body})
