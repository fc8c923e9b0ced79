"""harness tune, through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from harness.board import Row, read_board
from harness.components import Choice
from harness.errors import NotFiniteError, UsageError
from harness.results.store import read_records
from harness.tuning.figures import draw_study
from harness.tuning.outcome import conclude
from harness.tuning.report import report_text, write_report
from harness.tuning.space import Dimension
from harness.tuning.storage import open_storage
from harness.tuning.study import ask_values, open_study
from tests.conftest import TOY
from tests.report.conftest import require_valid
from tests.tuning.conftest import DIMENSIONS

BASE = ("tune", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy")
SLOW = (
    *("tune", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "slow", "--board", "b"),
    *("--plugin", str(TOY), "--plugin", str(TOY.with_name("search.py"))),
)
"""Its default rate is too small to learn by: nearly every trial is better."""
SMALL = (*BASE, "--board", "b", "--search", "recipe.lr=1e-3..1e-1:log", "--set", "recipe.epochs=2")


def test_a_search_ends_in_a_report_and_a_row_that_runs(harness, tmp_path):
    code, out, err = harness(*SLOW, "--space", str(write_space(tmp_path)), "--trials", "6", "--add")
    assert code == 0, err
    assert "6 of 6" in err
    (row,) = [row for row in read_board(tmp_path / "b").rows if row.params]
    assert "6 trials in" in row.tuned
    assert "report: b/studies/toy-net--bce--slow.html" in out
    assert harness("run", "b", "--only", row.name, "--seeds", "0", *SLOW[-4:])[0] == 0
    (record,) = read_records(tmp_path / "b").records
    assert record.combo.resolved["recipe"]["lr"] == row.params["recipe"]["lr"]


def write_space(folder):
    """One that the default lies outside of."""
    path = folder / "space.toml"
    path.write_text("[recipe]\nlr = { low = 1e-3, high = 1e-1, log = true }\nweight_decay = [0.0, 0.1]\n")
    return path


@pytest.mark.parametrize("more", [("--dry-run",), ("--trials", "2", "--json")])
def test_a_default_outside_the_space_is_no_trial_and_is_said_in_one_line(harness, more):
    """The default rate is 1e-6."""
    code, out, err = harness(*SLOW, "--search", "recipe.lr=1e-3..1e-1:log", "--set", "recipe.epochs=1", *more)
    assert code == 0, err
    assert "no trial has the default configuration" in (out + err).replace("\n", " ")
    assert "recipe.lr = 1e-06 is not in 0.001 .. 0.1, log (--search)" in " ".join((out + err).split())
    if "--json" in more:
        found = json.loads(out)
        assert found["default"] is None
        assert not found["best"]["is_default"]
        assert 1e-3 <= found["best"]["values"]["recipe.lr"] <= 1e-1


def test_json_is_one_document_with_trials_best_and_row(harness):
    code, out, _ = harness(*SMALL, "--trials", "4", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["trials"]["total"] == 4
    assert found["best"]["value"] >= found["default"]
    assert set(found["row"]) == {"name", "model", "loss", "recipe", "params", "toml"}


def test_a_study_goes_on_to_more_trials(harness):
    assert json.loads(harness(*SMALL, "--trials", "2", "--json")[1])["trials"]["total"] == 2
    _, out, err = harness(*SMALL, "--trials", "4", "--json")
    assert json.loads(out)["trials"]["total"] == 4
    assert len(re.findall("trial [0-9]+", err)) >= 2
    assert "trial 0" not in re.sub(r"\(trial 0\)", "", err)


@pytest.mark.slow
def test_trials_that_fail_are_counted_by_kind_and_the_others_go_on(harness):
    code, out, err = harness(
        *SMALL, "--trials", "8", "--search", "recipe.lr=1e-3,1e18", "--sampler", "random", "--json"
    )
    found = json.loads(out)
    assert code == 0, err
    assert found["trials"]["total"] == 8
    assert found["trials"].get("failures") == {"not_finite": found["trials"]["failed"]}
    assert "not_finite" in err


@pytest.mark.parametrize(("model", "kind"), [("toy-raising", "plugin"), ("toy-greedy", "out_of_memory")])
def test_a_study_without_a_complete_trial_says_why(harness, model, kind):
    command = ("tune", "--dataset", "toy", "--models", model, "--losses", "bce", "--recipes", "toy", "--board", "b")
    code, _, err = harness(*command, "--search", "recipe.lr=1e-3..1e-1", "--trials", "2")
    assert code == 1
    assert f"no trial of 2 is complete (2 {kind})" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--search", "recipe.lrr=1..2"), "did you mean 'recipe.lr'"),
        (("--search", "recipe.batch_size=0..2"), "is not allowed"),
        (("--search", "model.width=-4..8"), "model.width = -4 (--search) is not allowed"),
        (("--losses", "focal", "--search", "loss.gamma=1..2"), "unknown parameter to search 'loss.gamma'"),
        (("--models", "toy-nett"), "did you mean 'toy-net'"),
        (("--study", "../elsewhere"), "files are called by it"),
        (("--search", "recipe.epochs=1..2"), "leave one of them out"),
        (("--objective", "f1@oracle"), "fitted on what it judges"),
        (("--objective", "auruc"), "did you mean 'auroc'"),
        (("--budget", "soon"), "--budget soon: give seconds"),
        (("--set", "recipe.lrr=1"), "did you mean 'lr'"),
        (("--storage", "nosuch://x"), "unknown kind of storage"),
        (("--losses", "bce,focal", "--study", "one"), "cannot have one name"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_trained(harness, tmp_path, more, message):
    code, _, err = harness(*SMALL, *more)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "b" / "board.toml").exists()


def test_a_study_that_comes_to_nothing_leaves_the_others_their_result(harness):
    code, out, err = harness(*BASE, "--models", "toy-raising", *SMALL[len(BASE) :], "--trials", "1", "--json")
    good, bad = json.loads(out)["studies"]
    assert code == 1
    assert (good["study"].split("--")[0], good["trials"]["complete"]) == ("toy-net", 1)
    assert bad["error"] in err
    assert "no trial of 1 is complete (1 plugin)" in err


def test_decisions_are_judged_by_the_policy_that_is_asked_for(harness):
    found = {}
    for objective in ("f1", "f1@val-f1", "f1@0.5"):
        asked = ("--objective", objective, "--study", objective.replace("@", "-"), "--search", "recipe.lr=1e-6,1e-5")
        code, out, err = harness(*BASE, "--board", "b", "--set", "recipe.epochs=1", "--trials", "1", "--json", *asked)
        assert code == 0, err
        found[objective] = json.loads(out)["best"]["value"]
    assert found["f1"] == found["f1@val-f1"]
    assert found["f1@0.5"] < found["f1"]


def test_epochs_to_choose_from_are_known_to_the_pruner(harness):
    _, out, _ = harness(*BASE, "--board", "b", "--search", "recipe.epochs=2,7", "--dry-run")
    assert "a trial of 7 epochs" in out


def test_a_storage_that_fails_in_the_middle_costs_no_trial(harness, monkeypatch):
    from optuna.storages.journal import JournalFileBackend

    write, written = JournalFileBackend.append_logs, []

    def fill_the_disk(self, logs):
        written.extend(logs)
        if len(written) > 30:
            raise OSError(28, "No space left on device")
        write(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", fill_the_disk)
        code, _, err = harness(*SMALL, "--trials", "6")
    assert code == 2
    assert "the storage in the board's folder does not answer: [Errno 28] No space left on device" in err
    assert "finished trials are kept" in err
    assert "Traceback" not in err


def test_half_a_line_at_the_end_of_a_journal_is_dropped(harness, tmp_path):
    assert harness(*SMALL, "--trials", "1")[0] == 0
    (journal,) = (tmp_path / "b" / "studies").glob("*.journal")
    with journal.open("a") as file:
        file.write('{"op_code":8,"worker_id":"x","tri')
    for trials in ("2", "3"):
        code, out, err = harness(*SMALL, "--trials", trials, "--json")
        assert code == 0, err
        assert json.loads(out)["trials"]["total"] == int(trials)


def test_the_lock_of_a_killed_writer_is_taken_over(harness, monkeypatch):
    """Also of a board that is given by a relative path."""
    monkeypatch.setattr("harness.tuning.storage.GRACE", 3)
    assert harness(*SMALL, "--trials", "1", "--study", "s")[0] == 0
    code = (
        "import os, pathlib\n"
        "from optuna.study import StudyDirection\n"
        "from harness.tuning.storage import open_storage\n"
        "storage = open_storage(None, pathlib.Path('b'), 's')\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "storage.create_new_study([StudyDirection.MAXIMIZE], 'other')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert os.path.lexists("b/studies/s.journal.lock")
    assert harness(*SMALL, "--trials", "2", "--study", "s")[0] == 0


def test_a_study_that_is_over_starts_no_worker(harness, monkeypatch):
    assert harness(*SMALL, "--trials", "1")[0] == 0
    monkeypatch.setattr("harness.execution.workers.Worker", None)
    assert harness(*SMALL, "--trials", "1", "--workers", "2")[0] == 0


def test_a_confirmation_stays_with_its_study(harness, tmp_path):
    _, out, _ = harness(*SLOW, "--trials", "5", "--confirm", "3", "--json")
    confirmed = json.loads(out)["confirmation"]
    assert confirmed["seeds"] == [1, 2, 3]
    _, out, _ = harness(*SLOW, "--trials", "5", "--add", "--json")
    assert json.loads(out)["confirmation"] == confirmed
    (page,) = (tmp_path / "b" / "studies").glob("*.html")
    assert "Trained again: " in page.read_text(encoding="utf-8")
    words = "significantly better than" if confirmed["better"] else "not significantly better than"
    assert read_board(tmp_path / "b").rows[-1].tuned.endswith(f"; {words} the default with 3 fresh seeds each")


def test_a_confirmation_that_fails_leaves_the_report(harness, tmp_path, monkeypatch):
    def diverge(context, row, seed, on_epoch, note):
        raise NotFiniteError("the loss is not finite")

    monkeypatch.setattr("harness.tuning.confirmation.train", diverge)
    code, _, err = harness(*SLOW, "--trials", "5", "--confirm", "2", "--add")
    assert code == 1
    assert "failed when it was trained again with seed 1 (not_finite): the loss is not finite" in err
    (page,) = (tmp_path / "b" / "studies").glob("*.html")
    assert f"its row is in b/studies/{page.name}" in err


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (("--objective", "auprc"), "objective was auroc, now auprc"),
        (
            ("--search", "recipe.lr=1e-2..1e-1"),
            "recipe.lr was searched in 0.001 .. 0.1, log, now searched in 0.01 .. 0.1",
        ),
        (
            ("--search", "recipe.batch_size=8,16"),
            "recipe.batch_size was not searched, now searched in one of 8, 16",
        ),
        (("--set", "recipe.epochs=3"), "recipe.epochs was set to 2, now set to 3"),
        (("--set", "recipe.weight_decay=0.0"), "recipe.weight_decay was not set, now set to 0.0"),
        (("--seeds-per-trial", "2"), "--seeds-per-trial was 1, now 2"),
        (("--option", "count=240"), "dataset option count was not given, now 240"),
    ],
)
def test_a_study_is_continued_only_as_what_it_is(harness, more, difference):
    small = (*SMALL, "--study", "s", "--storage", "journal://s.journal")
    harness(*small, "--trials", "1")
    code, _, err = harness(*small, "--trials", "2", "--board", "c", *more)
    assert code == 2
    assert difference in " ".join(err.split())
    assert "--study s-2" in err


def test_each_difference_of_a_study_is_named(make_plan):
    open_study(make_plan())
    changed = make_plan(
        dimensions={"recipe.optimizer": Dimension("recipe.optimizer", Choice(("adam", None)), "--search")},
        defaults={"recipe.optimizer": "adam"},
        row=Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"augment": {"flip": True}}}),
        fingerprint="g",
        seeds=(0, 1),
    )
    with pytest.raises(UsageError) as refusal:
        open_study(changed)
    for difference in (
        "the data of 'toy' have changed (images, labels, or which of them are for validation)",
        "fingerprint was f, now g",
        "model was toy-net, now tiny-cnn",
        "loss was bce, now focal",
        "recipe was toy, now demo",
        "recipe.augment.flip was not set, now set to true",
        "recipe.lr was searched in 0.0001 .. 0.1, log, now not searched",
        "recipe.optimizer was searched in one of adam, sgd, now searched in one of adam, none",
        "--seeds-per-trial was 1, now 2",
        "begin one of another name: --study s-2",
    ):
        assert difference in str(refusal.value)


@pytest.mark.slow
def test_a_study_that_another_program_made_is_left_alone(make_plan):
    plan = make_plan()
    storage = open_storage(None, plan.board.folder, plan.name)
    theirs = optuna.create_study(study_name=plan.name, storage=storage)
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(UsageError, match="was not made by harness tune; begin one of another name"):
        open_study(plan)
    assert len(theirs.trials) == 1


def test_a_dry_run_prints_the_space_and_what_the_budget_allows(harness, tmp_path):
    code, out, _ = harness(*SMALL, "--dry-run", "--budget", "10m")
    assert code == 0
    assert "recipe.lr" in out
    assert "0.001 .. 0.1, log" in out
    assert re.search(r"about \d+ in the budget", out)
    assert not (tmp_path / "b").exists()
    found = json.loads(harness(*SMALL, "--dry-run", "--budget", "10m", "--json")[1])
    assert found["space"]["recipe.lr"]["origin"] == "--search"
    assert found["trials_in_budget"] > 0


def test_several_losses_make_a_study_each(harness, tmp_path):
    code, out, _ = harness(*SMALL, "--losses", "focal", "--trials", "1", "--json")
    assert code == 0
    assert [one["study"].split("--")[1] for one in json.loads(out)["studies"]] == ["bce", "focal"]
    assert len(list((tmp_path / "b" / "studies").glob("*.html"))) == 2


def test_a_board_says_what_is_tuned(harness, tmp_path):
    run = ("run", "--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "b")
    assert harness(*run, "--seeds", "0")[0] == 0
    code, out, _ = harness("tune", "b", "--search", "recipe.lr=1e-3..1e-1", "--trials", "2", "--json")
    assert (code, json.loads(out)["objective"]) == (0, "auroc")
    harness(*run[:3], "--models", "toy-net,tiny-cnn", *run[5:], "--board", "c", "--dry-run")
    code, _, err = harness("tune", "demo", "--dry-run")
    assert code == 2
    assert "give --models: the board has chexnet, timm/test_vit, tiny-cnn" in err


def test_a_budget_that_is_over_begins_no_trial(harness):
    code, _, err = harness(*SMALL, "--budget", "0.000001s")
    assert code == 1
    assert "none has finished" in err


def test_seeds_a_trial_are_averaged(harness):
    one = json.loads(harness(*SMALL, "--trials", "1", "--seeds-per-trial", "2", "--json")[1])
    assert one["trials"] == {"total": 1, "complete": 1, "failures": {}}


def test_confirming_trains_fresh_seeds_on_validation(harness, tmp_path):
    command = (*BASE, "--board", "b", "--search", "recipe.lr=1e-3..1e-1:log", "--set", "recipe.weight_decay=0.0")
    code, out, err = harness(*command, "--trials", "8", "--confirm", "2", "--json")
    found = json.loads(out)
    assert code == 0, err
    if found["best"]["is_default"]:
        assert found["confirmation"] is None
    else:
        assert found["confirmation"]["seeds"] == [1, 2]
        assert len(found["confirmation"]["default"]) == len(found["confirmation"]["best"]) == 2
    assert not (tmp_path / "b" / "records").exists()


def make_report(make_plan, **changes) -> tuple[Path, str]:
    """The report of a study with a script for a name; its path, and its text."""
    plan = make_plan(**{"row": Row(model="<script>alert(1)</script>", loss="bce", recipe="toy")} | changes)
    study = open_study(plan)
    for value in (0.5, 0.7, 0.6, 0.65, 0.8, 0.55):
        trial = study.ask()
        ask_values(trial, plan)
        study.tell(trial, value)
    outcome = conclude(study, plan)
    require_valid(figure.specification for figure in draw_study(outcome, study))
    return write_report(outcome, study), report_text(outcome, study)


def test_the_report_escapes_names_and_is_the_same_text_again(make_plan):
    path, text = make_report(make_plan)
    assert "<script" not in text
    assert path.read_text(encoding="utf-8") == text
    for picture in ("history", "slices", "parallel", "importances"):
        assert f'id="picture-{picture}"' in text


def test_importances_are_of_all_parameters_though_the_default_lies_outside_the_space(make_plan):
    _, text = make_report(make_plan, defaults={"recipe.lr": 0.01, "recipe.optimizer": "adamw"})
    weighed = text.partition("Functional analysis of variance")[2].partition("</figcaption>")[0]
    assert "recipe.lr" in weighed
    assert "recipe.optimizer" in weighed


@pytest.mark.service
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_opens_without_a_network_and_axe_finds_nothing(browser, make_plan, theme):
    from axe_playwright_python.sync_playwright import Axe

    path, _ = make_report(make_plan)
    context = browser.new_context(color_scheme=theme, bypass_csp=True, offline=True)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("request", lambda asked: heard.append(asked.url) if asked.url != path.as_uri() else None)
    page.goto(path.as_uri())
    assert page.locator(".drawing svg").count() == 4
    assert heard == []
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


@pytest.mark.service
@pytest.mark.parametrize("width", [390, 1024])
def test_the_report_is_as_wide_as_the_window_and_so_are_its_pictures(browser, make_plan, width):
    long = {f"recipe.{'a_long_name_' * 4}{number}": Choice(("adam", "o" * 80)) for number in range(5)}
    dimensions = {name: Dimension(name, values, "a-file-of-a-long-name.toml") for name, values in long.items()}
    path, _ = make_report(
        make_plan,
        name="s" * 70,
        row=Row(model="m" * 80, loss="bce", recipe="toy"),
        dimensions={**DIMENSIONS, **dimensions},
        defaults=dict.fromkeys([*DIMENSIONS, *dimensions], "adam") | {"recipe.lr": 0.5},
    )
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".drawing").count() == 4
    for drawing in page.locator(".drawing").all():
        assert drawing.evaluate("one => one.scrollWidth <= one.clientWidth"), drawing.get_attribute("aria-label")
        svg = "one.querySelector('svg')"
        assert drawing.evaluate(f"one => {svg}.getBoundingClientRect().width == {svg}.viewBox.baseVal.width")
    page.close()
