"""The app on a port of this machine, until it is interrupted."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.serving.guard import is_local
from harness.serving.limits import USUAL, AppLimits

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


def make_token(host: str) -> str:
    """A token that nobody guesses, for an app that other machines reach; none where only this one does."""
    return "" if is_local(host) else secrets.token_urlsafe(24)


def open_port(host: str, port: int) -> socket.socket:
    """Listen at a host and port; any that is free for port 0. Raises `UsageError` where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        code = getattr(error, "errno", None) or 0
        reason = os.strerror(code) if code > 0 else getattr(error, "strerror", None) or "no such host"
        raise UsageError(
            f"{host} cannot be listened at on port {port}: {reason.lower()}; give another by --port or --host"
        ) from None


def tell_address(host: str, listening: socket.socket, token: str) -> str:
    """The address to open in a browser."""
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104 - only read
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}"


def make_server(app: ASGIApp, limits: AppLimits = USUAL) -> uvicorn.Server:
    """A server of the app, which takes no more connections and waits no longer for them than the limits say."""
    import uvicorn

    from harness.serving.connections import limit_connections

    config = uvicorn.Config(
        app,
        http=limit_connections(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # what strangers send is no news
        access_log=False,  # addresses hold the token
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until the program is interrupted."""
    make_server(app).run(sockets=[listening])
