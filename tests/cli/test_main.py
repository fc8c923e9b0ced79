"""The command line: verbs, flags, exit codes, one JSON document."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"

NEW = (
    "run",
    "--dataset",
    "toy",
    "--models",
    "toy-net,tiny-cnn",
    "--losses",
    "bce",
    "--recipes",
    "toy",
    "--seeds",
    "0,1",
    "--board",
    "b",
)


def test_a_new_board_is_run_and_printed_and_a_second_run_trains_nothing(harness, tmp_path):
    code, out, err = harness(*NEW)
    assert code == 0
    assert "toy-net--bce--toy" in out
    assert f"page: {Path('b') / 'index.html'}" in out
    assert err.count("✓") == 4
    assert (tmp_path / "b" / "index.html").is_file()
    code, out, err = harness("run", "b")
    assert (code, err.count("✓")) == (0, 0)
    assert "2/2" in out


def test_json_is_one_document_on_standard_output(harness):
    code, out, err = harness(*NEW, "--json")
    document = json.loads(out)
    assert code == 0
    assert {row["name"] for row in document["rows"]} == {"toy-net--bce--toy", "tiny-cnn--bce--toy"}
    assert document["rows"][0]["metrics"]["auroc"]["values"]
    assert "✓" in err


def test_a_dry_run_says_what_would_be_run_and_writes_nothing(harness, tmp_path):
    code, out, _ = harness(*NEW, "--dry-run")
    assert code == 0
    assert "run   toy-net--bce--toy--s0  no record" in out
    assert "4 of 4 combinations would be run" in out
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "cache").exists()
    _, out, _ = harness(*NEW, "--dry-run", "--json")
    assert [combo["run"] for combo in json.loads(out)["combos"]] == [True] * 4


def test_a_failed_combo_gives_exit_code_1_and_its_reason_on_the_page(harness, tmp_path):
    code, out, err = harness(
        "run", "--dataset", "toy", "--models", "toy-raising", "--losses", "bce", "--recipes", "toy", "--board", "b"
    )
    assert code == 1
    assert "failed (plugin): RuntimeError: this network never builds" in err
    assert "failed" in out
    assert "this network never builds" in (tmp_path / "b" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "dmeo"), "unknown board 'dmeo': did you mean 'demo'?"),
        (("run",), "give a board"),
        (("run", "demo", "--board", "b", "--device", "tpu"), "--device tpu: give auto, cpu, cuda or cuda:N"),
        (("run", "demo", "--board", "b", "--seeds", "one"), "--seeds one: give whole numbers"),
        (("run", "demo", "--board", "b", "--set", "lr=1"), "must begin with model., loss. or recipe."),
        (("run", "demo", "--board", "b", "--set", "recipe.epoch=1"), "did you mean 'epochs'?"),
        (("run", "demo", "--board", "b", "--option", "sise=32"), "did you mean 'size'?"),
        (("run", "nih-official", "--board", "b", "--data-root", "nowhere"), "https://nihcc.app.box.com"),
        ((*NEW[:4], "toy-nte", *NEW[5:]), "unknown model 'toy-nte': did you mean 'toy-net'?"),
        ((*NEW[:6], "toy-scalar", *NEW[7:], "--option", "unknown=true"), "cannot leave out unknown targets"),
        (("leaderboard", "demo"), "harness run demo"),
        (("plugins", "show", "chexnt"), "unknown component 'chexnt': did you mean 'chexnet'?"),
        (("data", "stats", "nhi-cxr14"), "did you mean 'nih-cxr14'?"),
        (("plugins", "--plugin", "absent.py"), "--plugin absent.py: there is no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(harness, tmp_path, arguments, says):
    code, out, err = harness(*arguments)
    assert code == 2
    assert out == ""
    assert says in err
    assert sum(not line.startswith("decoding") for line in err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert not (tmp_path / "b").exists()


def test_a_broken_board_file_is_named_with_its_line(harness, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "board.toml").write_text("title = 'x'\n\nseeds = = 3\n")
    code, _, err = harness("run", "b")
    assert code == 2
    assert "b/board.toml is not TOML" in err
    assert "line 3" in err


def test_a_folder_that_cannot_be_written_is_named(harness, tmp_path):
    (tmp_path / "b").write_text("a file, no folder")
    code, _, err = harness(*NEW)
    assert code == 2
    assert "cannot write b/board.toml" in err


def test_an_unknown_flag_is_misuse(harness):
    assert harness("run", "demo", "--sedes", "1")[0] == 2


def test_a_broken_plugin_is_reported_and_the_rest_works(harness, tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_like_that\n")
    code, out, err = harness("plugins", "--plugin", "bad.py", "--plugin", str(TOY))
    assert code == 0
    assert "warning: plugin bad.py" in err
    assert "toy-net" in out
    assert "chexnet" in out


def test_plugins_lists_kind_name_origin_and_one_line(harness):
    _, out, _ = harness("plugins", "--json")
    listed = {(c["kind"], c["name"]): c for c in json.loads(out)["components"]}
    wanted = {
        "dataset": "phantom nih-cxr14 csv folder medmnist chexpert mimic-cxr-jpg padchest openi vindr-cxr "
        "rsna-pneumonia",
        "model": "chexnet efficientnet-b0 efficientnet-b3 resnet50 vit-b16 convnext-tiny tiny-cnn timm/* hf/* "
        "open-clip/*",
        "loss": "bce weighted-bce focal asymmetric",
        "metric": "auroc auprc f1 sensitivity specificity brier ece",
        "recipe": "chexnet dacnet vit demo zero-shot",
    }
    assert {(kind, name) for kind, names in wanted.items() for name in names.split()} <= set(listed)
    assert listed["model", "toy-net"]["from"] == f"local: {TOY}"
    assert all(c["about"] for c in listed.values() if c["from"] == "bundled")


def test_show_tells_signature_defaults_space_and_citation(harness):
    _, out, _ = harness("plugins", "show", "focal")
    for part in ("gamma = 2.0", "float 0.0 .. 5.0", "signature: build(task: Task, alpha: float", "arXiv 1708.02002"):
        assert part in out
    _, out, _ = harness("plugins", "show", "chexnet", "--json")
    assert [component["kind"] for component in json.loads(out)["components"]] == ["model", "recipe"]
    _, out, _ = harness("plugins", "show", "timm/resnet18")
    assert "timm/resnet18.a1_in1k" in out
    assert "any network of timm" in harness("plugins", "show", "timm/*")[1]
    assert "oversample = none" in harness("plugins", "show", "dacnet")[1]
    code, _, err = harness("plugins", "show", "timm/xyzzyqqq")
    assert code == 2
    assert len(err) < 200


def test_data_verbs_describe_check_and_prepare(harness):
    code, out, _ = harness("data", "stats", "toy", "--json")
    assert code == 0
    assert json.loads(out)["groups"]["train"]["images"] == 24
    assert "first" in harness("data", "stats", "toy")[1]
    code, out, _ = harness("data", "check", "toy", "--load-size", "16")
    assert (code, out.count("✓")) == (0, 15)
    code, out, _ = harness("data", "check", "toy", "--load-size", "16", "--option", "leak=true", "--json")
    assert code == 1
    assert not json.loads(out)["findings"][0]["ok"]
    code, out, _ = harness("data", "prepare", "toy", "--load-size", "16", "--json")
    assert (code, json.loads(out)["images"]) == (0, 48)


def test_data_list_names_the_options_of_each_dataset(harness):
    _, out, _ = harness("data", "list")
    lines = out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("phantom (bundled): "))
    assert lines[place + 1].startswith("  options: train, val, test, size, steady")
    assert "every dataset also has: allow_missing, unreadable_limit" in out
    _, out, _ = harness("data", "list", "--json")
    options = {one["name"]: one["options"] for one in json.loads(out)["datasets"]}
    assert options["medmnist"] == ["file", "size"]


def test_an_option_is_shown_with_its_type_its_default_its_values_and_a_sentence(harness):
    _, out, _ = harness("plugins", "show", "csv")
    for line in (
        "    file = labels.csv  (text)\n        Read this table in the dataset's folder.",
        "    blank = ignore  ('ignore' or 'zeros')\n        Read blank cells as unknown (ignore) or as 0 (zeros).",
        "    findings = ''  (text)",
        "    study = none  (text or none)",
        "    unreadable_limit = 0.1  (a finite number)\n        Stop if more than this share",
    ):
        assert line in out, line


def test_every_parameter_of_a_bundled_component_is_explained_in_sentences(registry):
    from harness.cli.catalogue import details

    names = {name for offers in registry.offers.values() for name, o in offers.items() if o.origin == "bundled"}
    described = [one for name in names for one in details(registry, name)]
    unexplained = [
        f"{one['kind']} {one['name']}: {name} {parameter['about']}"
        for one in described
        for name, parameter in one.get("parameters", {}).items()
        if not parameter["about"].endswith(".") or not parameter["type"]
    ]
    assert len(described) > 25
    assert not unexplained


def type_while_held(harness, monkeypatch, folder: Path, *command: str) -> tuple[int, str, str]:
    """Type a command while a folder of the cache is another process's, until the command waits for it."""
    from harness import locks

    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    with (folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sleep = time.sleep

        def end(seconds: float) -> None:
            fcntl.flock(file, fcntl.LOCK_UN)
            monkeypatch.setattr(time, "sleep", sleep)

        monkeypatch.setattr(time, "sleep", end)
        ended: tuple[int, str, str] = harness(*command)
    return ended


@pytest.mark.parametrize(
    "command",
    [
        "data prepare toy --load-size 16",
        "run --dataset toy --models toy-net --losses bce --recipes toy --seeds 0 --board b",
    ],
)
def test_who_waits_for_another_process_that_decodes_is_told_so_on_standard_error(
    harness, monkeypatch, tmp_path, command
):
    harness("data", "prepare", "toy", "--load-size", "16")
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "manifest.json").unlink()
    code, out, err = type_while_held(harness, monkeypatch, folder, *command.split())
    assert code == 0
    assert f"- waiting for the decoded images in {folder}: process " in err.replace("\n", " ")
    assert "waiting" not in out


