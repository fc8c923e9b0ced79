"""`harness score` and `compare` over studies and patients, with files as CheXpert's test set has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LABELS = ("Edema", "Mass")
STUDY = r"Path:(.*study\d+)"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Scores by image of 60 patients with one or two studies of one or two views; targets by study."""
    draw = np.random.default_rng(0)
    targets = [",".join(["Study", *LABELS])]
    scores: dict[str, list[str]] = {"a": [",".join(["Path", *LABELS])], "b": [",".join(["Path", *LABELS])]}
    for patient in range(60):
        for study in range(1, 2 + patient % 2):
            place = f"test/patient{patient:02d}/study{study}"
            truth = (draw.random(2) < 0.4).astype(int)
            targets.append(",".join([place, *map(str, truth)]))
            for view in range(1, 2 + (patient + study) % 2):
                for lines in scores.values():
                    values = np.clip(0.2 + 0.4 * truth + draw.normal(0, 0.25, 2), 0, 1)
                    lines.append(",".join([f"{place}/view{view}.jpg", *(f"{value:.4f}" for value in values)]))
    (tmp_path / "targets.csv").write_text("\n".join(targets) + "\n")
    for name, lines in scores.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def score(harness, *more: str) -> dict[str, Any]:
    given = ("--targets", "targets.csv", "--resamples", "200", "--metrics", "auroc", "--json")
    code, out, err = harness("score", "a.csv", *given, *more)
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def by_hand(folder: Path, how) -> float:
    """The AUROC of Edema over studies, by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    truth = dict(line.split(",")[:2] for line in (folder / "targets.csv").read_text().splitlines()[1:])
    found: dict[str, list[float]] = {study: [] for study in truth}
    for line in (folder / "a.csv").read_text().splitlines()[1:]:
        path, value, _ = line.split(",")
        found[path.rpartition("/")[0]].append(float(value))
    return float(roc_auc_score([int(value) for value in truth.values()], [how(values) for values in found.values()]))


@pytest.mark.parametrize(("pool", "how"), [("mean", np.mean), ("max", np.max)])
def test_studies_are_scored_against_targets_by_study(harness, files, pool, how):
    found = score(harness, "--unit", "study", "--study", STUDY, "--patient", r"Path:(patient\d+)", "--pool", pool)
    assert (found["unit"], found["studies"], found["patients"]) == ("study", 90, 60)
    assert found["metrics"]["auroc"]["per_label"]["Edema"]["value"] == pytest.approx(by_hand(files, how), abs=1e-12)


def test_targets_by_image_give_the_same_studies(harness, files):
    by_study = score(harness, "--unit", "study", "--study", STUDY)
    truth = dict(line.split(",", 1) for line in (files / "targets.csv").read_text().splitlines()[1:])
    paths = [line.split(",")[0] for line in (files / "a.csv").read_text().splitlines()[1:]]
    rows = [f"{path},{truth[path.rpartition('/')[0]]}" for path in paths]
    (files / "targets.csv").write_text("\n".join([",".join(["Path", *LABELS]), *rows]) + "\n")
    by_image = score(harness, "--unit", "study", "--study", STUDY)
    assert by_image["metrics"] == by_study["metrics"]


def test_patients_are_scored_by_any_finding_of_theirs(harness, files):
    truth = dict(line.split(",", 1) for line in (files / "targets.csv").read_text().splitlines()[1:])
    paths = [line.split(",")[0] for line in (files / "a.csv").read_text().splitlines()[1:]]
    rows = [f"{path},{path.split('/')[1]},{truth[path.rpartition('/')[0]]}" for path in paths]
    (files / "targets.csv").write_text("\n".join([",".join(["Path", "patient", *LABELS]), *rows]) + "\n")
    found = score(harness, "--unit", "patient")
    assert (found["unit"], found["patients"]) == ("patient", 60)
    assert any("images with different targets; a finding in any image counts" in note for note in found["notes"])
    positives = {name.split("/")[1] for name, row in truth.items() if row.startswith("1")}
    assert found["metrics"]["auroc"]["per_label"]["Edema"]["positives"] == len(positives)


def test_systems_are_compared_over_studies(harness, files):
    given = ("--targets", "targets.csv", "--unit", "study", "--study", STUDY, "--resamples", "200", "--json")
    code, out, err = harness("compare", "a.csv", "b.csv", *given)
    assert code == 0, err
    assert (json.loads(out)["unit"], json.loads(out)["studies"]) == ("study", 90)


def write_board(folder: Path, unit: str, pool: str = "mean") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "board.toml").write_text(
        f'title = "Units"\nunit = "{unit}"\npool = "{pool}"\nmetrics = ["auroc", "f1"]\n'
        '[dataset]\nname = "phantom"\ntrain = 20\nval = 40\ntest = 60\nsize = 16\n'
        '[[rows]]\nmodels = ["toy-net", "tiny-cnn"]\nlosses = ["bce"]\nrecipes = ["toy"]\n'
    )


def compare_rows(harness, *given: str) -> dict[str, Any]:
    code, out, err = harness("compare", "b::toy-net--bce--toy", "b::tiny-cnn--bce--toy", "--json", *given)
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def read_deltas(document: dict[str, Any]) -> dict[str, float]:
    return {pair["metric"]: pair["delta"] for pair in document["pairs"]}


@pytest.mark.slow
def test_rows_are_compared_over_the_unit_of_their_board_or_another_that_is_asked_for(harness, tmp_path):
    write_board(tmp_path / "b", "study")
    assert harness("run", "b")[0] == 0
    by_records = compare_rows(harness, "--metrics", "auroc,f1")
    assert by_records["unit"] == "study"
    assert by_records["studies"] < 60
    over_images = compare_rows(harness, "--unit", "image", "--resamples", "200")
    assert (over_images["unit"], over_images["images"]) == ("image", 60)
    asked = ("--unit", "patient", "--pool", "max", "--resamples", "200", "--metrics", "auroc,f1")
    over_patients = compare_rows(harness, *asked)
    assert over_patients["patients"] < by_records["studies"]
    write_board(tmp_path / "b", "patient", "max")
    assert harness("rescore", "b")[0] == 0
    again = compare_rows(harness)
    assert (again["unit"], again["patients"]) == ("patient", over_patients["patients"])
    assert read_deltas(again)["auroc"] == pytest.approx(read_deltas(over_patients)["auroc"])
    assert "f1@val-f1" in read_deltas(over_patients)  # by the rows' own validation


def test_rows_whose_boards_score_other_units_or_whose_data_tell_no_studies_are_refused_with_the_way_out(
    harness, toy_board, tmp_path
):
    rows = [f"{toy_board}::toy-net--bce--toy", f"{toy_board}::tiny-cnn--bce--toy"]
    code, _, err = harness("compare", *rows, "--unit", "study")
    assert code == 2
    assert "do not say which images belong to one study; score patients" in err
    assert harness("compare", *rows, "--unit", "patient")[0] == 0
    code, _, err = harness("compare", *rows, "--pool", "max")
    assert (code, "give --unit study or --unit patient too" in err) == (2, True)
    write_board(tmp_path / "b", "study")
    assert harness("run", "b")[0] == 0
    code, _, err = harness("compare", rows[0], "b::toy-net--bce--toy")
    assert code == 2
    assert (
        "is scored over images, b::toy-net--bce--toy over studies (mean of their images' scores): say by --unit" in err
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "targets are of folders of images, so score studies with --unit study --study 'COLUMN:(.*)/'"),
        (("--unit", "study"), "nothing says which images belong to one study; name it by --study"),
        (("--unit", "study", "--study", "Pth"), "neither it nor targets.csv has a column 'Pth'"),
        (("--unit", "studies"), "unknown unit of scoring 'studies': did you mean 'study'?"),
        (("--unit", "study", "--pool", "median"), "unknown way to pool scores 'median'"),
        (("--unit", "study", "--study", "Path:("), "is no regular expression"),
    ],
)
def test_what_cannot_be_pooled_is_refused_with_the_option_that_helps(harness, files, given, says):
    code, _, err = harness("score", "a.csv", "--targets", "targets.csv", *given)
    assert (code, says in err) == (2, True), err
