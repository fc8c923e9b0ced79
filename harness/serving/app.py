"""The app: a page to drop an image on, and what it asks for. Nothing that arrives is kept.

Starlette is the framework: requests whose bodies wait in their senders until it is their turn, and nothing else. A
file is the body of its request, so that no form has to be taken apart, which would write large ones to the disk.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from harness.errors import HarnessError
from harness.registry import Registry
from harness.report.page import make_environment, read_part
from harness.serving.answers import as_address, describe_image, describe_rows, make_png
from harness.serving.examples import Examples
from harness.serving.guard import HEADERS, Guard
from harness.serving.limits import MIB, USUAL, AppLimits, Desk, RefusedError
from harness.serving.maps import draw_map, find_explainer
from harness.serving.rows import LoadedRow
from harness.serving.upload import read_upload
from harness.training.attribution import Explainer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from torch import nn

PARTS = {"style.css": "text/css", "app.css": "text/css", "app.js": "text/javascript"}
"""Files of `templates/` that the page asks for."""
BESIDE = "beside."
"""How parameters begin that say what the network gets beside an image, such as `beside.age`."""
MOST_DIGITS = 10
"""Digits from which on a number of a row or an example is none: Python refuses to read very long ones."""


class App:
    """Answers what the page asks, one image at a time."""

    def __init__(
        self,
        rows: Sequence[LoadedRow],
        registry: Registry,
        examples: Examples,
        guard: Guard,
        *,
        policy: str | None = None,
        limits: AppLimits = USUAL,
    ) -> None:
        self.rows, self.registry, self.examples, self.guard = rows, registry, examples, guard
        self.policy, self.limits, self.desk = policy, limits, Desk(limits)
        self._explainers: dict[nn.Module, Explainer] = {}

    def make(self) -> ASGIApp:
        """The app as servers run it."""
        routes = [
            Route("/", self.show_page),
            Route("/{part}", self.show_part),
            Route("/api/examples", _answering(self.list_examples)),
            Route("/api/predict", _answering(self.predict), methods=["POST"]),
            Route("/api/map", _answering(self.draw_map), methods=["POST"]),
        ]
        inner = Starlette(routes=routes, exception_handlers={HTTPException: _refuse_address})
        return _guard(inner, self.guard)

    async def show_page(self, _: Request) -> Response:
        """The page."""
        rows = describe_rows(self.rows, self.policy)
        other = next((place for place, row in enumerate(self.rows) if row.name != self.rows[0].name), None)
        text = (
            make_environment()
            .get_template("app.html.j2")
            .render(
                rows=rows,
                selected=(0, other),
                dataset=self.examples.dataset,
                policies=list(dict.fromkeys(row["policy"] for row in rows)),
                token=f"?token={self.guard.token}" if self.guard.token else "",
                mebibytes=f"{self.limits.upload / MIB:g}",
                most_bytes=self.limits.upload,
                megapixels=self.limits.pixels // 10**6,
            )
        )
        return HTMLResponse(text)

    async def show_part(self, request: Request) -> Response:
        """Style and script of the page."""
        part = request.path_params["part"]
        if part not in PARTS:
            raise HTTPException(404)
        return Response(read_part(part), media_type=PARTS[part])

    async def list_examples(self, _: Request) -> Response:
        """Test images of a row's dataset, with their known labels."""
        from starlette.concurrency import run_in_threadpool

        return JSONResponse(await run_in_threadpool(self.examples.list_all))

    async def predict(self, request: Request) -> Response:
        """What a row says of the image that is sent, or of an example."""

        def work(content: bytes) -> dict[str, Any]:
            row, pixels, table = self._take(request, content)
            scores = row.predict([pixels], table, policy=self.policy)
            number = self._find_example(request)
            known = None if number is None else self.examples.find_known(number)
            return {
                "picture": as_address(make_png(pixels)),
                "labels": describe_image(row, scores, self.policy, known),
            }

        return JSONResponse(await self.desk.handle(request, work))

    async def draw_map(self, request: Request) -> Response:
        """A heat map of a label, to be laid over the image: a PNG that is transparent where nothing speaks for it."""

        def work(content: bytes) -> tuple[bytes, str]:
            row, pixels, table = self._take(request, content)
            label = request.query_params.get("label", "")
            if label not in row.labels:
                raise RefusedError(404, "The row has no such label.")
            if row.network not in self._explainers:
                self._explainers[row.network] = find_explainer(row, self.registry)
            drawn = draw_map(row, self._explainers[row.network], pixels, label, table)
            return make_png(drawn.colors), drawn.about

        png, about = await self.desk.handle(request, work)
        return Response(png, media_type="image/png", headers={"Heat-Map": about})

    # --- what is asked ---------------------------------------------------------------------------------------------

    def _take(self, request: Request, content: bytes) -> tuple[LoadedRow, NDArray[np.uint8], pd.DataFrame | None]:
        """The row, the image (S, S) as it loads it, and what it wants beside it."""
        place = _read_number(request.query_params.get("row", "0"))
        if place is None or place >= len(self.rows):
            raise RefusedError(404, "There is no such row.")
        row, number = self.rows[place], self._find_example(request)
        if number is not None:
            return row, self.examples.read(number, row), self.examples.find_table(number) if row.columns else None
        return row, self._read(request, content, row), _read_beside(request, row)

    def _read(self, request: Request, content: bytes, row: LoadedRow) -> NDArray[np.uint8]:
        return read_upload(content, request.query_params.get("name", ""), row, self.limits.pixels)

    def _find_example(self, request: Request) -> int | None:
        """The number of the example that is asked for; None for an image that is sent."""
        given = request.query_params.get("example")
        if given is None:
            return None
        number = _read_number(given)
        if number is None or not self.examples.has(number):
            raise RefusedError(404, "There is no such example.")
        return number


