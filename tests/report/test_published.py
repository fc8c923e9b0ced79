"""Published rows: the schema, and that the bundled files keep to their own rules."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report.published import read_published

SPLIT = '[[splits]]\nname = "own"\ntitle = "Their own"\ncompares = "Nothing."\n'
ROW = '[[rows]]\nname = "Net"\nsplit = "own"\nsource = "a paper"\n'
BUNDLED = ("nih-official", "nih-dacnet", "nih-paper", "nih-70-10-20")


def bundled(name: str) -> Path:
    return Path(str(importlib.resources.files("harness.leaderboards") / name))


def test_a_board_without_the_file_has_no_published_rows(tmp_path):
    assert read_published(tmp_path).rows == ()


WRONG = {
    "not toml": ("[[rows", "is not TOML"),
    "unknown split": (ROW, "names the split 'own'; known are none"),
    "unknown key": (SPLIT + ROW + "auc = 0.8\n", "rows.0.auc"),
    "missing source": (SPLIT + ROW.replace("source", "note"), "rows.0.source"),
    "percent": (SPLIT + ROW + "auroc = 82.2\n", "rows.0.auroc"),
    "f1 without thresholds": (SPLIT + ROW + "f1 = 0.4\n", "say how they were chosen"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, case):
    text, message = WRONG[case]
    (tmp_path / "published.toml").write_text(text)
    with pytest.raises(UsageError, match=r"published\.toml") as caught:
        read_published(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_published_mean_is_the_mean_of_its_labels(name):
    rows = [row for row in read_published(bundled(name)).rows if row.auroc_per_label]
    assert rows
    for row in rows:
        assert len(row.auroc_per_label) == 14
        assert sum(row.auroc_per_label.values()) / 14 == pytest.approx(row.auroc, abs=6e-4), row.name


@pytest.mark.parametrize("name", BUNDLED)
def test_every_split_has_rows_and_says_what_it_can_be_compared_with(name):
    published = read_published(bundled(name))
    for split in published.splits:
        assert published.of(split)
        assert split.compares


def test_dacnets_f1_is_marked_as_fitted_on_test_and_the_vit_stands_on_its_own_split():
    rows = {row.name: row for row in read_published(bundled("nih-dacnet")).rows}
    dacnet = next(row for name, row in rows.items() if name.startswith("DACNet"))
    assert (dacnet.auroc, dacnet.f1) == (0.8527, 0.3861)
    assert "test labels" in dacnet.thresholds
    assert rows["ViT_Transformer"].split != dacnet.split
