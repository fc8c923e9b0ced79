"""What `harness data check` and `stats` find."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from harness import Dataset
from harness.data.checks import check
from harness.data.loading import Source
from harness.data.prepare import prepare
from harness.data.statistics import as_plain, describe


def run_checks(data, tmp_path):
    source = Source(Dataset(name="some", load=lambda root: data), "", {}, tmp_path)
    return {finding.name: finding for finding in check(data, prepare(source, data, 16, tmp_path))}


def test_a_sound_dataset_passes_every_check(small_data, tmp_path):
    findings = run_checks(small_data, tmp_path)
    assert all(finding.ok for finding in findings.values()), findings


def test_a_leaking_patient_a_twin_an_empty_label_and_a_bad_box_are_found(small_data, tmp_path):
    table = small_data.table
    test_rows = np.flatnonzero(table["split"] == "test")
    images = small_data.images.copy()
    images[test_rows[0]] = images[0]
    targets = small_data.targets.copy()
    targets[test_rows, 1] = 0
    table.loc[test_rows[1], "patient"] = "p0"
    boxes = pd.DataFrame([("i000", "first", 1, 2, 0, 4)], columns=["image", "label", "x", "y", "width", "height"])
    findings = run_checks(dataclasses.replace(small_data, images=images, targets=targets, boxes=boxes), tmp_path)
    assert findings["patients in one split"].examples == ("p0",)
    assert findings["images in one split"].examples == (f"i000 (train) = {table['image'][test_rows[0]]} (test)",)
    assert findings["labels measurable"].examples == ("second has no positives in test",)
    assert findings["boxes"].examples == ("i000: first",)


def test_statistics_count_what_pandas_counts(small_data):
    targets = small_data.targets.copy()
    targets[0, 0] = np.nan
    data = dataclasses.replace(small_data, targets=targets)
    statistics = describe(data)
    for split in ("train", "val", "test"):
        rows = (data.table["split"] == split).to_numpy()
        counts = statistics.groups[split]
        assert (counts.images, counts.patients) == (rows.sum(), data.table[rows]["patient"].nunique())
        for index, label in enumerate(data.labels):
            assert counts.labels[label].positives == int(np.nansum(targets[rows, index]))
    everything = statistics.groups["all"].labels["first"]
    assert (everything.unknown, everything.positives + everything.negatives) == (1, 47)
    assert as_plain(statistics)["groups"]["all"]["labels"]["first"]["prevalence"] == everything.prevalence
    assert statistics.groups["train+val"].images == statistics.groups["train"].images + statistics.groups["val"].images
