"""How much the app takes, and in which order."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from starlette.requests import Request

from harness.serving.limits import MIB, AppLimits, Desk, RefusedError


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
    with pytest.raises(RefusedError, match=r"took too long to arrive: .*, and all of it 0\.05\.") as caught:
        handle(make_request([b"a"] * 100, pause=0.02), AppLimits(seconds=0.05))
    assert caught.value.status == 408


def test_a_file_that_stops_arriving_is_given_up_long_before_its_time():
    with pytest.raises(RefusedError, match=r"a MiB may take 0\.05 seconds") as caught:
        handle(make_request([bytes(MIB), b"a", b"b"], pause=0.04), AppLimits(patience=0.05))
    assert caught.value.status == 408


def test_a_large_file_may_take_longer_than_a_part_of_it():
    pieces = [bytes(MIB)] * 6
    assert handle(make_request(pieces, pause=0.25), AppLimits(patience=1)) == b"".join(pieces)


def test_files_share_memory_by_what_they_say_of_their_size_and_a_large_one_is_not_passed_over():
    async def main() -> list[str]:
        desk, order, told = Desk(AppLimits(upload=MIB, memory=MIB)), list[str](), asyncio.Event()

        async def send(name: str, length: int, until: asyncio.Event | None = None) -> None:
            async def receive() -> dict[str, Any]:
                order.append(name)
                if until is not None:
                    await until.wait()
                return {"type": "http.request", "body": name.encode(), "more_body": False}

            headers = [(b"content-length", str(length).encode())]
            await desk.handle(
                Request({"type": "http", "method": "POST", "headers": headers}, receive), lambda body: body
            )

        async with asyncio.TaskGroup() as group:
            group.create_task(send("half", MIB // 2, told))
            group.create_task(send("quarter", MIB // 4, told))
            group.create_task(send("whole", MIB))
            group.create_task(send("small", 1))
            for _ in range(10):
                await asyncio.sleep(0)
            assert order == ["half", "quarter"]
            told.set()
        return order

    assert asyncio.run(main()) == ["half", "quarter", "whole", "small"]


def test_who_leaves_while_waiting_makes_room_for_the_next():
    async def main() -> bytes:
        desk = Desk(AppLimits(upload=MIB, memory=MIB))
        kept = asyncio.create_task(desk.handle(make_request([b"a"], pause=0.1), lambda body: body))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(desk.handle(make_request([b"b"]), lambda body: body)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await kept
        return await waiting[1]

    assert asyncio.run(main()) == b"b"


def test_of_twenty_files_a_few_are_in_memory_and_one_is_worked_on():
    limits, reading, working = AppLimits(upload=MIB, memory=3 * MIB), [0, 0], [0, 0]
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
        desk = Desk(AppLimits(upload=MIB, memory=MIB, waiting=2))

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
        desk = Desk(AppLimits(upload=MIB, memory=MIB))

        def fail(body: bytes) -> bytes:
            raise ZeroDivisionError

        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await desk.handle(make_request([b"a"]), fail)
        return await desk.handle(make_request([b"a"]), lambda body: body)

    assert asyncio.run(main()) == b"a"
