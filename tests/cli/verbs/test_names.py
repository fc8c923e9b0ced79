"""Names of labels and files of any text in a terminal: each is printed as it is."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

NAMES = (
    "Support.Devices", "1", "Lung/Opacity", "Lung_Opacity", "items", "a<b>", '"quoted"', "it's", "[red]", "[/]", "x[0]",
    "a\\b", ":smile:", "肺炎", "[link=x]y[/link]", "{0}", "%s", "w" * 60,
)  # fmt: skip


@pytest.fixture
def save_odd(save_predictions):
    """Writes predictions of these labels."""

    def save(name, seed, skill):
        truth = np.random.default_rng(1).random((120, len(NAMES))) < 0.4
        logits = np.random.default_rng(seed).normal(size=truth.shape) + skill * (truth - 0.5)
        arrays = {"targets": truth.astype(np.float32), "logits": logits.astype(np.float32)}
        return save_predictions(name, seed, labels=np.array(NAMES), **arrays)

    return save


def squeeze(text):
    """The text without what wraps a long name."""
    return re.sub(r"\s", "", text)


def test_score_and_compare_print_every_name_as_it_is(harness, save_odd):
    for seed in range(3):
        save_odd(f"[good]/{seed}.npz", seed, 2.0)
        save_odd(f"bad[0]/{seed}.npz", seed + 10, 0.5)
    code, out, err = harness("score", "[good]", "--metrics", "auroc,f1@0.5")
    assert code == 0, err
    assert [name for name in NAMES if name not in squeeze(out)] == []
    document = json.loads(harness("score", "[good]", "--metrics", "auroc", "--json")[1])
    assert tuple(document["metrics"]["auroc"]["per_label"]) == NAMES
    code, out, err = harness("compare", "[good]", "bad[0]")
    assert code == 0, err
    assert "[good]" in out
    assert "bad[0]" in out


def test_a_label_that_is_not_there_is_named_as_it_was_given(harness, save_odd):
    save_odd("s.npz", 0, 1.0)
    code, _, err = harness("score", "s.npz", "--labels", "[red],[bold]missing[/]")
    assert code != 0
    assert "[bold]missing[/]" in err