def _read_number(text: str) -> int | None:
    """A number from 0 up; None for anything else, and for more digits than any number here has."""
    return int(text) if text.isdecimal() and len(text) < MOST_DIGITS else None


def _read_beside(request: Request, row: LoadedRow) -> pd.DataFrame | None:
    """What a network gets beside an image, in one row; what is not given is unknown to it."""
    if not row.columns:
        return None
    import pandas as pd

    values: dict[str, list[str | float]] = {}
    for code in row.members[0].codes:
        text = request.query_params.get(f"{BESIDE}{code.name}", "").strip()
        if code.texts:
            values[code.name] = [text]
            continue
        try:
            number = float(text or "nan")
        except ValueError:
            number = math.inf
        if math.isinf(number):
            raise RefusedError(422, f"The value of {code.name} must be a number, or empty where it is unknown.")
        values[code.name] = [number]
    return pd.DataFrame(values)


# --- around it -------------------------------------------------------------------------------------------------------


def _answering(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint whose errors are sentences, too: no traceback leaves the program."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as error:
            return _refuse(error)
        except HarnessError as error:
            return _tell(422, f"The row could not be applied to this image: {error}.")
        except MemoryError:
            return _tell(507, "The memory does not suffice for this image; try a smaller one.")
        except Exception as error:  # noqa: BLE001 - whatever a network or a decoder raises
            return _tell(500, f"The row could not be applied ({type(error).__name__}); harness predict says more.")

    return answer


def _guard(inner: ASGIApp, guard: Guard) -> ASGIApp:
    """The app behind its guard, every answer with its headers."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *told]}
            await send(message)

        answer = inner
        try:
            guard.check(Request(scope))
        except RefusedError as error:
            answer = _refuse(error)
        await answer(scope, receive, send_with_headers)

    return guarded


def _refuse(error: RefusedError) -> JSONResponse:
    return _tell(error.status, str(error))


async def _refuse_address(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return _tell(status, "The app has nothing at this address, or not in this way; open its first page.")


def _tell(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status)
