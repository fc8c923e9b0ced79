"""Names of any text in a real browser: every one stands in the pictures, and every link leads somewhere."""

from __future__ import annotations

import pytest

from harness.board import Row
from harness.evaluation.parts import GroupPart, SubgroupPart
from tests.report.conftest import Builder
from tests.report.test_browser import open_page, rendered

pytestmark = [pytest.mark.service, pytest.mark.slow]
LABELS = (
    "Support.Devices", "1", "Lung/Opacity", "Lung_Opacity", "items", "a<b>", '"quoted"', "it's", "[bold]", "x[0]",
    "a\\b", "肺炎", "two  spaces", "tab\there", "{{ 1 }}", "x" * 300,
)  # fmt: skip
GROUPS = ("a<b>", "1", "two  spaces", "[0]", "it's", "肺")
COLUMNS = ("sex (M/F)", "sex", 'a "b"')
MODELS = ("net/a", "肺-1", "it's [0]", '"q"<i>', "{{ 1 }}")


def make_group(name: str, value: float) -> GroupPart:
    """A group of patients in which every label has that value."""
    counts = dict.fromkeys(LABELS, 20)
    per_label: dict[str, float | None] = dict.fromkeys(LABELS, value)
    return GroupPart(
        name=name, images=40, patients=40, positives=counts, negatives=counts, macro={"auroc": value},
        per_label={"auroc": per_label},
    )  # fmt: skip


def is_shown(name: str, texts: list[str]) -> bool:
    """Whether a text is the name, or is cut from it."""
    return any(name == text or (text.endswith("…") and name.startswith(text[:-1]) and len(text) > 20) for text in texts)


def test_odd_names_stand_in_every_picture_and_every_link_leads_to_its_row(browser, tmp_path):
    class Everywhere(Builder):
        """Every label has a value."""

        def metric(self, *values, higher_is_better=True):
            return super().metric(values[0], higher_is_better=higher_is_better)

        def record(self, *given, **changes):
            groups = [make_group(name, 0.6 + number / 20) for number, name in enumerate(GROUPS)]
            part = SubgroupPart(groups=groups, gaps={"auroc": None}, unknown=0)
            return super().record(*given, **changes, subgroups=dict.fromkeys(COLUMNS, part))

    builder = Everywhere(tmp_path)
    builder.labels = LABELS
    rows = [(Row(model=name, loss="bce", recipe="demo"), 0.9 - n / 20) for n, name in enumerate(MODELS)]
    file = rendered(builder, [*rows, (Row(model="last", loss="bce", recipe="demo"), 0.5)], seeds=(0, 1, 2))
    for page in open_page(browser, file, "light"):
        for drawing in page.locator("[data-figure]").all():
            drawing.scroll_into_view_if_needed()
            page.wait_for_function("one => 'drawn' in one.dataset", arg=drawing.element_handle())
        texts = page.locator("#drawing-labels svg text").all_text_contents()
        assert [label for label in LABELS if not is_shown(label, texts)] == [], texts
        for drawing in page.locator('[id^="drawing-subgroups"]').all():
            texts = drawing.locator("svg text").all_text_contents()
            assert [name for name in GROUPS if not is_shown(name, texts)] == []
        assert page.locator('[id^="drawing-subgroups"]').count() == len(COLUMNS)
        assert page.get_by_role("heading", name="AUROC by ").count() == len(COLUMNS) + 1  # by label, too
        chooser = page.get_by_label("label of the curves")
        assert chooser.locator("option").count() == len(LABELS)
        for number, label in enumerate(LABELS):
            chooser.select_option(index=number)
            page.wait_for_timeout(50)
            drawn = page.locator('#drawing-roc svg [aria-roledescription="line mark"]')
            assert drawn.count() == 6 + 5 * 3 + 1, label  # means, seeds, and the diagonal
        for number, (row, _) in enumerate(rows):
            page.goto("about:blank")
            page.goto(file.as_uri())
            page.locator("table.ranking tbody th a").nth(number).click()
            opened = page.locator("details[data-row][open]")
            opened.get_by_text("Seed by seed").wait_for()
            assert opened.get_attribute("data-row") == row.name
            shown = opened.inner_text()
            assert [label for label in LABELS if " ".join(label.split()) not in shown] == []
        broken = page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => decodeURIComponent(one.hash.slice(1)))"
            ".filter(name => !name.includes('=') && !document.getElementById(name))"
        )
        assert broken == []
        nameless = page.evaluate(
            "[...document.querySelectorAll('[aria-labelledby]')]"
            ".flatMap(one => one.getAttribute('aria-labelledby').split(' '))"
            ".filter(id => !document.getElementById(id))"
        )
        assert nameless == []
        repeated = page.evaluate(
            "[...document.querySelectorAll('[id]')].map(one => one.id).filter((id, n, all) => all.indexOf(id) !== n)"
        )
        assert repeated == []


LONG = (
    "tiny-cnn + focal, channels-of-the-first-block=128, dropout=0.25, alpha=0.75, gamma=2.0",
    "one_word_of_densenet_with_averaged_attention_pooling_that_is_long-and-has-hyphens-for-as-long-again-as-that",
)


@pytest.mark.parametrize("width", [390, 1400])
def test_a_long_title_stays_in_its_column(browser, tmp_path, width):
    titles = (*LONG, "short")
    rows = [(Row(model=f"net{n}", loss="bce", recipe="demo", title=titles[n]), 0.9 - n / 10) for n in range(3)]
    file = rendered(Builder(tmp_path), rows)
    for page in open_page(browser, file, "light"):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator("table.ranking tbody th a").first.inner_text() == LONG[0]
        too_wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
        assert page.locator("tbody th").evaluate_all(too_wide) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
