"""A row's details show metrics of heat maps beside maps that know nothing of the image."""

from __future__ import annotations

import re

import pytest

from harness.evaluation.parts import BaselineLabel, BaselinePart, MapsPart
from harness.report.localization import average_localized
from harness.report.page import render

LABELS = ("Edema", "Mass", "Hernia")


def make_part(build, value, center, interval, threshold=None):
    """Edema has a value, and a baseline with the interval of its difference; the other labels have no boxes."""
    part = build.metric(value, None, None)
    beside = BaselineLabel(value=center, delta=value - center, interval=interval)
    nothing = BaselineLabel(value=None, delta=None)
    baseline = BaselinePart(
        about="A map of its center.",
        macro=center,
        delta=value - center,
        interval=interval,
        per_label={"Edema": beside, "Mass": nothing, "Hernia": nothing},
    )
    maps = MapsPart(
        about="Grad-CAM at last",
        images=10,
        patients=8,
        thresholds={} if threshold is None else {"Edema": threshold},
        baselines={"center": baseline},
    )
    labels = {
        name: one if one.value is not None else type(one)(value=None, positives=0, negatives=0)
        for name, one in part.per_label.items()
    }
    return part.model_copy(update={"maps": maps, "per_label": labels})


def test_values_and_ends_of_intervals_are_means_over_seeds(build):
    records = [
        build.record(seed=0, metrics={"auroc": build.metric(0.8), "iou": make_part(build, 0.6, 0.2, (0.3, 0.5), 0.4)}),
        build.record(seed=1, metrics={"auroc": build.metric(0.8), "iou": make_part(build, 0.8, 0.2, (0.5, 0.7), 0.6)}),
    ]
    (found,) = average_localized(records).values()
    assert found.about == ("Grad-CAM at last",)
    assert [line.name for line in found.lines] == ["mean of labels", "Edema"]
    for line in found.lines:
        assert line.value == pytest.approx(0.7)
        (beside,) = line.beside
        assert [beside.value, beside.delta] == pytest.approx([0.2, 0.5])
        assert list(beside.interval or ()) == pytest.approx([0.4, 0.6])
    assert found.lines[1].threshold == pytest.approx(0.5)


def test_the_page_shows_the_metric_beside_its_baselines(build):
    board = build.board(seeds=(0,), metrics=("auroc", "pointing"))
    metrics = {"auroc": build.metric(0.8), "pointing": make_part(build, 0.6, 0.2, (0.3, 0.5))}
    build.write(build.record(metrics=metrics))
    page = build.whole(render(board).page.read_text())
    table = page.partition('aria-label="pointing of heat maps of ')[2].partition("</table>")[0]
    cells = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]
    assert cells[0] == ["label", "images", "pointing", "center", "difference"]
    assert cells[2] == ["Edema", "10", "0.600", "0.200", "0.400", "0.300", "to", "0.500"]
    assert "center: A map of its center." in page


def test_a_board_without_such_a_metric_shows_nothing_of_it(build):
    board = build.board(seeds=(0,))
    build.write(build.record())
    assert "heat maps" not in build.whole(render(board).page.read_text())
