"""How many connections the app keeps open, and for how long: uvicorn alone waits forever for the head of a request."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from harness.serving.limits import AppLimits


def limit_connections(limits: AppLimits) -> type[H11Protocol]:
    """The protocol of a server's connections, which are closed where a limit is reached."""

    class Connection(H11Protocol):
        """A connection that is closed when it is idle for too long, or nobody takes its answer."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            if len(self.connections) > limits.connections:
                idle = [one for one in self.connections if isinstance(one, Connection) and one.is_idle]
                min(idle, key=lambda one: one.idle_since).abort()  # the newest, this one, is idle itself

        def connection_lost(self, exc: Exception | None) -> None:
            self._clock.cancel()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._clock.cancel()
            self._wait()
            super().on_response_complete()

        @property
        def is_idle(self) -> bool:
            """Whether no request is being answered: none has a whole head, or the last one has its answer."""
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            """Wait for the head of a request, and no longer than the limit says."""
            self.idle_since = self.loop.time()
            self._clock = self.loop.call_later(limits.seconds, self._require_request)

        def _require_request(self) -> None:
            if self.is_idle:
                self.abort()

        def abort(self) -> None:
            """Close the connection without a word, also where an answer is still on its way."""
            self.connections.discard(self)
            self.transport.abort()

    return Connection
