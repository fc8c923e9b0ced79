"""A search never sees the test split (harness.tuning.trial)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from harness.data.loading import load_disjoint
from harness.data.placement import place
from harness.testing.samples import make_data, prepared
from harness.training.prediction import Predictor
from harness.tuning.trial import withhold_test


def test_withheld_data_have_no_test_split_and_no_test_targets():
    data = make_data()
    data.targets[:] = 1
    with prepared(data, 64) as found:
        withheld = withhold_test(found)
        of_test = data.table["split"] == "test"
        assert of_test.any()
        assert not withheld.data.targets[of_test].any()
        assert (withheld.data.targets[~of_test] == data.targets[~of_test]).all()
        assert set(withheld.data.table["split"]) == {"train", "val", "withheld"}
        placed = place(withheld, torch.device("cpu"))
        whole = place(found, torch.device("cpu"))
    with pytest.raises(KeyError, match="test"):
        placed.splits["test"]
    for split in ("train", "val"):
        assert torch.equal(placed.splits[split], whole.splits[split])
    assert (found.data.table["split"] == data.table["split"]).all()


def tune(harness, folder, *more):
    code, out, err = harness(
        *("tune", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy"),
        *("--board", str(folder), "--trials", "3", "--search", "recipe.lr=1e-3..1e-1:log", "--sampler", "random"),
        *("--json", *more),
    )
    assert code == 0, err
    return json.loads(out)


def test_a_search_predicts_validation_alone(harness, tmp_path, monkeypatch):
    asked: list[str] = []
    logits = Predictor.logits

    def listen(self, split):
        asked.append(split)
        return logits(self, split)

    monkeypatch.setattr(Predictor, "logits", listen)
    tune(harness, tmp_path / "b", "--confirm", "2")
    assert set(asked) == {"val"}
    assert not (tmp_path / "b" / "records").exists()


def test_other_test_targets_change_nothing(harness, tmp_path, monkeypatch):
    """Only the fingerprint, by which a study knows its data, tells them apart."""
    honest = tune(harness, tmp_path / "honest", "--search", "model.width=4,8")

    def load_poisoned(source):
        data = load_disjoint(source)
        data.targets[(data.table["split"] == "test").to_numpy()] = np.nan
        return data

    monkeypatch.setattr("harness.tuning.trial.load_disjoint", load_poisoned)
    poisoned = tune(harness, tmp_path / "poisoned", "--search", "model.width=4,8")
    assert poisoned["default"] == honest["default"]
