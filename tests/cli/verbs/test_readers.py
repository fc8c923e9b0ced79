"""`harness score --reader`: people beside a network, from files as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LABELS = ("Edema", "Mass")
COUNT = 8


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A network's scores, targets and the decisions of eight readers on 200 studies."""
    draw = np.random.default_rng(0)
    targets = (draw.random((200, 2)) < (0.4, 0.25)).astype(int)
    case = 0.6 * draw.normal(size=(200, 2))

    def see() -> np.ndarray[Any, Any]:
        return 1.6 * targets + case + 0.8 * draw.normal(size=(200, 2))

    write(tmp_path / "targets.csv", targets)
    write(tmp_path / "network.csv", np.round(1 / (1 + np.exp(1.2 - see())), 4))
    for reader in range(COUNT):
        write(tmp_path / f"r{reader}.csv", (see() > draw.uniform(0.7, 1.6)).astype(int))
    return tmp_path


def write(path: Path, values: Any, labels: tuple[str, ...] = LABELS, first: int = 0) -> None:
    rows = [[f"s{first + row:03d}", *map(str, one)] for row, one in enumerate(values.tolist())]
    path.write_text("\n".join(",".join(cells) for cells in [["image", *labels], *rows]) + "\n")


def read(path: Path) -> Any:
    return np.genfromtxt(path, delimiter=",", skip_header=1)[:, 1:]


def readers(count: int = COUNT) -> list[str]:
    return [part for number in range(count) for part in ("--reader", f"Reader {number}=r{number}.csv")]


def score(harness: Any, *more: str) -> Any:
    code, out, err = harness("score", "network.csv", "--resamples", "200", "--metrics", "auroc", "--json", *more)
    assert code == 0, err
    return json.loads(out)


def test_each_reader_stands_beside_the_network(harness, files):
    found = score(harness, "--targets", "targets.csv", *readers())["readers"]
    assert list(found["readers"]) == [f"Reader {number}" for number in range(COUNT)]
    truth, decided = read(files / "targets.csv"), read(files / "r3.csv")
    one = found["readers"]["Reader 3"]
    expected = [decided[truth[:, label] == 1, label].mean() for label in range(2)]
    assert one["mean"]["sensitivity"]["value"] == pytest.approx(np.mean(expected))
    low, high = one["mean"]["sensitivity"]["interval"]
    assert low < np.mean(expected) < high
    against = one["against"]["sensitivity"]
    assert against["delta"] == pytest.approx(against["network"] - np.mean(expected))
    assert against["p_holm"] >= against["p"]
    assert set(found["average"]) == {"sensitivity", "f1"}
    assert 0 < found["kappa"]["all_readers"]["value"] < 1
    assert len(found["kappa"]["pairs"]) == COUNT * (COUNT - 1) / 2


def test_the_majority_of_eight_readers_is_the_truth(harness, files):
    found = score(harness, *readers(), "--truth", "majority")
    decisions = np.stack([read(files / f"r{number}.csv") for number in range(COUNT)])
    votes = decisions.sum(axis=0)
    assert found["metrics"]["auroc"]["per_label"]["Edema"]["positives"] == (votes[:, 0] > COUNT / 2).sum()
    ties = int((votes == COUNT / 2).sum())
    assert any(f"{ties:,} of 400 decisions are tied and left out" in note for note in found["notes"])
    assert any("each reader has a say in the majority that they are held against" in note for note in found["notes"])
    majority = votes[:, 1] > COUNT / 2
    one = found["readers"]["readers"]["Reader 0"]["per_label"]["Mass"]
    assert one["positives"] == majority.sum()
    assert one["sensitivity"]["value"] == pytest.approx(decisions[0, majority, 1].mean())


def test_a_reader_is_held_against_the_majority_of_the_others(harness, files):
    found = score(harness, *readers(5), "--truth", "leave-one-out")["readers"]
    decisions = np.stack([read(files / f"r{number}.csv") for number in range(5)])
    votes = decisions[1:, :, 0].sum(axis=0)
    one = found["readers"]["Reader 0"]["per_label"]["Edema"]
    assert (one["positives"], one["negatives"]) == ((votes > 2).sum(), (votes < 2).sum())
    assert one["specificity"]["value"] == pytest.approx(1 - decisions[0, votes < 2, 0].mean())
    fairer = found["readers"]["Reader 0"]["mean"]["f1"]["value"]
    biased = score(harness, *readers(5), "--truth", "majority")["readers"]["readers"]["Reader 0"]["mean"]["f1"]["value"]
    assert fairer < biased


