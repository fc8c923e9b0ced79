"""A trained toy row, and an app that is asked without a server."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.loading import find_source, load
from harness.registry import load_registry
from harness.serving.app import App
from harness.serving.examples import Examples
from harness.serving.guard import Guard
from harness.serving.loading import open_row
from harness.serving.rows import LoadedRow
from tests.conftest import TOY


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of an error."""
        sentence: str = self.json["error"]
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "Traceback" not in sentence
        return sentence


async def call(
    app: Any,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
    pieces: list[bytes] | None = None,
) -> Answer:
    """Ask an ASGI app as a server does; POST where there is a body, which may arrive in pieces."""
    told = {"host": "127.0.0.1:8765"} | ({} if body is None else {"content-length": str(len(body))}) | (headers or {})
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method or ("GET" if body is None and pieces is None else "POST"),
        "path": place,
        "raw_path": place.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8765),
    }
    left, answer = list(pieces if pieces is not None else [body or b""]), Answer()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def make_png(pixels: Any) -> bytes:
    """A PNG of grey pixels (H, W) uint8."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def make_bomb(side: int = 30_000) -> bytes:
    """A whole PNG of side x side black pixels of one bit: small, as zeros compress."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(side * (1 + (side + 7) // 8)))
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels in about 110 KB."""
    return make_bomb()


@pytest.fixture
def ask():
    """Asks an app one thing."""

    def run(app: Any, path: str, body: bytes | None = None, **more: Any) -> Answer:
        return asyncio.run(call(app, path, body, **more))

    return run


@pytest.fixture(scope="session")
def toy_rows(toy_board) -> tuple[LoadedRow, ...]:
    """Both rows of the toy board."""
    names = ("toy-net--bce--toy", "tiny-cnn--bce--toy")
    registry = load_registry([TOY])
    return tuple(open_row(f"{toy_board}::{name}", registry, torch.device("cpu")) for name in names)


@pytest.fixture
def image() -> bytes:
    """A PNG that the first label's corner lights up in."""
    pixels = np.random.default_rng(1).integers(60, 120, (16, 16), dtype=np.uint8)
    pixels[:5, :5] += 100
    return make_png(pixels)


@pytest.fixture
def make_app(toy_rows, tmp_path):
    """Makes the app of both toy rows."""

    def make(*, token: str = "", rows: Any = toy_rows, read: Any = None, **more: Any) -> Any:
        registry = load_registry([TOY])
        source = find_source(registry.offer("dataset", "toy"), {}, tmp_path)
        examples = Examples(rows[0], read or (lambda: load(source)))
        return App(rows, registry, examples, Guard(host="127.0.0.1", token=token), **more).make()

    return make


@pytest.fixture
def app(make_app):
    return make_app()
