"""Take the pictures of kept boards that the documents show: needs Chromium and the test extra; `make screenshots`."""

from __future__ import annotations

import io
import itertools
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
LEADERBOARDS = HERE.parent / "leaderboards"
BOARDS = ("demo", "nih-official")
THEMES = ("light", "dark")
WIDTH = 1360
"""Of the window, in pixels."""
COLORS = 128
"""Enough for a page without photographs, at a third of the size."""


def main() -> None:
    """Write `BOARD-light.png` and `BOARD-dark.png` of each board beside this file."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        sys.exit("there is no Chromium; install it, such as by apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for board, theme in itertools.product(BOARDS, THEMES):
            context = browser.new_context(viewport={"width": WIDTH, "height": 1160}, offline=True)
            page = context.new_page()
            page.goto(f"{(LEADERBOARDS / board / 'index.html').as_uri()}#theme={theme}")
            end = page.locator("section[aria-labelledby=labels]").evaluate(
                "part => part.getBoundingClientRect().bottom"
            )
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": int(end) + 20}
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))  # type: ignore[arg-type]
            picture.quantize(COLORS, dither=Image.Dither.NONE).save(HERE / f"{board}-{theme}.png", optimize=True)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
