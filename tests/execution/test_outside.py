"""Finished rows are measured on other datasets: nothing is trained, and what cannot be had is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import harness
from harness.board import BOARD_FILE, open_board
from harness.components import LEAK
from harness.evaluation.predictions import load_predictions
from harness.execution.claims import Claims
from harness.execution.outside import OutsideTests
from harness.parameters import defaults
from harness.registry import load_registry
from harness.results.layout import outside_file, run_path
from harness.results.store import read_records, read_resamples, set_aside
from harness.training.restore import restore
from tests.conftest import TOY

HEAD = """title = "From one hospital to others"
objective = "auroc"
metrics = ["auroc", "f1", "brier"]
seeds = [0, 1]

[dataset]
name = "csv"
file = "own.csv"
"""
ROWS = """
[[rows]]
models = ["toy-net"]
losses = ["bce"]
recipes = ["toy"]
"""
NAME = "toy-net--bce--toy"
OWN = ("Effusion", "Hernia", "Nodule/Mass")
THERE = ("Pleural Effusion", "Nodule", "Mass", "Fracture")
FEW = [  # effusion, nodule, mass, fracture
    ("1", "0", "0", "1"),
    ("0", "1", "-1", "0"),
    ("-1", "-1", "0", ""),
    ("", "0", "-1", "0"),
    ("1", "", "1", "0"),
    ("0", "0", "0", "1"),
]
"""Effusion is known in 4 of 6, present in 2; nodule or mass is present in 2, absent in 2 and unknown in 2."""


def draw(folder: Path, name: str, seed: int) -> None:
    """A small image that no other seed gives."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)


def write_table(root: Path, name: str, labels: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, first: int) -> None:
    """A table of `rows` (image, patient, split, then labels) with an image each."""
    (root / f"{name}.csv").write_text(
        "\n".join(",".join(row) for row in [("image", "patient", "split", *labels), *rows]) + "\n"
    )
    for number, row in enumerate(rows):
        draw((root / row[0]).parent, Path(row[0]).name, first + number)


def write_own(root: Path) -> None:
    random = np.random.default_rng(7)
    splits = ["train"] * 24 + ["val"] * 16 + ["test"] * 16
    labels = (random.random((56, 3)) < 0.5).astype(int).astype(str)
    rows = [(f"own/{n}.png", f"own{n}", split, *labels[n]) for n, split in enumerate(splits)]
    write_table(root, "own", OWN, rows, first=0)


def write_there(root: Path, name: str = "there", first: int = 1000, count: int = 4) -> None:
    """The few rows `count` times; the train split has another."""
    numbered = [(f"{turn}-{n}", few) for turn in range(count) for n, few in enumerate(FEW)]
    rows = [(f"{name}/{number}.png", f"{name}{number}", "test", *few) for number, few in numbered]
    rows.append((f"{name}/train.png", f"{name}-train", "train", "1", "1", "1", "1"))
    write_table(root, name, THERE, rows, first=first)


def name_test(name: str, **more: str) -> str:
    extra = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f'\n[[test]]\ndataset = "csv"\nname = "{name.title()}"\nfile = "{name}.csv"\n{extra}'


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with the data, and the board trained without outside tests; not to be changed."""
    folder: Path = tmp_path_factory.mktemp("outside")
    root = folder / "data" / "csv"
    root.mkdir(parents=True)
    write_own(root)
    write_there(root)
    board = define(folder)
    harness.run(board, data_root=folder / "data", cache=folder / "cache", device="cpu", plugins=[TOY], progress=False)
    return folder


@pytest.fixture
def root(trained, tmp_path) -> Path:
    """The folder of the data, beside a board that is trained."""
    for name in ("data", "board", "cache"):
        shutil.copytree(trained / name, tmp_path / name)
    return Path(tmp_path / "data" / "csv")


def define(tmp_path: Path, *tests: str, head: str = HEAD) -> Path:
    folder = tmp_path / "board"
    folder.mkdir(exist_ok=True)
    (folder / BOARD_FILE).write_text(head + "".join(tests) + ROWS)
    return folder


@pytest.fixture
def run(harness, tmp_path, root):
    """Run the board, and give exit code and log."""

    def start(*tests: str, head: str = HEAD, more: tuple[str, ...] = ()) -> tuple[int, str]:
        folder = define(tmp_path, *tests, head=head)
        code, out, err = harness("run", str(folder), "--data-root", str(tmp_path / "data"), *more)
        return code, out + err

    return start


def parts(folder: Path) -> dict[str, dict[str, Any]]:
    return {record.combo.name: dict(record.outside) for record in read_records(folder).records}


def times(folder: Path) -> dict[str, int]:
    """When each file of training was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in folder.glob("runs/*/*")
        if path.name in ("weights.safetensors", "predictions-val.npz", "predictions-test.npz")
    }