def test_readers_and_network_are_printed_and_said_in_words(harness, files):
    code, out, _ = harness("score", "network.csv", "--targets", "targets.csv", "--resamples", "200", *readers(3))
    assert code == 0
    assert "3 readers, each held against the targets; means over 2 labels" in out
    assert "sensitivity at its specificity" in out
    assert "the average reader" in out
    assert "over patients and readers." in out
    assert "Readers agree with a kappa of 0." in out


def test_what_a_reader_did_not_read_is_said(harness, files):
    decisions = read(files / "r1.csv").astype(int)
    write(files / "r1.csv", decisions[:150, :1], LABELS[:1])
    write(files / "r2.csv", read(files / "r2.csv").astype(int), first=100)
    found = score(harness, "--targets", "targets.csv", *readers(3))
    assert "r1.csv: reader 'Reader 1' has no column of Mass" in found["notes"]
    assert "r1.csv: reader 'Reader 1' decided on 150 of 200 images" in found["notes"]
    assert "r2.csv: 100 of its 200 rows are of nothing that was scored" in found["notes"]
    assert (found["readers"]["labels_used"], found["readers"]["left_out"]) == (["Edema"], ["Mass"])


def test_studies_are_read_by_study(harness, files):
    for name in ("network", "targets"):
        lines = (files / f"{name}.csv").read_text().splitlines()
        rows = [f"{line.split(',')[0]}/view{view}.png,{line.split(',', 1)[1]}" for line in lines[1:] for view in (1, 2)]
        (files / f"{name}.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    given = ("--targets", "targets.csv", "--unit", "study", "--study", r"image:(s\d+)")
    found = score(harness, *given, *readers(3))
    assert (found["studies"], found["readers"]["readers"]["Reader 0"]["decided"]) == (200, 200)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--reader", "r0.csv"], "write --reader NAME=FILE, as in --reader 'Dr. A=a.csv'"),
        (
            ["--reader", "A=r0.csv", "--reader", "A=r1.csv"],
            "--reader: reader 'A' is given twice; each reader has",
        ),
        (["--reader", "A=none.csv"], "the decisions of reader 'A' are not there: none.csv is no file"),
        (["--truth", "majority"], "--truth majority is made of readers; give each of them by --reader NAME=FILE"),
        (["--reader", "A=r0.csv", "--truth", "most"], "unknown truth for readers 'most'"),
        (["--reader", "A=r0.csv", "--truth", "majority"], "takes the test's targets from the readers: leave out --tar"),
        (["--reader", "A=network.csv"], "a reader's decision is 1, 0 or blank, found 0."),
        (
            ["--reader", "A=other.csv"],
            "reader 'A' decided on nothing that network.csv scores; give a row for each image",
        ),
        (["--reader", "A=strange.csv"], "reader 'A' has no column of any label (Edema, Mass); name its columns so"),
    ],
)
def test_what_is_no_panel_is_refused_with_the_way_out(harness, files, given, says):
    write(files / "other.csv", np.ones((3, 2), dtype=int), first=900)
    write(files / "strange.csv", np.ones((200, 2), dtype=int), ("x", "y"))
    code, _, err = harness("score", "network.csv", "--targets", "targets.csv", *given)
    assert (code, says in err) == (2, True), err


def test_a_reader_who_writes_labels_in_another_case_has_a_say_in_the_majority(harness, files):
    before = score(harness, *readers(5), "--truth", "majority")
    path = files / "r2.csv"
    path.write_text(path.read_text().replace("Edema,Mass", "edema,MASS"))
    after = score(harness, *readers(5), "--truth", "majority")
    assert before["metrics"] == after["metrics"]


