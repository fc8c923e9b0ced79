"""Embeddings in the cache: made once, gone on with after a kill, made again where they are damaged."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from harness.data import embeddings
from harness.data.embeddings import MANIFEST, UNFINISHED, VALUES, obtain
from harness.locks import hold_lock

COUNT = 25


class Numbers:
    """An encoder that counts what it is asked for, and may be killed."""

    width = 3

    def __init__(self, killed_at: int | None = None, about: Mapping[str, Any] | None = None) -> None:
        self.killed_at, self.about = killed_at, about or {"layer": "fc"}
        self.asked: list[int] = []

    def embed(self, first: int, last: int) -> np.ndarray:
        if self.killed_at is not None and last > self.killed_at:
            raise KeyboardInterrupt
        self.asked += range(first, last)
        return np.arange(first * 3, last * 3, dtype=np.float32).reshape(-1, 3)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(embeddings, "CHUNK", 10)


def _give(encoder: Numbers) -> Numbers:
    return encoder


def refuse() -> Numbers:
    raise AssertionError("the encoder was asked for")


EXPECTED = np.arange(COUNT * 3, dtype=np.float32).reshape(-1, 3)


def test_each_image_is_embedded_once_and_a_second_time_nothing_is_asked_for(tmp_path):
    encoder = Numbers()
    told: list[int] = []
    made = obtain(tmp_path / "0123", COUNT, lambda: encoder, advance=told.append)
    again = obtain(tmp_path / "0123", COUNT, refuse)
    assert encoder.asked == list(range(COUNT))
    assert told == [10, 20, 25]
    assert np.array_equal(made.values, EXPECTED)
    assert np.array_equal(again.values, EXPECTED)
    assert (again.key, again.manifest.about, again.manifest.digest) == ("0123", {"layer": "fc"}, made.manifest.digest)
    assert (tmp_path / "0123" / VALUES).stat().st_size == COUNT * 3 * 4


def test_interrupted_work_goes_on_after_the_last_chunk_that_is_sound(tmp_path):
    folder, encoder = tmp_path / "e", Numbers()
    with pytest.raises(KeyboardInterrupt):
        obtain(folder, COUNT, lambda: Numbers(killed_at=20))
    assert not (folder / MANIFEST).exists()
    with (folder / VALUES).open("ab") as file:
        file.write(b"half a chunk")
    assert np.array_equal(obtain(folder, COUNT, lambda: encoder).values, EXPECTED)
    assert encoder.asked == list(range(20, COUNT))
    assert not (folder / UNFINISHED).exists()


def test_interrupted_work_that_was_damaged_or_is_of_another_encoder_is_not_gone_on_with(tmp_path):
    for name, damage in (("damaged", True), ("other", False)):
        folder = tmp_path / name
        with pytest.raises(KeyboardInterrupt):
            obtain(folder, COUNT, lambda: Numbers(killed_at=20))
        if damage:
            content = bytearray((folder / VALUES).read_bytes())
            content[125] ^= 1  # in the second chunk
            (folder / VALUES).write_bytes(content)
        encoder = Numbers(about=None if damage else {"layer": "head"})
        assert np.array_equal(obtain(folder, COUNT, partial(_give, encoder)).values, EXPECTED)
        assert encoder.asked[0] == (10 if damage else 0)


@pytest.mark.parametrize("damage", ["flip", "short", "manifest", "gone"])
def test_finished_embeddings_that_are_damaged_are_made_again_which_is_remarked(tmp_path, damage):
    folder = tmp_path / "e"
    remarks: list[str] = []
    obtain(folder, COUNT, Numbers)
    if damage == "flip":
        content = bytearray((folder / VALUES).read_bytes())
        content[-1] ^= 1
        (folder / VALUES).write_bytes(content)
    elif damage == "short":
        (folder / VALUES).write_bytes((folder / VALUES).read_bytes()[:-4])
    elif damage == "manifest":
        plain = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(plain | {"seconds": 5.0}))
    else:
        (folder / VALUES).unlink()
    assert np.array_equal(obtain(folder, COUNT, Numbers, remarks.append).values, EXPECTED)
    assert len(remarks) == 1
    assert "are damaged" in remarks[0]


def test_who_comes_while_another_is_at_work_waits_and_makes_nothing(tmp_path):
    entered, go_on = threading.Event(), threading.Event()
    found: list[embeddings.Embeddings] = []

    class Slow(Numbers):
        def embed(self, first, last):
            entered.set()
            go_on.wait(10)
            return super().embed(first, last)

    first = threading.Thread(target=lambda: found.append(obtain(tmp_path / "e", COUNT, Slow)))
    first.start()
    entered.wait(10)
    second = threading.Thread(target=lambda: found.append(obtain(tmp_path / "e", COUNT, refuse)))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert len(found) == 2
    assert np.array_equal(found[1].values, EXPECTED)


def test_whoever_waits_for_another_process_hears_it_once_and_has_nothing_to_remark(tmp_path):
    remarks: list[str] = []
    heard: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with hold_lock(tmp_path / "key" / "lock", "the embeddings"):
            waiting = pool.submit(obtain, tmp_path / "key", COUNT, Numbers, remarks.append, on_wait=heard.append)
            time.sleep(1.5)
            assert not waiting.done()
        assert np.array_equal(waiting.result().values, EXPECTED)
    assert remarks == []
    (text,) = heard
    assert text.startswith(f"waiting for the embeddings in {tmp_path / 'key'}: process ")