# --- what is measured ------------------------------------------------------------------------------------------------


def test_a_finished_row_is_measured_with_exact_counts_of_certain_and_left_out_labels(run, tmp_path):
    code, log = run(name_test("there"))
    assert code == 0, log
    assert f"measured on There: {NAME}--s0" in log
    folder = tmp_path / "board"
    (test,) = open_board(folder).tests
    for record in read_records(folder).records:
        part = record.outside[test.key]
        assert part.status == "done"
        assert part.data is not None
        assert part.data.labels == ["Effusion", "Nodule/Mass"]
        assert {name: split.images for name, split in part.data.splits.items()} == {"test": 24}
        counts = {name: (one.known, one.left_out, one.positives) for name, one in part.labels.items()}
        assert counts == {"Effusion": (16, 8, 8), "Hernia": (0, 0, 0), "Nodule/Mass": (16, 8, 8)}
        assert part.labels["Nodule/Mass"].others == ["Nodule", "Mass"]
        assert part.labels["Hernia"].reason == "csv has no label for it"
        assert part.unused == ["Fracture"]
        assert set(part.metrics["auroc"].per_label) == {"Effusion", "Nodule/Mass"}
        assert part.metrics["auroc"].per_label["Effusion"].positives == 8
        policies = part.thresholds["val-f1"]
        assert policies == {label: record.thresholds["val-f1"][label] for label in policies}
        assert read_resamples(folder, record.model_copy(update={"artifacts": part.artifacts}), test.key) is not None


def test_outside_predictions_are_those_of_the_stored_weights_bit_by_bit(run, tmp_path):
    run(name_test("there"))
    folder = tmp_path / "board"
    (test,) = open_board(folder).tests
    record = read_records(folder).records[0]
    stored = load_predictions(run_path(folder, record.key) / outside_file(test.key))
    network = restore(run_path(folder, record.key) / "weights.safetensors", load_registry([TOY]), torch.device("cpu"))
    images = np.stack([np.asarray(Image.open(tmp_path / "data" / "csv" / name)) for name in stored.image])
    logits = network.predict(images)
    assert np.array_equal(stored.logits, logits[:, [0, 2]])
    assert np.isnan(stored.targets[2]).tolist() == [True, True]  # -1 and blank; -1 beside 0


def test_one_more_test_later_trains_nothing_and_leaves_the_others_as_they_are(run, tmp_path, root):
    run(name_test("there"))
    folder = tmp_path / "board"
    before, kept = times(folder), {p.name: p.read_bytes() for p in folder.glob("records/*@*.npz")}
    assert len(kept) == 2
    write_there(root, "far", 5000)
    code, log = run(name_test("there"), name_test("far"))
    assert code == 0, log
    assert "seed 0: AUROC" not in log
    assert "epoch" not in log
    assert f"measured on Far: {NAME}--s0" in log
    assert "measured on There" not in log
    assert times(folder) == before
    assert {name: (folder / "records" / name).read_bytes() for name in kept} == kept
    assert all(len(of) == 2 for of in parts(folder).values())


