"""`harness score`: predictions made anywhere get the numbers that a record would hold."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from harness.evaluation.predictions import load_predictions
from harness.results.store import read_records

VAL = range(120, 240)


def test_predictions_of_a_run_get_the_numbers_of_its_record(harness, toy_board):
    for record in read_records(toy_board).records:
        test, val = (toy_board / "runs" / record.key / f"predictions-{split}.npz" for split in ("test", "val"))
        code, out, _ = harness(
            "score", str(test), "--val", str(val), "--metrics", "auroc,f1,brier", "--json",
            "--seed", record.dataset.fingerprint,
        )  # fmt: skip
        document, expected = json.loads(out), json.loads(record.model_dump_json())
        assert code == 0
        for name, part in expected["metrics"].items():
            assert {key: document["metrics"][name][key] for key in part} == part
        assert document["thresholds"] == [expected["thresholds"]]
        assert document["calibration"] == [expected["calibration"]]
        assert document["subgroups"] == expected["subgroups"]
        assert document["predictive"] == expected["predictive"]


def test_several_files_are_the_seeds_of_one_system(harness, save_predictions):
    for seed in (0, 1, 2):
        save_predictions(f"s{seed}.npz", seed)
    code, out, _ = harness("score", "s0.npz", "s1.npz", "s2.npz", "--metrics", "auroc", "--json")
    found = json.loads(out)["metrics"]["auroc"]
    alone = [
        json.loads(harness("score", f"s{s}.npz", "--metrics", "auroc", "--json")[1])["metrics"]["auroc"]
        for s in (0, 1, 2)
    ]
    assert code == 0
    assert found["seeds"] == [one["macro"] for one in alone]
    assert found["macro"] == pytest.approx(statistics.fmean(found["seeds"]))
    assert found["spread"] == pytest.approx(statistics.stdev(found["seeds"]))
    assert found["interval"][0] < found["macro"] < found["interval"][1]
    width = [one["interval"][1] - one["interval"][0] for one in alone]
    assert found["interval"][1] - found["interval"][0] < max(width)
    mass = [one["per_label"]["Mass"] for one in alone]
    assert found["per_label"]["Mass"]["value"] == pytest.approx(statistics.fmean(one["value"] for one in mass))
    assert found["per_label"]["Mass"]["positives"] + found["per_label"]["Mass"]["negatives"] == 120
    assert alone[0]["spread"] is None
    assert alone[0]["interval_seeds"] is None
    # the distances over patients and over seeds, squared and added, by a t of two degrees of freedom
    over_seeds = stats.t.ppf(0.975, 2) * found["spread"] / math.sqrt(3)
    low = found["macro"] - math.hypot(found["macro"] - found["interval"][0], over_seeds)
    assert found["interval_seeds"][0] == pytest.approx(low)
    assert "over patients and seeds" in harness("score", "s0.npz", "s1.npz", "s2.npz", "--metrics", "auroc")[1]


def test_a_folder_is_its_files_and_the_order_of_images_does_not_matter(harness, save_predictions, tmp_path):
    first = save_predictions("seeds/a.npz", 0)
    arrays = dict(np.load(save_predictions("b.npz", 1)))
    order = np.random.default_rng(0).permutation(120)
    shuffled = {name: values if name == "labels" else values[order] for name, values in arrays.items()}
    np.savez(tmp_path / "seeds" / "b.npz", **shuffled)
    _, together, _ = harness("score", "seeds", "--json")
    _, apart, _ = harness("score", str(first), "b.npz", "--json")
    assert json.loads(together)["metrics"] == json.loads(apart)["metrics"]


def test_a_table_shows_the_mean_the_interval_and_each_label(harness, save_predictions):
    save_predictions("s0.npz", 0)
    save_predictions("s1.npz", 1)
    code, out, _ = harness("score", "s0.npz", "s1.npz", "--metrics", "auroc,f1@0.5")
    assert code == 0
    assert "2 files: 2 seeds, 120 images of 40 patients" in out
    for part in ("95 % over patients", "F1@0.5", "3/3", "Nodule", "positives", "["):
        assert part in out
    assert max(map(len, out.splitlines())) <= 120


def test_without_validation_nothing_is_fitted_and_it_says_so(harness, save_predictions):
    save_predictions("s.npz")
    _, out, err = harness("score", "s.npz", "--json")
    document = json.loads(out)
    assert set(document["metrics"]) == {"auroc", "auprc", "f1@0.5", "f1@oracle", "brier", "ece"}
    assert set(document["thresholds"][0]) == {"0.5", "oracle"}
    assert document["calibration"] == [None]
    assert any("without --val" in note for note in document["notes"])
    assert "warning: without --val" in err


def test_with_validation_thresholds_and_calibration_are_fitted_there(harness, save_predictions):
    save_predictions("s0.npz", 0)
    save_predictions("s1.npz", 1)
    save_predictions("v0.npz", 0, images=VAL)
    save_predictions("v1.npz", 1, images=VAL)
    arguments = ("score", "s0.npz", "s1.npz", "--metrics", "auroc,f1,f1@val-sens0.8", "--json")
    document = json.loads(harness(*arguments, "--val", "v0.npz,v1.npz")[1])
    assert document == json.loads(harness(*arguments, "--val", "v0.npz", "--val", "v1.npz")[1])
    assert {"f1@val-f1", "f1@val-youden", "f1@val-sens0.8"} < set(document["metrics"])
    assert document["thresholds"][0] != document["thresholds"][1]
    assert all(part["platt"]["ece"] is not None for part in document["calibration"])
    assert document["notes"] == []
    one = json.loads(harness(*arguments, "--val", "v0.npz")[1])
    assert one["thresholds"][0] == document["thresholds"][0]


def test_unknown_patients_are_images_and_that_is_said_aloud(harness, save_predictions):
    save_predictions("s.npz", patient=None)
    _, out, err = harness("score", "s.npz", "--json")
    document = json.loads(out)
    assert not document["patients_known"]
    assert document["patients"] == 120
    assert any("patients are unknown" in note for note in document["notes"])
    assert "warning: patients are unknown" in err
    _, out, _ = harness("score", "s.npz")
    assert "95 % over images" in out
    assert "patients unknown" in out


def test_one_seed_that_knows_its_patients_tells_the_others(harness, save_predictions):
    save_predictions("known.npz", 0)
    save_predictions("unknown.npz", 1, patient=None)
    document = json.loads(harness("score", "unknown.npz", "known.npz", "--json")[1])
    assert (document["patients_known"], document["patients"]) == (True, 40)


def test_a_csv_takes_its_targets_from_a_table_or_a_dataset(harness, toy_board, tmp_path):
    record = read_records(toy_board).records[0]
    path = toy_board / "runs" / record.key / "predictions-test.npz"
    found = load_predictions(path)
    rows = zip(found.image, found.scores, found.targets, strict=True)
    scores, targets = [",".join(["image", *found.labels])], [",".join(["image", *found.labels])]
    for image, score, target in rows:
        scores.append(",".join([image, *map(repr, score.tolist())]))
        targets.append(",".join([image, *(f"{value:g}" for value in target)]))
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    (tmp_path / "targets.csv").write_text("\n".join(targets))
    _, by_table, _ = harness("score", "scores.csv", "--targets", "targets.csv", "--json")
    _, by_dataset, _ = harness("score", "scores.csv", "--dataset", "toy", "--option", "count=48", "--json")
    expected = record.metrics["auroc"].macro
    assert json.loads(by_table)["metrics"]["auroc"]["macro"] == expected
    assert json.loads(by_dataset)["metrics"]["auroc"]["macro"] == expected
    assert not json.loads(by_table)["patients_known"]
    assert json.loads(by_dataset)["patients_known"]


def test_a_class_that_one_patient_carries_has_a_value_and_no_interval(harness, save_predictions):
    targets = np.zeros((120, 3), dtype=np.float32)
    targets[:60, :2], targets[0, 2] = 1, 1
    save_predictions("s.npz", targets=targets)
    part = json.loads(harness("score", "s.npz", "--metrics", "auroc", "--json")[1])["metrics"]["auroc"]
    nodule = part["per_label"]["Nodule"]
    assert (nodule["positives"], nodule["interval"]) == (1, None)
    assert nodule["value"] is not None
    targets[0, 2] = 0
    save_predictions("s.npz", targets=targets)
    document = json.loads(harness("score", "s.npz", "--metrics", "auroc", "--json")[1])
    part = document["metrics"]["auroc"]
    assert (part["per_label"]["Nodule"]["value"], part["labels_used"]) == (None, 2)
    assert document["areas"]["seeds"][0]["Nodule"] is None
    assert document["areas"]["seeds"][0]["Mass"]["standard_error"] > 0


def test_the_table_says_how_intervals_are_made_what_means_are_without_and_why_there_is_none(harness, save_predictions):
    targets = (np.random.default_rng(0).random((120, 3)) < 0.4).astype(np.float32)
    targets[:, 2] = 0
    targets[:2, 2] = 1
    save_predictions("s.npz", targets=targets)
    code, out, _ = harness("score", "s.npz", "--metrics", "auroc,auprc,precision@0.5")
    assert code == 0
    carriers = len(set(np.load("s.npz")["patient"][:2]))
    says = f"a mean needs 3 patients who have each label and 3 who lack it: {carriers} has Nodule"
    assert f"without Nodule: AUROC, AUPRC, precision ({says})" in " ".join(out.split())
    assert "no interval" not in out
    targets[:, :2] = targets[:, [2]]
    save_predictions("s.npz", targets=targets)
    out = harness("score", "s.npz", "--metrics", "auroc,auprc")[1]
    says = f"an interval needs 3 patients who have each label and 3 who lack it: {carriers} has Edema"
    assert f"no interval for AUROC, AUPRC: {says}" in " ".join(out.split())
    targets[:, :2] = np.random.default_rng(0).random((120, 2)) < 0.4
    targets[:, 2] = 0
    save_predictions("s.npz", targets=targets)
    out = harness("score", "s.npz", "--metrics", "auroc,auprc")[1]
    assert "without Nodule: AUROC, AUPRC" in out
    assert "logit" in out
    assert "squared" in out


@pytest.mark.parametrize("verb", ["score", "compare"])
def test_too_few_resamples_are_refused(harness, save_predictions, verb):
    save_predictions("a.npz", 0)
    save_predictions("b.npz", 1)
    code, _, err = harness(verb, "a.npz", "b.npz", "--resamples", "199")
    assert code == 2
    assert "200" in err


def test_logits_that_round_to_one_are_ranked_all_the_same(harness, save_predictions):
    save_predictions("a.npz", 0)
    plain = json.loads(harness("score", "a.npz", "--metrics", "auroc,auprc", "--json")[1])["metrics"]
    arrays = dict(np.load("a.npz"))
    np.savez("far.npz", **{**arrays, "logits": arrays["logits"].astype(np.float64) + 40})
    far = json.loads(harness("score", "far.npz", "--metrics", "auroc,auprc", "--json")[1])["metrics"]
    assert far == plain


def test_an_overlap_of_validation_and_test_is_refused_unless_accepted(harness, save_predictions):
    save_predictions("s.npz")
    save_predictions("v.npz", images=range(117, 237))
    code, _, err = harness("score", "s.npz", "--val", "v.npz")
    assert code == 2
    assert "share 3 images" in err
    assert "--allow-overlap" in err
    code, out, _ = harness("score", "s.npz", "--val", "v.npz", "--allow-overlap", "--json")
    assert code == 0
    assert "share 3 images" in json.loads(out)["notes"][0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"logits": np.full((120, 3), np.nan)}, "image 'i000', label 'Edema': a logit must be finite"),
        ({"logits": None, "scores": np.full((120, 3), np.inf)}, "a score must be finite"),
        ({"image": np.array(["i000"] * 120)}, "image 'i000' stands in it more than once"),
        ({"targets": np.full((120, 3), 2.0)}, "targets must be 1, 0 or NaN for unknown, found 2"),
        ({"targets": None}, "no target of its images is known"),
        ({"targets": np.zeros((120, 3))}, "s.npz and other.npz differ in"),
        ({"labels": np.array(["Edema", "Mass", "Nodul"])}, "did you mean 'Nodul'?"),
        ({"image": np.array([f"j{n}" for n in range(120)])}, "120 of its 120 images alone"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_one_line_that_names_it(harness, save_predictions, changes, says):
    save_predictions("s.npz", **changes)
    save_predictions("other.npz", 1)
    code, out, err = harness("score", "s.npz", "other.npz")
    assert (code, out) == (2, "")
    assert "s.npz" in err
    assert says in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("s.npz", "--metrics", "auorc"), "unknown metric 'auorc': did you mean 'auroc'?"),
        (("s.npz", "--metrics", "f1@val-f2"), "did you mean 'val-f1'?"),
        (("s.npz", "--metrics", "auroc@0.5"), "auroc is of scores and has no threshold policy"),
        (("s.npz", "--metrics", ","), "--metrics is empty"),
        (("s.npz", "--val", "v.npz,v.npz"), "--val has 2 files for 1 of the test"),
        (("s.npz", "s.npz"), "s.npz is given twice"),
        (("absent.npz",), "there are no predictions in absent.npz: no such file"),
        (("s.npz", "--val", "empty"), "empty holds no predictions: no .npz, .csv, .tsv, .csv.gz, .tsv.gz lies in it"),
        (("s.npz", "--option", "count=3"), "give --dataset NAME too"),
        (("s.npz", "--dataset", "tyo"), "unknown dataset 'tyo': did you mean 'toy'?"),
        (("s.npz", "--dataset", "toy", "--targets", "t.csv"), "give one of them"),
        (("s.npz", "--targets", "bad.csv"), "targets must be 1, 0 or NaN for unknown, found 3"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(harness, save_predictions, tmp_path, arguments, says):
    save_predictions("s.npz")
    save_predictions("v.npz", images=VAL)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("image,Edema,Mass,Nodule\ni000,0,3,\n")
    code, out, err = harness("score", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_a_copy_of_a_file_is_no_seed(harness, save_predictions, tmp_path):
    save_predictions("s0.npz")
    save_predictions("s1.npz")
    code, _, err = harness("score", "s0.npz", "s1.npz")
    assert (code, "s0.npz and s1.npz hold the same predictions" in err) == (2, True)
    stored = load_predictions(tmp_path / "s0.npz")
    lines = [
        f"{image},{patient},{','.join(f'{score:.4f}' for score in scores)}"
        for image, patient, scores in zip(stored.image, stored.patient, stored.scores, strict=True)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["image,patient,Edema,Mass,Nodule", *lines]))
    targets = [
        f"{image},{','.join(f'{target:g}' for target in row)}"
        for image, row in zip(stored.image, stored.targets, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["image,Edema,Mass,Nodule", *targets]))
    code, _, err = harness("score", "s0.npz", "s.csv", "--targets", "t.csv")
    assert (code, "s0.npz and s.csv hold the same predictions" in err) == (2, True), err


def test_a_validation_that_shares_patients_under_other_spellings_is_named(harness, save_predictions):
    save_predictions("s.npz", patient=np.array([f"{n // 3:08d}" for n in range(120)]))
    save_predictions("v.npz", images=VAL, patient=np.array([f"{n // 3}" for n in range(120)]))
    document = json.loads(harness("score", "s.npz", "--val", "v.npz", "--json")[1])
    assert any("may share 40 patients, written differently: '0' and '00000000'" in note for note in document["notes"])
    save_predictions("v.npz", images=VAL, patient=None)
    document = json.loads(harness("score", "s.npz", "--val", "v.npz", "--json")[1])
    assert any("share patients is not known" in note for note in document["notes"])


def test_scores_stored_as_logits_and_targets_passed_over_are_named(harness, save_predictions, tmp_path):
    save_predictions("s.npz", logits=np.random.default_rng(0).random((120, 3)))
    (tmp_path / "t.csv").write_text(
        "image,Edema,Mass,Nodule\n" + "".join(f"i{n:03d},0,1,{n % 2}\n" for n in range(120))
    )
    _, out, err = harness("score", "s.npz", "--targets", "t.csv", "--json")
    notes = json.loads(out)["notes"]
    assert any("all of its logits are in 0..1" in note for note in notes)
    assert any("of its own targets contradict those of" in note for note in notes)
    assert "all of its logits are in 0..1" in err


def test_predictive_values_are_given_for_the_labels_with_a_prevalence(harness, save_predictions):
    save_predictions("s0.npz", 0)
    save_predictions("s1.npz", 1)
    save_predictions("v.npz", 2, images=VAL)
    arguments = ("score", "s0.npz", "s1.npz", "--val", "v.npz", "--metrics", "auroc", "--prevalence")
    document = json.loads(harness(*arguments, "Edema=0.05,Mass=0.2", "--json")[1])
    assert {"sensitivity@val-spec0.9", "specificity@val-spec0.9"} <= set(document["metrics"])
    part = document["predictive"]["val-spec0.9"]["Edema"]
    assert part["prevalence"] == 0.05
    assert part["ppv_interval"][0] <= part["ppv"] <= part["ppv_interval"][1]
    alone = [
        json.loads(harness("score", f"s{n}.npz", *arguments[3:], "Edema=0.05", "--json")[1])["predictive"]
        for n in (0, 1)
    ]
    assert part["ppv"] == pytest.approx(statistics.fmean(one["val-spec0.9"]["Edema"]["ppv"] for one in alone))
    _, out, _ = harness(*arguments, "Edema=0.05")
    assert "PPV, 95 % over patients" in out
    assert max(map(len, out.splitlines())) <= 120
    code, _, err = harness(*arguments, "Edma=0.05")
    assert (code, "label with a prevalence 'Edma': did you mean 'Edema'?" in err) == (2, True)
    code, _, err = harness(*arguments, "Edema=5")
    assert (code, "must lie between 0 and 1" in err) == (2, True)
    assert json.loads(harness("score", "s0.npz", "--json")[1])["predictive"] is None


def test_micro_and_weighted_means_stand_beside_the_macro(harness, save_predictions):
    save_predictions("s0.npz", 0)
    save_predictions("s1.npz", 1)
    found = json.loads(harness("score", "s0.npz", "s1.npz", "--metrics", "auroc", "--json")[1])["metrics"]["auroc"]
    alone = [
        json.loads(harness("score", f"s{n}.npz", "--metrics", "auroc", "--json")[1])["metrics"]["auroc"] for n in (0, 1)
    ]
    for kind in ("micro", "weighted"):
        assert found[kind] == pytest.approx(statistics.fmean(one[kind] for one in alone))
    out = harness("score", "s0.npz", "--metrics", "auroc")[1]
    assert "weighted: each label by its positives" in out


def test_groups_that_files_name_are_compared_over_the_seeds(harness, save_predictions):
    sex = np.array(["F", "M"])[np.arange(120) // 3 % 2]
    for seed in (0, 1):
        save_predictions(f"s{seed}.npz", seed, **{"column/sex": sex})
    document = json.loads(harness("score", "s0.npz", "s1.npz", "--metrics", "auroc", "--json")[1])
    found = document["subgroups"]["sex"]
    alone = [
        json.loads(harness("score", f"s{n}.npz", "--metrics", "auroc", "--json")[1])["subgroups"]["sex"] for n in (0, 1)
    ]
    for number, group in enumerate(found["groups"]):
        assert (group["name"], group["images"], group["patients"]) == ("FM"[number], 60, 20)
        assert group["macro"]["auroc"] == pytest.approx(
            statistics.fmean(one["groups"][number]["macro"]["auroc"] for one in alone)
        )
    gap = found["gaps"]["auroc"]
    assert gap["value"] == pytest.approx(
        abs(found["groups"][0]["macro"]["auroc"] - found["groups"][1]["macro"]["auroc"])
    )
    assert 0 < gap["p"] <= 1
    out = harness("score", "s0.npz", "s1.npz", "--metrics", "auroc")[1]
    assert "largest gap" in out
    assert f"p {gap['p']:.3f}" in out


# --- as they are published -------------------------------------------------------------------------------------------

PROBABILITIES = ("f1@0.5", "f1@oracle", "brier", "ece")
ONLY_RANK = "these scores are no probabilities and only rank"


@pytest.fixture
def published(save_predictions, tmp_path):
    """A table of others: a foreign id column, a score of 1.009 and a label less than in its targets."""
    arrays = dict(np.load(save_predictions("plain.npz")))
    scores = 1 / (1 + np.exp(-arrays["logits"].astype(float)))
    scores[scores[:, 0].argmax(), 0] = 1.009
    rows = [f"CXR/{name}.png,x,{a!r},{b!r}" for name, a, b in zip(arrays["image"], *scores.T[:2].tolist(), strict=True)]
    (tmp_path / "published.csv").write_text("\n".join(["Study File,Reader,prob_Edema,prob_Mass", *rows]) + "\n")
    rows = [
        f"CXR/{name}.png,{patient},{c:.0f},{a:.0f},{b:.0f}"
        for name, patient, (a, b, c) in zip(arrays["image"], arrays["patient"], arrays["targets"].tolist(), strict=True)
    ]
    (tmp_path / "targets.csv").write_text("\n".join(["Study File,patient_id,Nodule,Edema,Mass", *rows]) + "\n")
    return arrays


def test_a_published_table_is_scored_with_one_more_option(harness, published):
    arguments = ("score", "published.csv", "--targets", "targets.csv")
    code, _, err = harness(*arguments)
    assert (code, "name it by --image-column" in err) == (2, True)
    code, out, err = harness(*arguments, "--image-column", "Study File", "--json")
    assert code == 0
    document = json.loads(out)
    plain = json.loads(harness("score", "plain.npz", "--json")[1])
    for metric in ("auroc", "auprc"):
        ours, theirs = document["metrics"][metric]["per_label"], plain["metrics"][metric]["per_label"]
        assert ours.keys() == {"Edema", "Mass"}
        for label, part in ours.items():
            assert part["value"] == pytest.approx(theirs[label]["value"], abs=1e-12)
    assert (document["patients"], document["patients_known"]) == (40, True)
    for metric in PROBABILITIES:
        part = document["metrics"][metric]
        assert (part["macro"], part["interval"], part["micro"], part["labels_used"]) == (None, None, None, 0)
        assert ONLY_RANK in part["why_left_out"]
    assert document["calibration"] == [None]
    assert all(value is None for one in document["thresholds"][0].values() for value in one.values())
    said = (
        "published.csv: 1 of 240 scores is not in 0..1",
        "left out is what published.csv has no scores for: Nodule",
    )
    for text in (*said, "left out is what targets.csv has no targets for: Reader", "named by its column 'patient_id'"):
        assert any(text in note for note in document["notes"])
        assert text in err
    assert not any("decisions are at @0.5" in note for note in document["notes"])
    assert ONLY_RANK in harness(*arguments, "--image-column", "Study File")[1]


def test_scores_that_only_rank_have_no_decisions_with_a_validation_either(harness, save_predictions):
    save_predictions("s.npz", ranks=np.load(save_predictions("s.npz"))["logits"], logits=None)
    save_predictions("v.npz", images=VAL)
    found = json.loads(harness("score", "s.npz", "--val", "v.npz", "--json")[1])
    plain = json.loads(harness("score", str(save_predictions("p.npz")), "--val", "v.npz", "--json")[1])
    assert found["metrics"]["auroc"] == plain["metrics"]["auroc"]
    assert found["metrics"].keys() == plain["metrics"].keys()
    decided = {name for name in found["metrics"] if "@" in name}
    assert decided
    assert {found["metrics"][name]["macro"] for name in decided} == {None}
    assert found["calibration"] == [None]


def test_a_validation_that_only_ranks_leaves_what_needs_none(harness, save_predictions):
    save_predictions("s.npz")
    save_predictions("v.npz", ranks=np.load(save_predictions("v.npz", images=VAL))["logits"], logits=None, images=VAL)
    document = json.loads(harness("score", "s.npz", "--val", "v.npz", "--json")[1])
    assert document["metrics"]["brier"]["macro"] is not None
    assert document["metrics"]["f1@0.5"]["per_label"]["Edema"]["value"] is not None
    assert document["metrics"]["f1@val-f1"]["macro"] is None
    assert document["calibration"] == [None]