def test_a_column_that_is_no_label_is_named_and_a_misspelt_label_is_refused(harness, files):
    path = files / "r0.csv"
    text = path.read_text()
    path.write_text("\n".join(f"{line},{'comment' if not row else 1}" for row, line in enumerate(text.splitlines())))
    found = score(harness, "--targets", "targets.csv", *readers(3))
    assert "r0.csv: left out is what is no label here: comment" in found["notes"]
    path.write_text(text.replace("Edema", "Oedema"))
    code, _, err = harness("score", "network.csv", "--targets", "targets.csv", *readers(3))
    assert (code, "has a column 'Oedema', which is no label: did you mean 'Edema'?" in err) == (2, True), err


def test_patients_are_read_by_patient(harness, files):
    for name in ("network", "targets", "r0", "r1", "r2"):
        path = files / f"{name}.csv"
        path.write_text(path.read_text().replace("image,", "patient,", 1))
    found = score(harness, "--targets", "targets.csv", "--unit", "patient", *readers(3))
    assert (found["unit"], found["patients"], found["patients_known"]) == ("patient", 200, True)
    assert not any("named by its column" in note for note in found["notes"])


def test_a_system_that_only_ranks_has_no_f1_beside_readers_and_the_others_have_theirs(harness, files):
    scores = read(files / "network.csv")
    write(files / "ranks.csv", scores * 10 - 3)
    for order in (("network.csv", "ranks.csv"), ("ranks.csv", "network.csv")):
        given = ["compare", *order, "--targets", "targets.csv", "--resamples", "200"]
        code, out, err = harness(*given, *readers(3))
        assert code == 0, err
        assert "network.csv" in out.split("F1  ")[-1]
        assert "(Holm, 2 systems)" in out  # of the sensitivities
        assert "F1 (the network's at 0.5)" in out


def test_one_reader_is_compared_without_readers_in_general(harness, files):
    (files / "other.csv").write_text((files / "network.csv").read_text().replace("0.9", "0.8"))
    given = ["compare", "network.csv", "other.csv", "--targets", "targets.csv", "--resamples", "200"]
    code, out, err = harness(*given, *readers(1))
    assert code == 0, err
    assert "of 1" in out
    assert out.count("nothing is said of readers in general") == 1


def test_who_decides_all_one_way_is_named(harness, files):
    write(files / "r1.csv", np.zeros((200, 2), dtype=int))
    found = score(harness, "--targets", "targets.csv", *readers(3))
    assert "r1.csv: reader 'Reader 1' decided 0 on everything" in found["notes"]
    for one in found["readers"]["readers"]["Reader 1"]["against"].values():
        low, high = one["interval"]
        assert -1 <= low <= high <= 1


def test_two_readers_are_no_majority(harness, files):
    code, _, err = harness("score", "network.csv", "--truth", "leave-one-out", *readers(2))
    assert (code, "the truth 'leave-one-out' needs 3 readers, got 2" in err) == (2, True), err


def test_several_systems_are_compared_with_readers_in_one_go(harness, files):
    scores = read(files / "network.csv")
    write(files / "worse.csv", np.round(scores * 0.3 + 0.7 * np.random.default_rng(5).random(scores.shape), 4))
    given = ["compare", "network.csv", "worse.csv", "--targets", "targets.csv", "--resamples", "200", *readers(3)]
    code, out, err = harness(*given, "--json")
    assert code == 0, err
    found = json.loads(out)["readers"]
    assert list(found) == ["network.csv", "worse.csv"]
    alone = score(harness, "--targets", "targets.csv", *readers(3))["readers"]
    for key in ("readers", "kappa"):
        assert found["network.csv"][key] == alone[key]
    p = sorted(part["average"]["f1"]["p"] for part in found.values())
    assert min(part["average"]["f1"]["p_holm"] for part in found.values()) == pytest.approx(min(1, 2 * p[0]))
    code, out, err = harness(*given)
    assert (code, "system - average reader" in out, "(Holm, 2 systems)" in out) == (0, True, True)


def test_systems_are_compared_against_the_majority_of_readers(harness, files):
    (files / "other.csv").write_text((files / "network.csv").read_text().replace("0.9", "0.8"))
    given = ("compare", "network.csv", "other.csv", "--truth", "leave-one-out", "--resamples", "200", "--json")
    code, out, err = harness(*given, *readers(5))
    assert code == 0, err
    assert json.loads(out)["readers"]["other.csv"]["truth"] == "leave-one-out"
