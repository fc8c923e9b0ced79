"""`harness compare`: paired differences of files, folders of files, and rows of boards."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from harness.evaluation.significance import adjust_holm
from harness.results.store import read_records

ROWS = ("toy-net--bce--toy", "tiny-cnn--bce--toy")


@pytest.fixture
def board(toy_board, tmp_path):
    """A copy of the board that may be changed, as `b` in the folder of the command line."""
    return shutil.copytree(toy_board, tmp_path / "b")


def compare(harness, *arguments):
    code, out, _ = harness("compare", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_a_better_system_is_shown_to_be_better(harness, save_predictions):
    for seed in range(3):
        save_predictions(f"good/{seed}.npz", seed, skill=2.0)
        save_predictions(f"bad/{seed}.npz", seed + 10, skill=0.5)
    found = compare(harness, "bad", "good")
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["metric"]) == ("bad", "good", "auroc")
    systems = {name: measured["auroc"] for name, measured in found["systems"].items()}
    assert pair["delta"] == pytest.approx(systems["bad"]["macro"] - systems["good"]["macro"])
    assert pair["interval"][0] < pair["delta"] < pair["interval"][1] < 0
    assert pair["p"] == pair["p_holm"] < 0.001
    assert pair["p_patients"] < 0.01
    assert len(systems["good"]["seeds"]) == 3
    assert (found["images"], found["patients"], found["resamples"], found["notes"]) == (120, 40, 1000, [])


def test_a_label_that_two_patients_have_takes_neither_interval_nor_p_from_the_others(harness, save_predictions):
    targets = np.load(save_predictions("all.npz"))["targets"]
    targets[:, 2] = 0
    targets[:2, 2] = 1
    for seed in range(3):
        save_predictions(f"good/{seed}.npz", seed, skill=2.0, targets=targets)
        save_predictions(f"bad/{seed}.npz", seed + 10, skill=0.5, targets=targets)
    found = compare(harness, "bad", "good")
    (pair,) = found["pairs"]
    assert pair["p"] < 0.001
    assert pair["interval"][1] < 0
    good = found["systems"]["good"]["auroc"]
    assert good["interval"][0] < good["macro"] < good["interval"][1]
    assert any("without Nodule" in note for note in found["notes"])
    part = json.loads(harness("score", "good", "--metrics", "auroc", "--json")[1])["metrics"]["auroc"]
    assert (part["macro"], part["left_out"]) == (pytest.approx(good["macro"]), ["Nodule"])


def test_the_table_ends_in_a_sentence_a_pair(harness, save_predictions):
    for seed in range(3):
        save_predictions(f"good/{seed}.npz", seed, skill=2.0)
        save_predictions(f"bad/{seed}.npz", seed + 10, skill=0.5)
        save_predictions(f"alike/{seed}.npz", seed + 20, skill=2.0)
    code, out, err = harness("compare", "bad", "good", "alike", "--metrics", "auroc,brier")
    assert (code, err) == (0, "")
    assert "AUROC: good is better than bad by 0." in out
    assert "Brier: good is better than bad by 0." in out
    assert "(p < 0.001, Holm-adjusted, over patients and seeds)." in out
    assert "AUROC: no significant difference, " in out
    assert "AUROC: with these patients and 3 seeds, a difference of a typical pair below 0." in out
    assert max(len(line) for line in out.splitlines() if ":" not in line) <= 130


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_fewer_than_three_seeds_no_method_is_called_better(harness, save_predictions, seeds):
    for seed in range(seeds):
        save_predictions(f"good/{seed}.npz", seed, skill=2.0)
        save_predictions(f"bad/{seed}.npz", seed + 10, skill=0.5)
    code, out, err = harness("compare", "good", "bad")
    assert code == 0
    assert "on these patients the trained network good differs from bad, by 0." in out
    assert "better" not in out
    assert "a verdict about methods needs 3 seeds of each system" in err
    (pair,) = compare(harness, "good", "bad")["pairs"]
    assert pair["p"] is None
    assert pair["over"] == "patients"
    assert pair["p_holm"] == pair["p_patients"]
    assert pair["interval"] == pair["interval_patients"]


def test_the_interval_printed_is_that_of_the_test(harness, save_predictions):
    """Patients alone would call these systems different; over seeds they are not, and the interval says so."""
    for seed, skill in enumerate((0.5, 1.2, 2.5)):
        save_predictions(f"a/{seed}.npz", seed, skill=skill)
        save_predictions(f"b/{seed}.npz", seed, skill=skill + 1.5)
    (pair,) = compare(harness, "a", "b")["pairs"]
    assert pair["p_patients"] < 0.05 < pair["p"]
    assert pair["interval"][0] < 0 < pair["interval"][1]
    assert not pair["interval_patients"][0] < 0 < pair["interval_patients"][1]
    low, high = pair["interval"]
    out = harness("compare", "a", "b")[1]
    assert f"[{-high:.4f}, {-low:.4f}] (p = " in out
    found = compare(harness, "a", "b")["systems"]["a"]["auroc"]
    assert found["interval_seeds"][0] < found["interval"][0]


def test_differences_are_told_label_by_label_adjusted_for_all_of_them(harness, save_predictions):
    for seed in range(3):
        save_predictions(f"a/{seed}.npz", seed, skill=2.0)
        save_predictions(f"b/{seed}.npz", seed + 10, skill=0.5)
    (pair,) = compare(harness, "a", "b")["pairs"]
    labels = pair["per_label"]
    assert np.mean([one["delta"] for one in labels.values()]) == pytest.approx(pair["delta"])
    p = np.array([one["p"] for one in labels.values()])
    assert [one["p_holm"] for one in labels.values()] == pytest.approx(adjust_holm(p).tolist())
    assert all(one["interval"][0] < one["delta"] < one["interval"][1] for one in labels.values())
    assert "AUROC, Mass" not in harness("compare", "a", "b")[1]
    assert "AUROC, Mass" in harness("compare", "a", "b", "--by-label")[1]


def test_a_margin_shows_what_is_equivalent_or_not_worse(harness, save_predictions):
    for seed in range(3):
        save_predictions(f"a/{seed}.npz", seed, skill=2.0)
        save_predictions(f"b/{seed}.npz", seed, skill=2.01)
        save_predictions(f"c/{seed}.npz", seed + 10, skill=0.5)
    pairs = compare(harness, "a", "b", "c", "--margin", "0.1")["pairs"]
    assert pairs[0]["margin"]["p_equivalent"] < 0.05
    assert pairs[1]["margin"]["p_b_not_worse"] > 0.05 > pairs[1]["margin"]["p_a_not_worse"]
    out = harness("compare", "a", "b", "c", "--margin", "0.1")[1]
    assert re.search(r"a and b are equivalent within 0\.1 \(p . [\d.]+, two one-sided tests, Holm-adjusted, over", out)
    assert re.search(r"a is not worse than c by more than 0\.1 \(p . [\d.]+, one-sided, Holm-adjusted, over", out)
    _, out, _ = harness("compare", "a", "b", "--metrics", "auroc", "--margin", "0.1")
    assert re.search(r"are equivalent within 0\.1 \(p . [\d.]+, two one-sided tests, over patients and seeds\)", out)


def test_validation_gives_each_system_its_thresholds(harness, save_predictions):
    for name, skill in (("a", 2.0), ("b", 0.5)):
        for seed in range(3):
            shift = 10 * (name == "b") + seed
            save_predictions(f"{name}/{seed}.npz", shift, skill=skill)
            save_predictions(f"{name}-val/{seed}.npz", shift + 50, skill=skill, images=range(120, 240))
    (pair,) = compare(harness, "a", "b", "--val", "a-val", "--val", "b-val", "--metrics", "f1")["pairs"]
    assert pair["metric"] == "f1@val-f1"
    scored = []
    for name in ("a", "b"):
        files = (f"{name}/{seed}.npz" for seed in range(3))
        _, out, _ = harness("score", *files, "--val", f"{name}-val", "--json", "--metrics", "f1")
        scored.append(json.loads(out)["metrics"]["f1@val-f1"]["macro"])
    assert pair["delta"] == pytest.approx(scored[0] - scored[1])


def test_another_seed_draws_other_patients(harness, save_predictions):
    save_predictions("a.npz", 0)
    save_predictions("b.npz", 1)
    one, other, again = (
        compare(harness, "a.npz", "b.npz", "--seed", seed)["pairs"][0]["interval"] for seed in ("1", "2", "1")
    )
    assert one == again != other


def test_systems_are_compared_over_the_labels_that_all_of_them_define(harness, save_predictions):
    """A system that never flags a label has no precision there; leaving its hardest label out is no merit."""
    for seed in range(3):
        save_predictions(f"a/{seed}.npz", seed, skill=2.0)
        save_predictions(f"b/{seed}.npz", seed + 10, skill=2.0)
        path = f"b/{seed}.npz"
        held = dict(np.load(path))
        held["logits"][:, 2] = -5.0
        np.savez(path, **held)
    found = compare(harness, "a", "b", "--metrics", "precision@0.5,auroc")
    assert len(found["labels"]["precision@0.5"]) == 2
    assert len(found["labels"]["auroc"]) == 3
    (pair, _) = found["pairs"]
    assert set(pair["per_label"]) == set(found["labels"]["precision@0.5"])
    assert np.mean([one["delta"] for one in pair["per_label"].values()]) == pytest.approx(pair["delta"])
    assert any("precision@0.5 is over 2 of 3 labels" in note for note in found["notes"])


def test_with_one_seed_each_p_is_of_patients_alone_and_delong_is_beside_it(harness, save_predictions):
    save_predictions("a.npz", 0, skill=2.0)
    save_predictions("b.npz", 1, skill=0.5)
    (pair,) = compare(harness, "a.npz", "b.npz")["pairs"]
    assert pair["p"] is None
    assert pair["p_holm"] == pair["p_patients"]
    assert 0 <= pair["areas"]["Mass"]["p"] <= 1
    assert np.mean([label["delta"] for label in pair["areas"].values()]) == pytest.approx(pair["delta"])


def test_rows_by_their_records_differ_as_their_predictions_do(harness, board, tmp_path):
    records = read_records(board).records
    for record in records:
        target = tmp_path / record.combo.row / f"{record.combo.seed}.npz"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(board / "runs" / record.key / "predictions-test.npz", target)
    metrics = ("--metrics", "auroc,brier")
    by_files = compare(harness, *ROWS, *metrics)
    mixed = compare(harness, f"b::{ROWS[0]}", ROWS[1], *metrics)
    shutil.rmtree(board / "runs")
    by_records = compare(harness, *(f"b::{row}" for row in ROWS), *metrics)
    for found in (mixed, by_records):
        assert [p["delta"] for p in found["pairs"]] == pytest.approx([p["delta"] for p in by_files["pairs"]])
        assert found["images"] == by_files["images"] == 12
    assert by_records["pairs"][0]["p"] is None  # two seeds each
    assert by_records["pairs"][0]["per_label"].keys() == by_files["pairs"][0]["per_label"].keys()
    assert by_records["pairs"][1]["per_label"] == {}
    assert compare(harness, *(f"b::{row}" for row in ROWS), "--metrics", "f1")["pairs"][0]["metric"] == "f1@val-f1"


def test_rows_say_what_of_the_command_they_do_not_use(harness, board):
    rows = [f"b::{row}" for row in ROWS]
    notes = compare(harness, *rows, "--resamples", "250", "--dataset", "toy")["notes"]
    assert any("--dataset not used" in note for note in notes)
    assert any("hold 1,000 resamples, not 250" in note for note in notes)


def test_other_images_are_refused_with_the_counts_unless_the_common_ones_are_asked_for(harness, save_predictions):
    save_predictions("a.npz", 0)
    save_predictions("b.npz", 1, images=range(30, 130))
    code, _, err = harness("compare", "a.npz", "b.npz")
    assert code == 2
    assert "a.npz has 120 images and b.npz 100, 90 of them in both" in err
    assert "--common" in err
    assert compare(harness, "a.npz", "b.npz", "--common")["images"] == 90


def test_unknown_patients_are_images_and_that_is_said_aloud(harness, save_predictions):
    save_predictions("a.npz", 0, patient=None)
    save_predictions("b.npz", 1, patient=None)
    found = compare(harness, "a.npz", "b.npz")
    assert (found["patients_known"], found["patients"]) == (False, 120)
    assert any("patients are unknown" in note for note in found["notes"])
    assert "95 % images" in harness("compare", "a.npz", "b.npz")[1]


def test_a_class_that_too_few_patients_have_gives_no_interval_and_no_p(harness, save_predictions):
    targets = np.zeros((120, 3), dtype=np.float32)
    targets[0] = 1
    save_predictions("a.npz", 0, targets=targets)
    save_predictions("b.npz", 1, targets=targets)
    found = compare(harness, "a.npz", "b.npz", "--metrics", "auroc,brier")
    pair = found["pairs"][0]
    assert (pair["interval"], pair["p_patients"], pair["p"], pair["p_holm"]) == (None, None, None, None)
    why = "an interval needs 3 patients who have each label and 3 who lack it: 1 has Edema, 1 has Mass, 1 has Nodule"
    assert f"no interval for AUROC, Brier: {why}" in found["notes"]
    _, out, err = harness("compare", "a.npz", "b.npz")
    assert "cannot be told apart, their difference has no interval" in out
    assert f"no interval for AUROC: {why}" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a.npz",), "'a.npz' alone cannot be compared"),
        (("a.npz", "./a.npz"), "'./a.npz' is given twice"),
        ((f"b::{ROWS[0]}", f"b::{ROWS[0]}"), "is given twice"),
        (("a.npz", "absent.npz"), "there are no predictions in absent.npz: no such file"),
        (("a.npz", "empty"), "empty holds no predictions"),
        (("a.npz", "b.npz", "--metrics", "f1"), "give --val, or f1@0.5"),
        (("a.npz", "b.npz", "--metrics", "f1@val-f1"), "give --val, or f1@0.5"),
        (("a.npz", "b.npz", "--val", "a.npz"), "--val is given 1 time for 2 systems (a.npz, b.npz)"),
        (("a.npz", "b.npz", "--val", "a.npz", "--val", "b.npz"), "share 120 images"),
        (("a.npz", "b.npz", "--margin", "0"), "a margin is a difference of no account, above 0, got 0"),
        (("a.npz", "b.npz", "--metrics", "auorc"), "did you mean 'auroc'?"),
        (("a.npz", "other.npz"), "a.npz and other.npz differ in"),
        (("a.npz", "renamed.npz"), "did you mean 'Nodule'?"),
        ((f"b::{ROWS[0]}", "b::tiny-cn--bce--toy"), "unknown row of b 'tiny-cn--bce--toy': did you mean 'tiny-cnn"),
        ((f"b::{ROWS[0]}", "empty::x"), "empty is no board: it holds no board.toml"),
        ((f"b::{ROWS[0]}", "bb::x"), "unknown board 'bb'"),
        ((f"b::{ROWS[0]}", "demo::tiny-cn--bce--demo"), "unknown row of demo"),
        ((f"b::{ROWS[0]}", f"b::{ROWS[1]}", "--metrics", "auprcc"), "unknown metric of these records 'auprcc'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(harness, board, save_predictions, tmp_path, arguments, says):
    save_predictions("a.npz", 0)
    save_predictions("b.npz", 1)
    save_predictions("other.npz", 1, targets=np.ones((120, 3)))
    save_predictions("renamed.npz", 1, labels=np.array(["Edema", "Mass", "Nodulle"]))
    (tmp_path / "empty").mkdir()
    code, out, err = harness("compare", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_rows_of_different_data_are_refused_naming_both(harness, board, tmp_path):
    other = shutil.copytree(board, tmp_path / "c")
    for path in (other / "records").glob("*.json"):
        record = json.loads(path.read_text())
        record["dataset"] |= {"name": "elsewhere", "fingerprint": "0" * 64}
        path.write_text(json.dumps(record))
    code, _, err = harness("compare", f"b::{ROWS[0]}", f"c::{ROWS[0]}")
    assert code == 2
    assert "measured on toy (" in err
    assert "on elsewhere (fingerprint 00000000)" in err


def test_what_a_row_lacks_is_named_with_the_way_out(harness, board, save_predictions):
    save_predictions("a.npz")
    rows = [f"b::{row}" for row in ROWS]
    (board / "records" / f"{ROWS[1]}--s0.npz").unlink()
    code, _, err = harness("compare", *rows)
    assert code == 2
    assert f"{rows[1]}, seed 0: the resamples of its record are not beside it" in err
    assert "harness rescore b" in err
    shutil.rmtree(board / "runs")
    code, _, err = harness("compare", rows[0], "a.npz")
    assert code == 2
    assert "its predictions are not in" in err
    assert f"harness run b --only '{ROWS[0]}' --force" in err
    for path in (board / "records").glob(f"{ROWS[0]}*.json"):
        path.unlink()
    code, _, err = harness("compare", *rows)
    assert code == 2
    assert f"{rows[0]} has no current result; make one: harness run b" in err


def test_a_damaged_record_is_refused_and_an_absent_one_is_said(harness, board):
    rows = [f"b::{row}" for row in ROWS]
    record = board / "records" / f"{ROWS[1]}--s1.json"
    record.write_text("{")
    code, _, err = harness("compare", *rows)
    assert code == 2
    assert f"b: records/{record.name} is no record" in err
    record.unlink()
    few, absent = compare(harness, *rows)["notes"]
    assert f"{rows[0]} has 2, {rows[1]} has 1" in few
    assert absent == f"{rows[1]} has no current result of seed 1"


def test_scores_that_only_rank_and_have_labels_of_their_own_are_compared_over_those_of_both(harness, save_predictions):
    arrays = dict(np.load(save_predictions("a.npz", 0)))
    ranks = {name: arrays[name] for name in ("image", "patient")} | {"ranks": arrays["logits"][:, :2]}
    np.savez("b.npz", labels=arrays["labels"][:2], targets=arrays["targets"][:, :2], **ranks)
    save_predictions("a.npz", 1)
    code, _, err = harness("compare", "a.npz", "b.npz")
    assert (code, "or name labels that all have by --labels" in err) == (2, True), err
    found = compare(harness, "a.npz", "b.npz", "--labels", "Mass,Edema", "--metrics", "auroc,brier")
    assert found["labels"] == {"auroc": ["Edema", "Mass"]}
    assert any("Brier is not compared" in note for note in found["notes"])


def test_files_of_scores_that_only_rank_and_are_the_same_are_refused(harness, save_predictions):
    ranks = np.load(save_predictions("a.npz", 0))["logits"]
    for name in ("a.npz", "b.npz"):
        save_predictions(name, ranks=ranks, logits=None)
    code, _, err = harness("compare", "a.npz", "b.npz")
    assert (code, "hold the same predictions" in err) == (2, True)
    for name, seed in {"a.npz": 0, "b.npz": 1}.items():  # others, all above 1
        save_predictions(name, ranks=np.load(save_predictions(name, seed))["logits"] + 100, logits=None)
    assert compare(harness, "a.npz", "b.npz")["pairs"][0]["delta"] != 0


def test_a_row_is_compared_over_the_labels_that_are_named(harness, board):
    record = next(r for r in read_records(board).records if r.combo.row == ROWS[0])
    arrays = dict(np.load(board / "runs" / record.key / "predictions-test.npz"))
    label = str(arrays["labels"][0])
    parts = {name: arrays[name] for name in ("image", "patient")}
    np.savez("f.npz", labels=[label], targets=arrays["targets"][:, :1], logits=arrays["logits"][:, :1] + 1, **parts)
    assert compare(harness, f"b::{ROWS[1]}", "f.npz", "--labels", label)["labels"] == {"auroc": [label]}
