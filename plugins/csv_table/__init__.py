"""`csv`: any table of images with one column for each label, or one column of findings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import Data, Dataset, UsageError, hookimpl, take_uncertain

from .images import describe_images
from .labels import choose_labels, read_columns, read_findings, require_blank
from .readers import merge_rows, require_duplicates
from .splits import UNLISTED, choose_split, parse_split
from .table import read, split_names

GUESSED = "label_file_guessed"
"""The note of what was found rather than named."""


def load(
    root: Path,
    *,
    file: str = "labels.csv",
    images: str = ".",
    image: str = "image",
    patient: str = "patient",
    split: dict[str, Any] | str = "split",
    age: str = "age",
    sex: str = "sex",
    view: str = "view",
    labels: list[str] | str = "",
    findings: str = "",
    separator: str = "|",
    uncertain: dict[str, str | float] | str | float = "ignore",
    uncertain_test: dict[str, str] | str | None = None,
    blank: str = "ignore",
    duplicates: str = "refuse",
    mirrors: bool = True,
    subgroups: list[str] | str = "",
    study: str | None = None,
) -> Data:
    r"""Read a table, one row for each image: `file` is in the dataset's folder, image paths count from `images` there.

    `image`, `patient`, `split`, `age`, `sex` and `view` name columns. Without these options they are found by what they
    are usually called (`Path`, `Image Index`, `subject_id`, `fold`, `Gender`, `View Position`, ...), which is said; the
    last four may be absent, and an empty name asks for none. `patient` may be a part of another column's cells:
    `Path:(patient\d+)`, a column and a pattern whose first group is the patient. Where no patient is known, it names
    the image column: then each image is a patient of its own, and intervals are over images. `study` likewise names the
    study (`Path:(.*study\d+)`), so that a board can score studies in place of images; left out, it is a column `study`
    where there is one, and an empty name asks for none. A study is of one patient.

    Every other column with a value is a label, unless its name says that it is none (`Follow-up #`, `study_id`), or
    `labels` lists them. A label is 1, 0, -1 (uncertain) or blank, or true, false, yes, no, positive, negative.
    In training `uncertain` is `ignore` (unknown), `ones`, `zeros` or a number between 0 and 1 (a soft target), for all
    labels or by label (`Edema=ones,Mass=0.6`, or a table in board.toml). In val and test uncertain labels are left out,
    unless `uncertain_test` says `ones` or `zeros`. `blank` is `ignore` or `zeros`. Instead, `findings` names one column
    that lists the findings of an image (`Edema|Mass`, `No Finding`), with a `separator` between them; labels are those
    that occur, or `labels`.

    A split is train, val (valid, validate, validation) or test; where a table has train and test alone, val is carved
    from train. Without a split column patients are carved: about 10 % val, 20 % test, 70 % train. Instead of a column,
    `split` may say how to divide, never a patient, as `NAME=VALUE,...` or a table in board.toml: shares of the images,
    with labels as frequent in each (`val=0.1,test=0.2,seed=0`); cross-validation, where one fold is test and the next
    one val (`folds=5,fold=0,seed=0`); or lists of images in files, one on each line (`val=val.txt,test=test.txt`, where
    train is the rest unless it has a list, and val is carved from train unless it has one).

    An image in several rows, such as one for each reader, is refused, unless `duplicates` is `first`, which keeps the
    first row, or `vote`: then each label is what most rows say that know it, unknown in a tie.

    `mirrors`: whether a mirrored image keeps its labels. `subgroups` names further columns by whose values results are
    told apart, such as `site`, beside age, sex and view.

    Raises `DataError` for a missing file or column, or a value that a column cannot have, naming line and column;
    `UsageError` for an option that cannot mean anything.
    """
    require_blank(blank)
    require_duplicates(duplicates)
    table, groups, asked = read(root / Path(file).expanduser()), split_names(subgroups), split_names(labels)
    parsed = parse_split(split, table.header)
    column, division = (parsed, None) if isinstance(parsed, str) else ("", parsed)
    columns = {"image": image, "patient": patient, "split": column, "age": age, "sex": sex, "view": view}
    described = describe_images(table, columns, study, groups, {*asked, findings})
    if findings:
        if uncertain != "ignore" or uncertain_test is not None:
            raise UsageError("csv: uncertain means nothing with findings, where no label is uncertain; leave it out")
        names, targets = read_findings(table, findings, separator, asked, blank)
    else:
        names = choose_labels(table, asked, set(described.columns.values()))
        targets = read_columns(table, names, blank)
    known, targets, repeated = merge_rows(table, described.table, targets, duplicates)
    known["split"], chosen = choose_split(table, known, targets, division, root)
    listed = (known["split"] != UNLISTED).to_numpy()
    known, targets = known[listed].reset_index(drop=True), targets[listed]
    targets, said = take_uncertain(
        targets, known["split"], names, training=uncertain, test=uncertain_test or "ignore", dataset="csv"
    )
    notes = {"label_file": file, "split": chosen, **said}
    folder = root / Path(images).expanduser()
    return Data(
        labels=tuple(names),
        images=[folder / name for name in known["image"]],
        targets=targets,
        table=known,
        subgroups=("sex", "age", "view", *groups),
        mirrors=mirrors,
        patients_known=described.patients_known,
        repeated=repeated,
        notes=notes | ({GUESSED: "; ".join(table.said)} if table.said else {}),
    )


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """Tables of one's own."""
    return [
        Dataset(
            name="csv", load=load, about="your own images: a table with a path, a patient and a column for each label"
        )
    ]