def test_a_second_run_does_nothing_and_a_dry_one_says_what_would_be_measured(run, tmp_path):
    (tmp_path / "board" / "records" / f"{NAME}--s1.json").unlink()
    _, log = run(name_test("there"), more=("--dry-run",))
    assert f"measure  {NAME}--s0 on There  not measured" in log
    assert f"measure  {NAME}--s1 on There  after its training" in log
    assert "2 of 2 outside measurements would be made, without training" in log
    run(name_test("there"))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "board" / "records").iterdir()}
    code, log = run(name_test("there"))
    assert code == 0
    assert "measured" not in log
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "board" / "records").iterdir()} == files


def test_all_splits_can_be_tested_on_and_uncertain_labels_can_be_taken_for_something(run, tmp_path):
    run(name_test("there", splits='["test", "train"]', uncertain_test='"ones"'))
    (part,) = parts(tmp_path / "board")[f"{NAME}--s0"].values()
    assert part.data.splits["test"].images == 25
    effusion, either = part.labels["Effusion"], part.labels["Nodule/Mass"]
    assert (effusion.known, effusion.left_out, effusion.positives) == (21, 4, 13)
    assert (either.known, either.left_out, either.positives) == (25, 0, 17)


def test_data_that_have_changed_are_measured_again(run, tmp_path, root):
    run(name_test("there"))
    folder = tmp_path / "board"
    before = parts(folder)
    table = root / "there.csv"
    table.write_text(table.read_text().replace("there/0-0.png,there0-0,test,1", "there/0-0.png,there0-0,test,0"))
    code, log = run(name_test("there"))
    assert (code, log.count("measured on There")) == (0, 2)
    (key,) = before[f"{NAME}--s0"]
    after = parts(folder)[f"{NAME}--s0"][key]
    assert after.labels["Effusion"].positives == 7
    assert after.data.fingerprint != before[f"{NAME}--s0"][key].data.fingerprint


@pytest.mark.slow
def test_a_row_that_trains_again_keeps_nothing_of_its_old_weights(run, tmp_path):
    run(name_test("there"))
    folder = tmp_path / "board"
    old = parts(folder)[f"{NAME}--s0"]
    code, log = run(name_test("there"), more=("--force",))
    assert code == 0
    assert log.count("measured on There") == 2
    assert parts(folder)[f"{NAME}--s0"].keys() == old.keys()
    run(more=("--force",))
    assert not any(parts(folder).values())
    assert not list(folder.glob("records/*@*")) + list(folder.glob("runs/*/*@*"))


# --- what cannot be had ----------------------------------------------------------------------------------------------


def test_a_test_without_a_common_label_is_refused_before_anything_is_run(run, tmp_path, root):
    write_table(root, "other", ("Fracture",), [("other/a.png", "o", "test", "1")], first=9000)
    code, log = run(name_test("other"))
    assert code == 2
    assert "'csv' has no label that stands for one of 'csv'" in log
    assert "toy-net" not in log


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_weights_that_are_gone_or_damaged_are_one_line_and_the_other_rows_go_on(run, tmp_path, damage):
    folder = tmp_path / "board"
    first = read_records(folder).records[0]
    weights = run_path(folder, first.key) / "weights.safetensors"
    if damage == "gone":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, log = run(name_test("there"))
    assert code == 1
    said = {"gone": "its weights are not in", "damaged": "is not what the record was made of"}[damage]
    assert log.count(said) == 1
    assert f"warning: {NAME}--s0 on There: " in log
    assert f"measured on There: {NAME}--s1" in log
    assert [len(of) for of in parts(folder).values()] == [0, 1]


def test_missing_images_fail_the_part_which_is_tried_again_and_rows_are_trained_all_the_same(run, tmp_path, root):
    (root / "there" / "0-0.png").rename(root / "there" / "elsewhere")
    code, log = run(name_test("there"))
    assert code == 1
    assert "outside test There would fail: 1 of 24 images of 'csv' is missing" in log
    assert f"{NAME}--s0 on There: 1 of 24 images of 'csv' is missing" in log
    (part,) = parts(tmp_path / "board")[f"{NAME}--s0"].values()
    assert (part.status, part.failure.kind, part.data) == ("failed", "data", None)
    (root / "there" / "elsewhere").rename(root / "there" / "0-0.png")
    code, log = run(name_test("there"))
    assert (code, log.count("measured on There")) == (0, 2)