@pytest.mark.parametrize(
    ("verb", "begins"),
    [(("run", "--force"), "tiny-cnn--bce--linear-probe"), (("tune", "--trials", "1"), "trial 0: waiting for")],
)
def test_who_waits_for_another_process_that_embeds_is_told_so_once(harness, monkeypatch, tmp_path, verb, begins):
    row = ("--models", "tiny-cnn", "--losses", "bce", "--recipes", "linear-probe", "--board", "b")
    choices = ("--dataset", "toy", *row, "--set", "recipe.weights=random", "--set", "recipe.size=16")
    assert harness("run", *choices, "--seeds", "0")[0] == 0
    (folder,) = (tmp_path / "cache").glob("*/embeddings/*")
    (folder / "manifest.json").unlink()
    code, out, err = type_while_held(harness, monkeypatch, folder, verb[0], *choices, *verb[1:])
    assert code == 0
    told = err.replace("\n", " ")
    assert told.count(f"waiting for the embeddings in {folder}: process ") == 1
    assert f"- {begins}" in told
    assert "waiting" not in out + (tmp_path / "b" / "index.html").read_text()


def test_set_adds_rows_that_carry_the_parameter(harness):
    harness(*NEW, "--models", "toy-net")
    code, out, _ = harness("run", "b", "--set", "recipe.epochs=1", "--only", "toy-net*", "--json")
    names = {row["name"]: row["params"] for row in json.loads(out)["rows"]}
    assert code == 0
    assert {"recipe": {"epochs": 1}} in names.values()


