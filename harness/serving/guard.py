"""Who may ask the app, and what browsers may do with its answers: checked before anything is read.

A page of another site must not reach the app through the reader's browser. Its address is not one of the app's names
(DNS rebinding), its requests say where they come from, and no answer allows it to be read from there (no CORS). Beyond
this machine, a token in the address is needed, too.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.serving.limits import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded from or sent to anywhere else, and no script stands in the page."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer says; nothing of it is kept by the browser."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""What this machine is called by itself."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Checks by which name the app is asked, from where, and with which token."""

    host: str
    """What the app listens at, such as 127.0.0.1."""
    token: str = ""
    """What the address has to hold as `?token=`; empty where none is needed."""

    def check(self, request: Request) -> None:
        """Raise `RefusedError` for a request that another site may have caused (400, 403), or without the token."""
        called = request.headers.get("host", "")
        if not self.is_called(called):
            raise RefusedError(
                400, "The app is not asked by its own name; open the address that harness serve has printed."
            )
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != called:
            raise RefusedError(403, "Another site asks for this; open the app in a tab of its own.")
        if self.token and not hmac.compare_digest(request.query_params.get("token", "").encode(), self.token.encode()):
            raise RefusedError(403, "The address lacks the token; open the address that harness serve has printed.")

    def is_called(self, host: str) -> bool:
        """Whether a Host header holds a name of the app. A number cannot be bound again to another machine."""
        try:
            name = "" if "@" in host else urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in LOCAL or name == self.host.lower():
            return True
        return not is_local(self.host) and (_is_number(name) or name == socket.gethostname().lower())


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    return host.lower() == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_number(name: str) -> bool:
    """Whether a name is an address of IPv4 or IPv6 in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