def test_data_that_are_not_on_this_machine_leave_what_another_one_measured(run, tmp_path, root):
    run(name_test("there"))
    before = parts(tmp_path / "board")
    (root / "there.csv").unlink()
    code, log = run(name_test("there"))
    assert code == 0
    assert "outside test There: " in log
    assert parts(tmp_path / "board") == before


def test_a_board_of_patients_skips_a_test_that_tells_none(run, tmp_path, root):
    table = root / "there.csv"
    cells = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join([image, *others]) for image, _, *others in cells))
    folder = define(tmp_path)
    text = HEAD.replace("seeds", 'unit = "patient"\nseeds')
    code, log = run(name_test("there", patient='"image"'), head=text)
    assert code == 0, log
    (part,) = parts(folder)[f"{NAME}--s0"].values()
    assert (part.status, part.failure.message) == (
        "skipped",
        "the board scores each patient, and nothing of 'csv' says which images belong to one patient",
    )
    assert "measured" not in run(name_test("there", patient='"image"'), head=text)[1]


def test_the_prevalence_control_predicts_a_constant_and_says_so_by_one_half(run, tmp_path, harness):
    folder = define(tmp_path, name_test("there"))
    text = (folder / BOARD_FILE).read_text()
    (folder / BOARD_FILE).write_text(text.replace("seeds = [0, 1]", "seeds = [0]\ncontrols = true"))
    code, _, err = harness("run", str(folder), "--data-root", str(tmp_path / "data"))
    assert code == 0, err
    found = parts(folder)
    (control,) = found["control-prevalence--s0"].values()
    assert control.metrics["auroc"].macro == 0.5


# --- overlap ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_the_network_has_learned_from_is_refused_and_can_be_accepted_with_a_mark(run, tmp_path, root):
    write_there(root, "copied", 3000)
    for n in range(3):
        shutil.copy(root / "own" / f"{n}.png", root / "copied" / f"0-{n}.png")
    code, log = run(name_test("copied"))
    assert code == 1
    said = "3 images with the same pixels (own/0.png is copied/0-0.png"
    assert said in log
    (part,) = parts(tmp_path / "board")[f"{NAME}--s0"].values()
    assert (part.status, part.failure.kind) == ("failed", "data")
    assert "allow_leaks = true" in part.failure.message
    assert not part.metrics
    code, log = run(name_test("copied", allow_leaks="true"))
    assert code == 0, log
    board = open_board(tmp_path / "board")
    accepted = parts(board.folder)[f"{NAME}--s0"][board.tests[0].key]
    assert accepted.status == "done"
    assert accepted.data.notes[LEAK].startswith(said.partition(" (")[0])


def test_an_image_of_the_own_test_split_is_no_overlap(run, tmp_path, root):
    write_there(root, "copied", 3000)
    shutil.copy(root / "own" / "55.png", root / "copied" / "0-0.png")
    code, log = run(name_test("copied"))
    assert code == 0, log


def test_the_own_training_split_is_refused_by_its_names(run, tmp_path):
    code, log = run('\n[[test]]\ndataset = "csv"\nfile = "own.csv"\nsplits = ["train"]\n')
    assert code == 1
    assert "24 patients (own0, own1, own10, ...), 24 image names" in log


@pytest.mark.slow
def test_patients_of_the_own_test_are_no_overlap_and_what_they_do_to_a_drop_is_told(run, tmp_path, root):
    code, log = run('\n[[test]]\ndataset = "csv"\nfile = "own.csv"\n')
    assert code == 0, log
    (part,) = parts(tmp_path / "board")[f"{NAME}--s0"].values()
    assert part.notes[0].startswith("16 patients (own40, own41, own42, ...), 16 image names (")
    assert part.notes[0].endswith(
        "are also in the own test: a drop takes them for other people, so that its interval is too wide"
    )