@pytest.mark.parametrize("given", ["recipe.strengths=0.5,1", "recipe.strengths=0.1", "recipe.neighbors=(5, 10)"])
def test_a_list_that_is_not_written_as_one_is_refused_with_what_to_type(harness, given):
    name = given.partition("=")[0]
    row = ("--models", "toy-net", "--losses", "bce", "--recipes", "knn" if "neighbors" in name else "linear-probe")
    command = ("run", "--dataset", "toy", *row, "--board", "b", "--dry-run", "--set", "recipe.weights=random")
    code, _, err = harness(*command, "--set", given)
    assert code == 2
    listed = re.search(r"'NAME=(.+)'$", err.strip())
    assert listed is not None
    code, out, _ = harness(*command, "--set", f"{name}={listed[1]}", "--json")
    assert code == 0
    assert [combo["run"] for combo in json.loads(out)["combos"]] == [True]


def test_an_interruption_is_130_and_says_how_to_go_on(harness, monkeypatch):
    from harness.execution import single

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "run_combo", interrupt)
    code, _, err = harness(*NEW)
    assert code == 130
    assert "Continue with: harness run --dataset toy" in err
    odd = (*NEW[:-1], "it's $HOME & more", "--only", "*", "--force")
    code, _, err = harness(*odd)
    assert code == 130
    assert shlex.split(err.partition("Continue with: ")[2]) == ["harness", *odd[:-1]]
    assert "stay" not in err


def test_an_interrupted_run_by_force_goes_on_without_it_and_says_whose_results_stay(harness, monkeypatch, toy_board):
    from harness.execution import combo, single

    whole = combo.run_combo

    def interrupt(job: Any, *more: Any, **others: Any) -> Any:
        if job.combo.seed == 1:
            raise KeyboardInterrupt
        return whole(job, *more, **others)

    board = Path(shutil.copytree(toy_board, "b"))
    (board / "records" / "tiny-cnn--bce--toy--s1.json").unlink()
    monkeypatch.setattr(single, "run_combo", interrupt)
    code, _, err = harness("run", "b", "--seeds", "1", "--force")
    assert code == 130
    assert "2 left to do. The results that were there stay for toy-net--bce--toy--s1: --force --only ROW starts" in err
    assert err.rstrip().endswith("Continue with: harness run b --seeds 1")
    monkeypatch.setattr(single, "run_combo", whole)
    code, out, _ = harness("run", "b", "--seeds", "1", "--dry-run")
    assert (code, "1 of 2 combinations would be run" in out) == (0, True)


def test_help_needs_no_heavy_library():
    heavy = ["torch", "timm", "pandas", "sklearn", "pydantic", "numpy"]
    code = f"""
import sys
sys.argv = ["harness", "--help"]
from harness.cli.main import main
try:
    main()
except SystemExit:
    pass
print([module for module in {heavy} if module in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_the_version_is_printed(harness):
    assert harness("--version")[1].strip().count(".") == 2
