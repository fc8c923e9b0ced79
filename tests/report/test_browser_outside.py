"""Outside tests on the page in a real browser: everything fits, nothing complains, axe finds nothing to fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from harness.board import OutsideTest
from harness.components import LEAK
from harness.registry import load_registry
from harness.report.page import render
from harness.results.record import FailurePart

pytestmark = pytest.mark.service
TESTS = (
    OutsideTest(dataset="chexpert", title="CheXpert"),
    OutsideTest(dataset="vindr-cxr", splits=("train", "test"), title="A hospital with quite a long name, and others"),
    OutsideTest(dataset="nih-cxr14", options={"split": "random"}),
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, make_outside_builder) -> Path:
    """Four rows of three seeds on three outside tests: one cell failed, one was not measured, one test leaks."""
    build = make_outside_builder(tmp_path_factory.mktemp("outside"))
    near, far, own = (test.key for test in TESTS)
    labels = {near: ("Edema", "Mass"), far: ("Edema",), own: ("Edema", "Mass", "Hernia")}
    failure = FailurePart(kind="data", message="3 images are in training as well", where="outside.py:1 in f")
    leaking = build.part(TESTS[2], labels[own])
    data = leaking.data.model_copy(update={"notes": {LEAK: "5 images are shared"}})
    rows = {"first": 1.2, "second": 1.0, "third": 0.8, "fourth": 0.4}
    parts = {(row, seed, own): leaking.model_copy(update={"data": data}) for row in rows for seed in range(3)}
    parts |= {
        ("third", seed, far): build.part(TESTS[1], labels[far], status="failed", failure=failure, data=None)
        for seed in range(3)
    }
    parts |= {("fourth", seed, near): None for seed in range(3)}
    board = build.board(*rows, seeds=(0, 1, 2), tests=TESTS)
    worse = {near: 0.8, far: 0.5, own: 1.0}
    return render(build.measure(board, rows, worse, labels, load_registry(), parts)).page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_matrix_fits_its_window_and_axe_finds_nothing_to_fix(browser, page_file, theme, width):
    context = browser.new_context(color_scheme=theme, bypass_csp=True, viewport={"width": width, "height": 900})
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(page_file.as_uri() + "#at=outside")
    for summary in page.locator("section[aria-labelledby=outside] details > summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert heard == []
    context.close()


def test_a_cell_tells_by_the_keyboard_what_it_rests_on(browser, page_file):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(page_file.as_uri())
    cell = page.locator("table.matrix td[data-tip]").first
    cell.focus()
    tip = page.locator("#tip").inner_text()
    assert "first + bce on CheXpert" in tip
    assert "AUROC over 2 of 2 labels with a counterpart" in tip
    assert "Dropped, as nothing there stands for it: Hernia" in tip
    context.close()
