"""Records are written whole, read back equal, and a damaged one is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from harness.evaluation.parts import LabelValue, MetricPart
from harness.evaluation.resamples import Resamples
from harness.results.layout import record_path
from harness.results.provenance import command, scrub
from harness.results.record import ComboPart, DatasetPart, ProvenancePart, Record, SplitCounts
from harness.results.store import read_records, read_resamples, run_folder, write_record


def make_record(row: str = "a--b--c", seed: int = 0, macro: float = 0.5) -> Record:
    combo = ComboPart(
        dataset="d", options={}, model="a", loss="b", recipe="c", params={}, seed=seed, row=row, resolved={}
    )
    label = LabelValue(value=math.nan, positives=0, negatives=3)
    metric = MetricPart(macro=macro, per_label={"x": label}, labels_used=0)
    provenance = ProvenancePart(
        harness="0",
        commit=None,
        packages={},
        python="3",
        device="cpu",
        threads=1,
        cuda=None,
        command="harness",
        finished="2026-01-01T00:00:00Z",
    )
    counts = SplitCounts(images=3, patients=3, positives={"x": 0})
    data = DatasetPart(name="d", about="", fingerprint="f", labels=["x"], splits={"test": counts})
    return Record(key="k", combo=combo, status="done", dataset=data, metrics={"auroc": metric}, provenance=provenance)


def test_records_read_back_equal_in_the_order_of_row_and_seed(tmp_path):
    written = [make_record("b", 1), make_record("b", 0), make_record("a", 2)]
    for record in written:
        write_record(tmp_path, record)
    assert read_records(tmp_path).records == (written[2], written[1], written[0])
    assert read_records(tmp_path / "nowhere").records == ()


def test_undefined_is_null_never_nan(tmp_path):
    text = record_path(tmp_path, write_record(tmp_path, make_record(macro=math.nan)).combo.name).read_text()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in a record"))
    assert document["metrics"]["auroc"]["macro"] is None
    assert document["metrics"]["auroc"]["per_label"]["x"]["value"] is None
    assert document["schema"] == 2


def test_a_damaged_foreign_or_misplaced_file_is_named_and_left(tmp_path):
    path = record_path(tmp_path, write_record(tmp_path, make_record()).combo.name)
    (path.parent / "cut--s0.json").write_text(path.read_text()[:100])
    (path.parent / "foreign--s0.json").write_text('{"hello": 1}')
    (path.parent / "moved--s0.json").write_text(path.read_text())
    found = read_records(tmp_path)
    assert len(found.records) == 1
    assert [problem.split(" ")[0] for problem in found.problems] == [
        "records/cut--s0.json",
        "records/foreign--s0.json",
        "records/moved--s0.json",
    ]
    assert len(list(path.parent.iterdir())) == 4


def test_unknown_keys_are_refused():
    document = json.loads(make_record().model_dump_json())
    with pytest.raises(ValidationError, match="surprise"):
        Record.model_validate(document | {"surprise": 1})


def test_the_json_schema_names_every_top_level_key():
    properties = Record.model_json_schema()["properties"]
    wanted = (
        "schema key combo external submission ensemble status failure dataset metrics thresholds predictive calibration"
    )
    others = "pooled confusion subgroups readers outside labels_resampled training efficiency artifacts provenance"
    assert set(properties) == {*wanted.split(), *others.split(), "pretraining"}


def test_what_runs_leave_is_kept_out_of_version_control(tmp_path):
    folder = run_folder(tmp_path, "abc")
    assert folder == tmp_path / "runs" / "abc"
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("harness run demo --data-root /home/anna/data/nih", "harness run demo --data-root nih"),
        ("cannot open '/srv/x/y.png': no", "cannot open 'y.png': no"),
        (r"C:\Users\anna\x.png", "x.png"),
        ("recipe.weights=/a/b/w.pth", "recipe.weights=w.pth"),
        ("timm/resnet18 at 3/4 of 1e-3", "timm/resnet18 at 3/4 of 1e-3"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("error:/home/anna/x", "error:x"),
        ("cannot open '/srv/My Scans/Anna Doe/y.png': no", "cannot open 'y.png': no"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("label 'x /y' of x /y, left /right", "label 'x /y' of x /y, left /right"),
        ("/scratch", "scratch"),
        ("cannot open b\udcff.png", "cannot open b\\udcff.png"),
    ],
)
def test_folders_of_a_machine_are_taken_out_of_texts(text, scrubbed):
    assert scrub(text) == scrubbed


def test_neither_folders_with_spaces_nor_the_short_name_of_the_host_are_published(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "gpu07.cluster.example.org")
    monkeypatch.setattr("sys.argv", ["harness", "run", "--data-root", "/mnt/My Scans/Anna Doe/nih", "--board", "gpu07"])
    assert command() == "harness run --data-root nih --board HOST"
    assert scrub("lost gpu07.cluster.example.org, gpu07") == "lost HOST, HOST"


def test_the_committed_json_schema_is_the_models():
    path = Path(__file__).parents[2] / "leaderboards" / "record.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == Record.model_json_schema()


def test_resamples_lie_beside_their_record_and_are_known_by_digest(tmp_path):
    resamples = Resamples(macro={"auroc": np.linspace(0, 1, 5)}, per_label={"x": np.full(5, np.nan)})
    record = write_record(tmp_path, make_record("a.b--c--d"), resamples)
    (read,) = read_records(tmp_path).records
    assert read == record
    found = read_resamples(tmp_path, read)
    assert found is not None
    np.testing.assert_allclose(found.macro["auroc"], resamples.macro["auroc"], atol=1e-7)
    (tmp_path / "records" / "a.b--c--d--s0.npz").write_bytes(b"another")
    assert read_resamples(tmp_path, read) is None
    failed = write_record(tmp_path, make_record("a.b--c--d"))
    assert read_resamples(tmp_path, failed) is None
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["a.b--c--d--s0.json"]


def test_what_a_killed_process_was_about_to_rename_is_no_record_and_no_problem(tmp_path):
    record = write_record(tmp_path, make_record())
    path = record_path(tmp_path, record.combo.name)
    path.with_name(f".{path.name}.abc123.json").write_text(path.read_text())
    found = read_records(tmp_path)
    assert found.records == (record,)
    assert found.problems == ()