def test_a_way_out_by_an_option_says_what_it_is_in_a_board(run, tmp_path):
    define(tmp_path)
    code, log = run(name_test("gone"))
    assert code == 1
    assert "--option file=NAME.csv; in a [[test]] table, what follows --option is a key of its own" in log


# --- later -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rescore_gives_outside_parts_a_new_metric_and_measures_what_is_missing(run, tmp_path, harness):
    run(name_test("there"))
    folder = tmp_path / "board"
    before = times(folder)
    text = (folder / BOARD_FILE).read_text().replace('"brier"]', '"brier", "auprc"]')
    (folder / BOARD_FILE).write_text(text)
    code, _, err = harness("rescore", str(folder))
    assert code == 0, err
    assert "measured" not in err
    (part,) = parts(folder)[f"{NAME}--s0"].values()
    assert "auprc" in part.metrics
    for path in (*folder.glob("records/*@*"), *folder.glob("runs/*/*@*")):
        path.unlink()
    (folder / BOARD_FILE).write_text(text.replace('"auprc"]', '"auprc", "ece"]'))
    code, _, err = harness("rescore", str(folder), "--data-root", str(tmp_path / "data"))
    assert code == 0, err
    assert err.count("measured on There") == 2
    (part,) = parts(folder)[f"{NAME}--s0"].values()
    assert "ece" in part.metrics
    assert times(folder) == before


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_row_that_lacks_the_test(run, tmp_path, monkeypatch):
    usual, calls = OutsideTests._make, []

    def die_at_the_second(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return usual(self, *arguments)

    monkeypatch.setattr(OutsideTests, "_make", die_at_the_second)
    code, log = run(name_test("there"))
    assert code == 130
    assert "1 left to do" in log
    monkeypatch.setattr(OutsideTests, "_make", usual)
    code, log = run(name_test("there"))
    assert code == 0
    assert log.count("measured on There") == 1
    assert f"measured on There: {NAME}--s1" in log


def test_a_row_that_another_process_is_at_is_waited_for(run, tmp_path, monkeypatch):
    held = Claims(tmp_path / "board").take(f"{NAME}--s0")
    assert held is not None
    monkeypatch.setattr("harness.execution.outside.time.sleep", lambda seconds: held.release())
    code, log = run(name_test("there"))
    assert code == 0, log
    assert f"waiting for other processes that run {NAME}--s0" in log
    assert log.index(f"measured on There: {NAME}--s1") < log.index(f"measured on There: {NAME}--s0")


def test_a_network_that_wants_age_skips_a_test_that_tells_none(harness, tmp_path):
    """Phantoms tell ages; the table does not."""
    root = tmp_path / "data" / "csv"
    root.mkdir(parents=True)
    write_there(root)
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / BOARD_FILE).write_text(
        """title = "t"
objective = "auroc"
metrics = ["auroc"]
[dataset]
name = "phantom"
train = 40
val = 20
test = 20
size = 32
[[test]]
dataset = "csv"
name = "There"
file = "there.csv"
[[test]]
dataset = "phantom"
name = "Others"
test = 30
size = 32
seed = 5
[[rows]]
models = ["chexnet-demographics"]
losses = ["bce"]
recipes = ["toy"]
params = { recipe = { epochs = 1, size = 32, load_size = 32 } }
"""
    )
    code, _, err = harness("run", str(folder), "--data-root", str(tmp_path / "data"))
    assert code == 0, err
    ((there, others),) = [list(of.values()) for of in parts(folder).values()]
    assert there.status == "skipped"
    assert there.failure.message == "the network gets age, sex, view beside each image, which 'csv' does not tell"
    assert "skipped on There: chexnet" in err
    assert (others.status, others.data.splits["test"].images) == ("done", 30)


