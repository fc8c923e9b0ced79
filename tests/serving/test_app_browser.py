"""The app in a real browser, served as `harness serve` does it: nothing complains, and nobody else is asked."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.conftest import TOY
from tests.serving.conftest import make_bomb, make_png

pytestmark = pytest.mark.service
MIB = 2**20
DROP = """async ([name, kind, content]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: kind }));
  document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true }));
}"""
TWENTY = """async ([content, filler]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const image = new Blob([bytes, new Uint8Array(filler)]);
  const ask = async () => {
    const answer = await fetch("api/predict?row=0", { method: "POST", body: image });
    return [answer.status, (await answer.json()).labels.map((one) => one.probability)];
  };
  return Promise.all(Array.from({ length: 20 }, ask));
}"""


@dataclass
class Served:
    """A program that serves the app."""

    address: str
    process: subprocess.Popen[str]

    @property
    def peak(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextmanager
def serve(board: Path, *more: str, folder: Path | None = None) -> Iterator[Served]:
    """Run `harness serve` for both rows until the block ends, in which it prints nothing but its address.

    A `folder` is where it runs and keeps what is temporary.
    """
    names = [f"{board}::{name}" for name in ("toy-net--bce--toy", "tiny-cnn--bce--toy")]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "serve", *names, "--port", "0", "--device", "cpu", *more],
        env=os.environ
        | {"HARNESS_PLUGIN": str(TOY), "OMP_NUM_THREADS": "1"}
        | ({"TMPDIR": str(folder)} if folder else {}),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("open http://"), line + process.stdout.read()
        try:
            yield Served(line.split()[1], process)
        finally:
            process.terminate()
        assert process.stdout.read() == ""  # neither a traceback nor a warning


@pytest.fixture(scope="module")
def served(toy_board) -> Iterator[Served]:
    with serve(toy_board) as one:
        yield one


@pytest.fixture(scope="module")
def image() -> bytes:
    pixels = np.random.default_rng(1).integers(60, 120, (16, 16), dtype=np.uint8)
    pixels[:5, :5] += 100
    return make_png(pixels)


@pytest.fixture(params=["light", "dark"])
def opened(browser, served, request) -> Iterator[Page]:
    yield from open_page(browser, served.address, theme=request.param)


@pytest.fixture
def seen(browser, served) -> Iterator[Page]:
    yield from open_page(browser, served.address)


def open_page(
    browser: Browser, address: str, *, theme: str = "light", width: int = 1400, expect: str = ""
) -> Iterator[Page]:
    """The page; in the end nothing has complained but of what was expected, and nobody else was asked."""
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    context.set_default_timeout(15_000)
    page, heard = context.new_page(), []
    own = address.split("?", maxsplit=1)[0]
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda asked: heard.append(asked.url) if is_foreign(asked.url, own) else None)
    page.goto(address)
    page.locator("#examples button").first.wait_for()
    yield page
    assert [line for line in heard if not (expect and expect in line)] == []
    context.close()


def is_foreign(address: str, own: str) -> bool:
    return not address.startswith((own, "data:", f"blob:{own}"))


def drop(page: Page, content: bytes, name: str = "chest.png", kind: str = "image/png") -> None:
    page.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])


def read_side(page: Page, side: int) -> dict[str, str]:
    """Label -> its probability as it is shown."""
    lines = page.locator(f'[data-side="{side}"] tbody tr')
    lines.first.wait_for()
    return {
        line.locator("th button").inner_text(): line.locator("td").first.inner_text().split("\n")[0]
        for line in lines.all()
    }


def wait_for_map(page: Page, side: int, label: str) -> None:
    page.locator(f'[data-side="{side}"] img.map[alt="Heat map of {label} over the image"]').wait_for()


def find_expected(row: Any, path: Path) -> dict[str, str]:
    scores = row.predict([path])
    return {label: f"{value:.3f}" for label, value in zip(row.labels, scores.calibrated[0], strict=True)}


def test_a_dropped_image_has_the_numbers_of_predict_by_both_rows(opened, toy_rows, image, tmp_path):
    (tmp_path / "one.png").write_bytes(image)
    drop(opened, image)
    opened.get_by_text("chest.png: the answers are below.").wait_for()
    for side, row in enumerate(toy_rows):
        assert read_side(opened, side) == find_expected(row, tmp_path / "one.png")
    decision = opened.locator(".decision").first.inner_text()
    assert " its threshold 0." in decision
    assert opened.locator("#waiting").is_hidden()


def test_an_image_is_chosen_by_the_keyboard(seen, image, tmp_path):
    (tmp_path / "one.png").write_bytes(image)
    seen.on("filechooser", lambda chooser: chooser.set_files(tmp_path / "one.png"))
    seen.reload()  # by then the browser hands choosers over, which it does not do at once
    seen.locator("#examples button").first.wait_for()
    seen.locator("#file").focus()
    seen.keyboard.press("Enter")
    assert len(read_side(seen, 0)) == 3


def test_the_label_of_the_heat_map_is_switched_in_both_rows(seen, image):
    drop(seen, image)
    read_side(seen, 0)
    seen.get_by_role("combobox", name="heat map of").first.select_option("second")
    for side in (0, 1):
        wait_for_map(seen, side, "second")
        assert seen.locator(f'[data-side="{side}"] button[aria-pressed="true"]').inner_text() == "second"
    seen.locator('[data-side="1"] tbody').get_by_role("button", name="third").focus()
    seen.keyboard.press("Enter")
    for side in (0, 1):
        wait_for_map(seen, side, "third")


def test_the_slider_changes_how_far_the_map_covers_the_image(seen, image):
    drop(seen, image)
    read_side(seen, 0)
    slider = seen.get_by_label("opacity of the heat map")
    slider.focus()
    seen.keyboard.press("End")
    assert seen.locator("#opacity-shown").inner_text() == "100 %"
    assert seen.locator(".map").first.evaluate("one => getComputedStyle(one).opacity") == "1"
    seen.keyboard.press("Home")
    assert seen.locator(".map").nth(1).evaluate("one => getComputedStyle(one).opacity") == "0"


def test_labels_are_sorted_by_how_near_they_are_to_their_threshold_or_as_in_the_dataset(seen, image):
    drop(seen, image)
    by_ratio = list(read_side(seen, 0))
    assert seen.locator('[data-side="0"] tbody tr').first.get_attribute("class") == "reached"
    seen.get_by_label("order of the labels").select_option("dataset")
    assert list(read_side(seen, 0)) == ["first", "second", "third"]
    seen.get_by_label("order of the labels").select_option("ratio")
    assert list(read_side(seen, 0)) == by_ratio


def test_an_example_shows_what_is_known_and_the_second_row_can_be_left_out(seen):
    seen.get_by_label("second row", exact=True).select_option("none")
    seen.locator("#examples button").first.click()
    seen.get_by_text("the answers are below").wait_for()
    assert seen.get_by_text("known: ").first.is_visible()
    assert not seen.locator('[data-side="1"] .answer-of').is_visible()
    seen.get_by_label("second row", exact=True).select_option("tiny-cnn--bce--toy, seed 0")
    assert len(read_side(seen, 1)) == 3


def test_what_cannot_be_used_is_said_and_the_next_image_is_looked_at(browser, served, image):
    refusals = "Failed to load resource"  # so the browser notes an answer that says no
    for page in open_page(browser, served.address, expect=refusals):
        alert = page.get_by_role("alert")
        drop(page, b"<html><script>alert(1)</script></html>")
        alert.get_by_text("This is no PNG, JPEG, TIFF or DICOM image, whatever its name says.").wait_for()
        assert not page.locator(".answer-of").first.is_visible()
        before = served.peak
        drop(page, make_bomb())
        alert.get_by_text("it has too many pixels").wait_for()
        assert served.peak - before < 32 * MIB
        drop(page, image)
        assert len(read_side(page, 0)) == 3
        assert not alert.is_visible()


def test_a_file_that_is_too_large_is_not_even_sent(seen):
    seen.evaluate("lookAtFile(new File([new Uint8Array(70 * 2 ** 20)], 'large.png'))")
    seen.get_by_role("alert").get_by_text("larger than 64 MiB").wait_for()


def test_twenty_uploads_at_once_are_answered_in_the_memory_of_a_few(browser, toy_board, toy_rows, image, tmp_path):
    filler = 40 * MIB
    small = np.asarray(Image.open(io.BytesIO(image)))
    content = make_png(small.repeat(250, axis=0).repeat(250, axis=1))  # 16 million pixels in a file of 40 MiB
    with serve(toy_board, folder=tmp_path) as one:
        for page in open_page(browser, one.address):
            drop(page, content)
            expected = read_side(page, 0)
            before = one.peak
            answers = page.evaluate(TWENTY, [base64.b64encode(content).decode(), filler])
            grown = one.peak - before
            assert list(tmp_path.iterdir()) == []  # nothing is stored
    assert [status for status, _ in answers] == [200] * 20
    assert {tuple(f"{value:.3f}" for value in values) for _, values in answers} == {
        tuple(expected[label] for label in toy_rows[0].labels)
    }
    told = f"memory grew by {grown / MIB:.0f} from {before / MIB:.0f} MiB"
    assert grown < 6 * filler, told  # four files are in memory at once, one of which is decoded


def test_a_page_of_another_address_works_with_its_token_alone(browser, toy_board, image):
    with serve(toy_board, "--host", "0.0.0.0") as one:
        found = re.fullmatch(r"http://.+:(\d+)/(\?token=.+)", one.address)
        assert found
        port, token = found.groups()
        for page in open_page(browser, f"http://127.0.0.1:{port}/{token}"):
            drop(page, image)
            assert len(read_side(page, 0)) == 3
            other = page.context.new_page()
            told = other.goto(f"http://127.0.0.1:{port}/")
            assert told is not None
            assert told.status == 403
            assert "lacks the token" in other.inner_text("body")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window_and_axe_finds_nothing_to_fix(browser, served, image, theme, width):
    context = browser.new_context(
        color_scheme=theme, viewport={"width": width, "height": 900}, bypass_csp=True, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(served.address)
    page.locator("#examples button").first.wait_for()
    start_found = Axe().run(page)
    drop(page, image)
    page.get_by_text("the answers are below").wait_for()
    for found in (start_found, Axe().run(page)):
        assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for table in page.locator(".scroll").all():
        assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
    context.close()


def test_the_theme_is_switched_and_stays(seen):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = seen.evaluate(ground)
    seen.get_by_label("Theme").select_option("dark")
    assert seen.evaluate(ground) != light
    seen.reload()
    assert seen.get_by_label("Theme").input_value() == "dark"
    assert seen.evaluate(ground) != light
