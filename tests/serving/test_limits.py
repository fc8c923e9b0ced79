"""How much the app takes, and in which order."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from starlette.requests import Request

from harness.serving.limits import AppLimits, Desk, RefusedError


def make_request(pieces: list[bytes], length: str | None = None, pause: float = 0) -> Request:
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def handle(request: Request, limits: AppLimits) -> bytes:
    return asyncio.run(Desk(limits).handle(request, lambda body: body))


def test_a_file_of_several_pieces_arrives_whole():
    assert handle(make_request([b"one ", b"two ", b""]), AppLimits()) == b"one two "


@pytest.mark.parametrize("length", ["11", "-1", "many"])
def test_a_file_that_says_that_it_is_too_large_is_refused_before_it_is_read(length):
    def receive() -> None:
        raise AssertionError

    request = make_request([], length)
    request._receive = receive  # type: ignore[assignment]
    with pytest.raises(RefusedError, match="larger than") as caught:
        handle(request, AppLimits(upload=10))
    assert caught.value.status == 413


def test_a_file_that_turns_out_too_large_is_given_up():
    with pytest.raises(RefusedError, match=r"larger than 1 MiB, which is the most") as caught:
        handle(make_request([bytes(2**19)] * 3), AppLimits(upload=2**20))
    assert caught.value.status == 413


def test_a_slow_file_is_given_up():
    with pytest.raises(RefusedError, match=r"longer than 0\.05 seconds") as caught:
        handle(make_request([b"a"] * 100, pause=0.02), AppLimits(seconds=0.05))
    assert caught.value.status == 408


def test_of_twenty_files_a_few_are_in_memory_and_one_is_worked_on():
    limits, reading, working = AppLimits(uploads=3), [0, 0], [0, 0]
    lock = threading.Lock()

    def work(body: bytes) -> bytes:
        with lock:
            working[0] += 1
            working[1] = max(working)
        time.sleep(0.01)
        with lock:
            working[0] -= 1
        return body

    async def main() -> list[bytes]:
        desk = Desk(limits)

        async def one(number: int) -> bytes:
            body, sent = str(number).encode(), False

            async def receive() -> dict[str, Any]:
                nonlocal sent
                assert not sent
                sent = True
                reading[0] += 1
                reading[1] = max(reading)
                return {"type": "http.request", "body": body, "more_body": False}

            answer = await desk.handle(Request({"type": "http", "method": "POST", "headers": []}, receive), work)
            reading[0] -= 1
            return answer

        return await asyncio.gather(*map(one, range(20)))

    assert asyncio.run(main()) == [str(number).encode() for number in range(20)]
    assert working[1] == 1
    assert reading[1] <= 3 + 1  # the next one is let in a moment before the last has counted itself out


def test_those_beyond_the_queue_are_told_to_come_back_and_the_others_are_answered():
    async def main() -> list[Any]:
        desk = Desk(AppLimits(uploads=1, waiting=2))

        def work(body: bytes) -> bytes:
            time.sleep(0.05)
            return body

        requests = [desk.handle(make_request([b"a"]), work) for _ in range(5)]
        return await asyncio.gather(*requests, return_exceptions=True)

    answers = asyncio.run(main())
    refused = [one for one in answers if isinstance(one, RefusedError)]
    assert [one.status for one in refused] == [503, 503]
    assert "2 images wait already" in str(refused[0])
    assert answers.count(b"a") == 3


def test_work_that_fails_frees_its_place():
    async def main() -> bytes:
        desk = Desk(AppLimits(uploads=1))

        def fail(body: bytes) -> bytes:
            raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await desk.handle(make_request([b"a"]), fail)
        return await desk.handle(make_request([b"a"]), lambda body: body)

    assert asyncio.run(main()) == b"a"
