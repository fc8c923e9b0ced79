"""The page in a real browser, without a network: nothing is asked for, nothing complains, everything works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from harness.board import board_text, row_text, save_board
from harness.evaluation.resamples import Resamples
from harness.report.page import render
from harness.results.store import write_record

pytestmark = pytest.mark.service
FLAGS = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("there is no Chromium; install it, such as by apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=[f"--{flag}" for flag in [*FLAGS.split(), "disable-sync"]]
        )
        yield started
        started.close()


@pytest.fixture
def page_file(build_once) -> Path:
    """A rendered board of three rows with two seeds, with pictures."""
    values = {"alpha": 0.9, "beta": 0.85, "gamma": 0.7}
    board = build_once.board(*values)
    rows = [row_text([row.model], [row.loss], [row.recipe], row.params) for row in board.rows]
    board = save_board(board.folder, board_text(board, rows))
    for number, (model, value) in enumerate(values.items()):
        for seed in (0, 1):
            record = build_once.record(
                model,
                seed,
                {
                    "auroc": build_once.metric(value, value - 0.1, value - 0.2),
                    "brier": build_once.metric(0.1 + number / 10, higher_is_better=False),
                },
            )
            noise = np.random.default_rng(10 * number + seed).normal(0, 0.01, 200)
            macro = {name: (part.macro or 0) + noise for name, part in record.metrics.items()}
            curves = {f"{kind}/Edema": np.array([[0, 0.2, 1], [0, 0.8, 1]]) for kind in ("roc", "pr")}
            write_record(board.folder, record, Resamples(macro, {"Edema": macro["auroc"]}, curves))
    return render(board).page


@pytest.fixture(params=["light", "dark"])
def opened(browser, page_file, request) -> Iterator[Page]:
    """The page, opened from its file with the network off; in the end nothing has complained or been asked for."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1300, "height": 900})
    context.set_offline(True)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda asked: heard.append(asked.url) if asked.url != page_file.as_uri() else None)
    page.goto(page_file.as_uri())
    yield page
    assert heard == []
    context.close()


def models(page: Page) -> list[str]:
    return [text.split("\n")[0] for text in page.locator("table.sortable tbody th a").all_inner_texts()]


def test_rows_are_sorted_by_a_click_and_by_the_keyboard(opened):
    assert models(opened) == ["alpha", "beta", "gamma"]
    heading = opened.get_by_role("button", name="auroc").first
    heading.click()
    heading.click()
    assert models(opened) == ["gamma", "beta", "alpha"]
    opened.get_by_role("button", name="brier").first.focus()
    opened.keyboard.press("Enter")
    assert models(opened)[0] == "alpha"


def test_the_labels_are_shown_in_one_metric_at_a_time(opened):
    bodies = opened.locator("[data-metric]")
    assert [bodies.nth(n).is_visible() for n in range(bodies.count())].count(True) == 1
    opened.select_option("#label-metric", "brier")
    assert opened.locator('[data-metric="brier"]').is_visible()
    assert not opened.locator('[data-metric="auroc"]').is_visible()


def test_a_link_opens_the_row(opened):
    opened.locator("table.sortable tbody th a").nth(1).click()
    assert opened.locator("details[open]").count() == 1
    assert "beta" in opened.locator("details[open] summary").inner_text()


def test_every_picture_is_drawn_when_it_comes_into_view(opened):
    pictures = opened.locator("[data-figure]")
    assert pictures.count() >= 6
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        pictures.nth(number).locator("svg").wait_for()
    described = opened.locator("[data-figure] svg").first.get_attribute("aria-label")
    assert described is not None
    assert "alpha--bce--demo" in described


def test_without_scripts_the_pictures_are_there_and_all_labels_too(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("noscript svg").count() >= 6
    assert page.locator("noscript svg").first.is_visible()
    assert page.locator('[data-metric="brier"]').is_visible()
    context.close()
