"""One odd file among a board's records is left out with its reason; others are shown, and no verb waits or crashes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.evaluation.resamples import DRAWN, load_resamples
from harness.files import find_left
from harness.results.store import copy_records, read_records, read_resamples, set_aside

NET, TINY = "toy-net--bce--toy", "tiny-cnn--bce--toy"
Document = dict[str, Any]


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(17 * 2**20)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a pipe"),
    "folder": (Path.mkdir, "it is a folder"),
    "link": (lambda path: path.symlink_to(f"{NET}--s0.json"), "it is a link"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "it is a link"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "it is a link"),
    "outside": (lambda path: path.symlink_to("/etc/hostname"), "it is a link"),
    "large": (make_sparse, "larger than 16 MiB"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_ordinary_file_is_named_and_set_aside(toy_board, tmp_path, kind):
    make, reason = FILES[kind]
    shutil.copytree(toy_board / "records", tmp_path / "records")
    make(tmp_path / "records" / "x.json")
    found = read_records(tmp_path)
    assert len(found.records) == 4
    (problem,) = found.problems
    assert problem.startswith("records/x.json is no record: ")
    assert reason in problem
    copy_records(tmp_path, found.records, tmp_path / "out")
    (line,) = set_aside(tmp_path)
    assert line.endswith("it is set aside as records/aside/x.json")
    assert os.path.lexists(tmp_path / "records" / "aside" / "x.json")
    assert read_records(tmp_path).problems == ()


def test_what_was_set_aside_before_stays_though_it_links_to_nothing(tmp_path):
    for target in ("nowhere", "elsewhere"):
        (tmp_path / "records").mkdir(exist_ok=True)
        (tmp_path / "records" / "x.json").symlink_to(target)
        set_aside(tmp_path)
    found = {path.name: os.readlink(path) for path in (tmp_path / "records" / "aside").iterdir()}  # noqa: PTH115
    assert found == {"x.json": "nowhere", "x.1.json": "elsewhere"}


def test_a_pipe_named_as_a_temporary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".tmp-x")
    assert list(find_left([tmp_path])) == []


# --- what stands in a record -----------------------------------------------------------------------------------------


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def first_metric(document: Document) -> Document:
    metric: Document = document["metrics"]["auroc"]
    return metric


def forget_positives(document: Document) -> None:
    document["dataset"]["splits"]["test"]["positives"].pop("first")


def repeat_labels(document: Document) -> None:
    document["dataset"]["labels"] *= 2


def rename_label(document: Document) -> None:
    first_metric(document)["per_label"]["other"] = first_metric(document)["per_label"].pop("first")


def relabel(document: Document) -> None:
    text = json.dumps(document).replace('"first"', '"renamed"')
    document.update(json.loads(text))


CONTENTS: dict[str, tuple[Callable[[Document], object], str]] = {
    "labels without positives": (forget_positives, "dataset.splits.test.positives"),
    "labels twice": (repeat_labels, "dataset.labels"),
    "no label": (lambda document: document["dataset"].update(labels=[]), "dataset.labels"),
    "a blank label": (lambda document: document["dataset"].update(labels=["first", " ", "third"]), "dataset.labels"),
    "no test split": (lambda document: document["dataset"]["splits"].pop("test"), "no test split"),
    "fewer than none": (lambda document: document["dataset"]["splits"]["test"].update(images=-1), "fit together"),
    "another label": (rename_label, "metrics.auroc: its labels"),
    "other labels throughout": (relabel, "contradicts the others"),
    "done and failed": (lambda d: d.update(failure={"kind": "data", "message": "", "where": ""}), "has one"),
    "failed without why": (lambda document: document.update(status="failed"), "has none"),
    "a long number": (lambda document: first_metric(document).update(macro=int("9" * 4000)), "too large"),
    "a long count": (lambda d: first_metric(d)["per_label"]["first"].update(positives=10**400), "positives"),
    "a long seed": (lambda document: document["combo"]["resolved"].update(x=10**40), "combo.resolved.x"),
    "beyond squares": (lambda document: first_metric(document).update(macro=1e308), "metrics.auroc.macro"),
    "infinite": (lambda document: first_metric(document).update(macro=float("inf")), "is no record"),
    "deep": (lambda document: document["combo"]["options"].update(x=nest(150)), "nested"),
    "bottomless": (lambda document: document["combo"]["options"].update(x=nest(300)), "recursion"),
    "half a letter": (lambda document: document["provenance"].update(device="\ud800"), "hex escape"),
}  # fmt: skip


def change(path: Path, edit: Callable[[Document], object]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_record_that_contradicts_itself_is_named_and_the_others_are_read(toy_board, tmp_path, kind):
    edit, reason = CONTENTS[kind]
    shutil.copytree(toy_board / "records", tmp_path / "records")
    change(tmp_path / "records" / f"{TINY}--s0.json", edit)  # the first that is read
    found = read_records(tmp_path)
    assert [(record.combo.row, record.combo.seed) for record in found.records] == [(TINY, 1), (NET, 0), (NET, 1)]
    (problem,) = found.problems
    assert reason in problem
    assert len(problem) < 300
    assert len(set_aside(tmp_path)) == 1


# --- what lies beside a record ---------------------------------------------------------------------------------------


def pack(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **{DRAWN: np.empty(0, np.float32), **arrays})
    return file.getvalue()


def pack_bomb(size: int, said: int) -> bytes:
    """A file whose directory says that its array has so many bytes."""
    file = io.BytesIO(pack())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as opened:
        with opened.open("macro/auroc.npy", "w", force_zip64=False) as member:
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
        opened.getinfo("macro/auroc.npy").file_size = said
    return file.getvalue()


def pack_header(shape: str) -> bytes:
    """A file whose array says that it has that shape, and holds four bytes."""
    array = io.BytesIO()
    np.save(array, np.ones(1, np.float32))
    content = array.getvalue()
    line = content[10:-4].replace(b"(1,)", shape.encode()).rstrip()
    file = io.BytesIO(pack())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("macro/auroc.npy", content[:10] + line.ljust(len(content) - 15) + b"\n" + content[-4:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pack(**{"macro/auroc": np.float32(1)}), "0 axes"),
        (pack(**{"label/first": np.ones((2, 2), np.float32)}), "2 axes"),
        (pack(**{"macro/auroc": np.ones(5, np.float32), "label/x": np.ones(4, np.float32)}), "4 and 5 resamples"),
        (pack(**{"curve/roc/first": np.ones((7, 4), np.float32)}), "7 rows"),
        (pack(**{"macro/auroc": np.array(["x"])}), "no numbers"),
        (pack_header("(20000000000,)"), "cannot reshape"),
        (pack_bomb(200 * 2**20, 200 * 2**20), "unpacks to more than 128 MiB"),
        (pack_bomb(200 * 2**20, 1000), "CRC"),
        (b"PK", "BadZipFile"),
    ],
    ids=["no axis", "two axes", "lengths", "curve", "texts", "header", "bomb", "bomb that lies", "no zip"],
)
def test_resamples_that_do_not_fit_are_refused_before_they_are_unpacked(content, reason):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=reason):
            load_resamples(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


def put_beside(board: Path, name: str, content: bytes) -> None:
    (board / "records" / f"{name}.npz").write_bytes(content)
    change(
        board / "records" / f"{name}.json",
        lambda document: document["artifacts"].update({"resamples.npz": hashlib.sha256(content).hexdigest()}),
    )


# --- the verbs -------------------------------------------------------------------------------------------------------

VERBS = {
    "leaderboard": ("leaderboard", "b"),
    "show": ("show", f"b::{NET}"),
    "status": ("status", "b"),
    "validate": ("validate", "b"),
    "plan": ("run", "b", "--dry-run"),
    "run": ("run", "b"),
    "rescore": ("rescore", "b"),
    "merge": ("merge", "other", "b"),
    "diff": ("diff", "other", "b"),
    "compare": ("compare", f"b::{NET}", f"other::{NET}"),
    "clean": ("clean", "b", "--json"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_works_on_a_board_with_odd_files(harness, board, verb):
    shutil.copytree(board, board.parent / "other")
    for name, (make, _) in FILES.items():
        make(board / "records" / f"{name}.json")
    change(board / "records" / f"{TINY}--s0.json", forget_positives)
    put_beside(board, f"{TINY}--s1", pack(**{"macro/auroc": np.float32(1)}))
    odd = board / "records" / f"{NET}--s1.npz"
    odd.unlink()
    os.mkfifo(odd)
    code, out, err = harness(*VERBS[verb])
    assert "Traceback" not in err
    assert code == (1 if verb == "validate" else 2 if verb == "compare" else 0), err
    if verb in ("leaderboard", "validate", "status", "run", "rescore"):
        for name, (_, reason) in FILES.items():
            assert f"records/{name}.json" in out + err
            assert reason in out + err
        assert f"records/{TINY}--s0.json" in out + err
    if verb in ("leaderboard", "show"):
        assert NET in out
    if verb == "compare":
        assert "the resamples of its record are not beside it; make them: harness rescore b" in err
    if verb == "validate":
        assert f"records/{TINY}--s1.npz holds no resamples" in out
        assert f"records/{NET}--s1.npz cannot be read: it is a pipe" in out


def test_resamples_that_are_none_are_as_if_they_were_not_there_on_the_page(board):
    put_beside(board, f"{NET}--s0", pack(**{"macro/auroc": np.float32(1)}))
    record = next(r for r in read_records(board).records if (r.combo.row, r.combo.seed) == (NET, 0))
    with pytest.raises(DataError, match=r"--s0\.npz holds no resamples"):
        read_resamples(board, record)
