"""What `harness data stats` counts."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Data
from harness.cli.tables import print_statistics
from harness.data.statistics import as_plain, describe


@st.composite
def datasets(draw):
    """Data of up to 30 images with unknown targets, ages, views and sexes."""
    count = draw(st.integers(1, 30))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(count)],
            "split": column(["train", "val", "test"]),
            "patient": column(["a", "b", "c", "d"]),
            "age": column([np.nan, 1.0, 30.0, 31.0, 90.0]),
            "sex": column(["M", "F", None]),
            "view": column(["PA", "AP", None]),
        }
    )
    targets = np.array([column([0.0, 1.0, np.nan]) for _ in range(2)], dtype=np.float32).T
    return Data(labels=("first", "second"), images=np.zeros((count, 8, 8), np.uint8), targets=targets, table=table)


@given(datasets())
def test_every_image_is_counted_once_and_splits_add_up(data):
    groups = describe(data).groups
    for label in data.labels:
        for counts in groups.values():
            found = counts.labels[label]
            assert found.positives + found.negatives + found.unknown == counts.images
        splits = [groups[split].labels[label].positives for split in ("train", "val", "test")]
        assert sum(splits) == groups["all"].labels[label].positives
    assert groups["train+val"].images == groups["train"].images + groups["val"].images
    assert groups["all"].images == len(data.table)


@given(datasets())
def test_statistics_are_what_counting_by_hand_gives(data):
    for split in ("train", "val", "test"):
        counts = describe(data).groups[split]
        rows = [row for row in range(len(data.table)) if data.table["split"][row] == split]
        patients = [data.table["patient"][row] for row in rows]
        assert (counts.images, counts.patients) == (len(rows), len(set(patients)))
        assert counts.most_images_of_a_patient == max(map(patients.count, patients), default=0)
        for index, label in enumerate(data.labels):
            targets = [float(data.targets[row, index]) for row in rows]
            assert counts.labels[label].positives == targets.count(1.0)
            assert counts.labels[label].negatives == targets.count(0.0)
        assert counts.without_finding == sum(bool((data.targets[row] == 0).all()) for row in rows)
        for column, found in (("view", counts.views), ("sex", counts.sexes)):
            values = [data.table[column][row] for row in rows]
            assert found == {value: values.count(value) for value in set(values) if isinstance(value, str)}
        ages = sorted(age for age in (float(data.table["age"][row]) for row in rows) if not math.isnan(age))
        if ages:
            assert counts.ages is not None
            middle = (ages[(len(ages) - 1) // 2] + ages[len(ages) // 2]) / 2
            known = (counts.ages.lowest, counts.ages.median, counts.ages.highest)
            assert known == (ages[0], middle, ages[-1])
            assert counts.ages.unknown == len(rows) - len(ages)
        else:
            assert counts.ages is None


def test_prevalence_is_of_the_known_and_undefined_where_none_is(small_data):
    targets = small_data.targets.copy()
    targets[:, 0], targets[:, 1] = np.nan, np.where(np.arange(48) < 12, 1, 0)
    targets[40:, 1] = np.nan
    labels = describe(dataclasses.replace(small_data, targets=targets)).groups["all"].labels
    assert math.isnan(labels["first"].prevalence)
    assert labels["second"].prevalence == 12 / 40


def test_statistics_are_plain_data_with_prevalence_boxes_and_notes(small_data):
    boxes = pd.DataFrame({"image": ["i000", "i001"], "label": "first", "x": 1, "y": 2, "width": 3, "height": 4})
    data = dataclasses.replace(small_data, boxes=boxes, notes={"label_file": "some.csv"})
    described = describe(data)
    assert json.loads(json.dumps(dataclasses.asdict(described))) == dataclasses.asdict(described)
    plain = json.loads(json.dumps(as_plain(described)))
    found = described.groups["test"].labels["second"]
    assert plain["groups"]["test"]["labels"]["second"]["prevalence"] == found.prevalence
    assert (plain["boxes"], plain["notes"]) == ({"first": 2}, {"label_file": "some.csv"})


def test_a_dataset_without_views_sexes_and_ages_tells_none(small_data):
    everything = describe(small_data).groups["all"]
    assert (everything.views, everything.sexes, everything.ages) == ({}, {}, None)


def test_the_printed_table_holds_every_label_and_who_the_patients_are(small_data, capsys):
    table = small_data.table.assign(age=np.arange(48) + 30.0, sex="F", view="PA")
    targets = small_data.targets.copy()
    targets[:7, 0] = np.nan
    print_statistics("some", describe(dataclasses.replace(small_data, table=table, targets=targets)))
    lines = (re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines())
    rows = {name: cells for name, *cells in lines}
    assert rows["images"] == ["24", "12", "36", "12", "48"]
    assert rows["highest age"][-1] == "77"
    assert rows["view PA"][-1] == rows["sex F"][-1] == "48"
    assert "(7?)" in rows["first"][-2]


@pytest.mark.parametrize("split", ["official", "dacnet"])
def test_nih_in_numbers(registry, sample, split):
    everything = describe(registry.dataset("nih-cxr14").load(sample, split=split)).groups["all"]
    assert (everything.images, everything.patients, everything.without_finding) == (112120, 30805, 60361)
    assert everything.views == {"AP": 44810, "PA": 67310}
    assert everything.sexes == {"F": 48780, "M": 63340}
    assert round(everything.images_per_patient, 2) == 3.64
    assert everything.most_images_of_a_patient == 184
    assert everything.ages is not None
    assert (everything.ages.lowest, everything.ages.highest) == (0, 95)
