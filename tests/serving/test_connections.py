"""Who is slow, asked through real sockets: nobody else is held up."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from harness.serving.limits import MIB, AppLimits
from harness.serving.server import make_server, open_port

HEAD = "POST /api/predict?row=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n"
WAITING = HEAD.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")
"""The head of a request that is answered by a line when its file is wanted."""
HANGS = 20
"""Seconds after which a socket that nothing comes from makes its test fail."""


@contextmanager
def run(app: Any, limits: AppLimits) -> Iterator[Callable[[], socket.socket]]:
    """An app behind a port, and what opens a connection to it."""
    server, listening = make_server(app, limits), open_port("127.0.0.1", 0)
    address = listening.getsockname()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(socket.create_connection(address, timeout=HANGS))
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def connecting(make_app):
    """Serves both toy rows with some limits, until the test ends."""
    with ExitStack() as running:

        def start(**given: Any) -> Callable[[], socket.socket]:
            limits = AppLimits(**given)
            return running.enter_context(run(make_app(limits=limits), limits))

        yield start


def ask(connection: socket.socket, image: bytes) -> int:
    """Send an image whole and read the answer; gives its status."""
    connection.sendall(HEAD.format(len(image)).encode() + image)
    return read_status(connection)


def begin(connection: socket.socket, image: bytes) -> socket.socket:
    """Send an image but for its last byte, when the app is ready for it."""
    connection.sendall(WAITING.format(len(image)).encode())
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(image[:-1])
    return connection


def read_status(connection: socket.socket) -> int:
    with http.client.HTTPResponse(connection, method="POST") as answer:
        answer.begin()
        answer.read()
        return answer.status


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closes a connection by which it says nothing."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD.encode()[:-2]], ids=["nothing", "a line", "a head"])
def test_a_connection_whose_head_does_not_end_is_closed(connecting, sent):
    connect = connecting(seconds=0.2)
    connection = connect()
    connection.sendall(sent)
    assert is_closed(connection)


def test_a_connection_whose_second_head_comes_byte_by_byte_is_closed(connecting, image):
    connection = connecting(seconds=2)()
    assert ask(connection, image) == 200
    connection.settimeout(0.1)
    for _ in range(10 * HANGS):
        try:
            connection.sendall(b"A")  # each byte sets back the clock that uvicorn itself has for this
            assert is_closed(connection)
        except TimeoutError:
            continue
        except OSError:
            pass
        return
    pytest.fail("the connection is still open")


def test_files_that_do_not_arrive_are_given_up_and_hold_nobody_up(connecting, image):
    connect = connecting(patience=0.5, memory=4 * MIB, upload=MIB)
    slow = [connect() for _ in range(8)]
    for one in slow:
        one.sendall(HEAD.format(MIB).encode() + b"a")
    assert ask(connect(), image) == 200
    assert {read_status(one) for one in slow} == {408}


def test_a_file_is_answered_beside_slow_ones_that_leave_room_for_it(connecting, image):
    connect = connecting(memory=4 * MIB)
    slow = [connect() for _ in range(8)]
    for one in slow:
        one.sendall(HEAD.format(MIB // 4).encode() + b"a")
    assert ask(connect(), image) == 200
    assert all(one.send(b"a") for one in slow)


def test_beyond_the_most_connections_the_one_that_asks_nothing_longest_is_closed(connecting, image):
    connect = connecting(connections=4)
    asking = begin(connect(), image)
    silent = [connect() for _ in range(3)]
    assert ask(connect(), image) == 200
    assert is_closed(silent[0])
    asking.sendall(image[-1:])
    assert read_status(asking) == 200


def test_where_all_connections_are_busy_a_new_one_is_closed(connecting, image):
    connect = connecting(connections=2)
    busy = [begin(connect(), image) for _ in range(2)]
    assert is_closed(connect())
    for one in busy:
        one.sendall(image[-1:])
        assert read_status(one) == 200