@pytest.mark.slow
def test_validate_status_and_clean_know_what_belongs_to_outside_tests(run, tmp_path, harness, root):
    write_there(root, "far", 5000)
    run(name_test("there"), name_test("far"))
    folder = tmp_path / "board"
    code, out, _ = harness("validate", str(folder))
    assert code == 0, out
    assert json.loads(harness("clean", str(folder), "--json")[1])["waste"] == []
    assert harness("leaderboard", str(folder), "--out", str(tmp_path / "published"))[0] == 0
    published = {path.name for path in (tmp_path / "published" / "records").iterdir()}
    assert published == {path.name for path in (folder / "records").iterdir()}
    define(tmp_path, name_test("there"))
    code, out, _ = harness("clean", str(folder), "--yes")
    assert out.count("which board.toml does not name") == 2
    assert all(len(of) == 1 for of in parts(folder).values())
    assert len(list(folder.glob("records/*@*"))) == len(list(folder.glob("runs/*/*@*"))) == 2
    (key,) = parts(folder)[f"{NAME}--s0"]
    define(tmp_path, name_test("there"), name_test("far"))
    states = json.loads(harness("status", str(folder), "--json")[1])["combos"]
    assert {state["state"] for state in states} == {"unevaluated"}
    assert states[0]["detail"] == "not measured on Far yet; harness run measures it, without training"
    resamples = folder / "records" / f"{NAME}--s0@{key}.npz"
    resamples.write_bytes(resamples.read_bytes() + b" ")
    code, out, _ = harness("validate", str(folder))
    assert code == 1
    assert f"{resamples.name} is not what its record was made with" in out


def test_what_lies_beside_a_damaged_record_is_set_aside_with_it(run, tmp_path):
    run(name_test("there"))
    folder = tmp_path / "board"
    beside = {path.name for path in folder.glob(f"records/{NAME}--s0*")}
    (folder / "records" / f"{NAME}--s0.json").write_text("{")
    assert len(set_aside(folder)) == 1
    assert {path.name for path in (folder / "records" / "aside").iterdir()} == beside
    assert not list(folder.glob(f"records/{NAME}--s0*"))


@pytest.mark.slow
def test_merge_takes_what_another_machine_has_measured(run, tmp_path, harness):
    ours = tmp_path / "ours"
    shutil.copytree(tmp_path / "board", ours)
    run(name_test("there"))
    shutil.copy(tmp_path / "board" / BOARD_FILE, ours / BOARD_FILE)
    code, out, err = harness("merge", str(ours), str(tmp_path / "board"))
    assert code == 0, err
    assert "2 outside measurements taken" in out
    assert parts(ours) == parts(tmp_path / "board")
    names = {path.name for path in ours.glob("records/*@*")}
    assert names == {path.name for path in (tmp_path / "board").glob("records/*@*")}
    assert len(list(ours.glob("runs/*/*@*"))) == 2
    assert harness("validate", str(ours))[0] == 0


def test_names_of_keys_of_a_test_table_are_no_options_of_a_bundled_dataset(registry):
    for name in registry.offers["dataset"]:
        assert not {"name", "dataset", "splits"} & defaults(registry.dataset(name).load).keys()


# --- ensembles -------------------------------------------------------------------------------------------------------


def test_an_ensemble_is_measured_where_its_members_are(run, tmp_path):
    tables = """
[[rows]]
models = ["tiny-cnn"]
losses = ["bce"]
recipes = ["toy"]

[[ensembles]]
rows = ["toy-net--bce--toy", "tiny-cnn--bce--toy"]
"""
    folder = define(tmp_path, tables)
    assert run(tables)[0] == 0
    code, said = run(tables, name_test("there"))
    assert code == 0, said
    (made,) = (record for record in read_records(folder).records if record.ensemble and record.combo.seed == 0)
    ((test, part),) = made.outside.items()
    members = [record for record in read_records(folder).records if record.combo.seed == 0 and record.is_trained]
    stored = [load_predictions(run_path(folder, one.key) / outside_file(test)) for one in (*members, made)]
    order = np.argsort(stored[0].image)
    assert stored[2].scores == pytest.approx((stored[0].scores + stored[1].scores)[order] / 2)
    assert part.status == "done"
    assert part.metrics["auroc"].macro is not None
    assert part.thresholds["val-f1"].items() <= made.thresholds["val-f1"].items()
