"""From a table to a dataset: what its columns say of each image, its labels, one row for each image, and the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Data, UsageError, choose_views, take_uncertain

from .images import describe_images
from .labels import choose_labels, read_columns, read_findings, require_blank
from .readers import merge_rows, require_duplicates
from .splits import UNLISTED, choose_split, parse_split
from .table import Table, split_names

if TYPE_CHECKING:
    from .parquet import StoredImages

GUESSED = "label_file_guessed"
"""The note of what was found rather than named."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that `csv` and `folder` share; what each means stands with `csv`."""

    patient: str
    split: Mapping[str, Any] | str
    age: str
    sex: str
    view: str
    labels: list[str] | str
    findings: str
    separator: str
    uncertain: Mapping[str, str | float] | str | float
    uncertain_test: Mapping[str, str] | str | None
    blank: str
    duplicates: str
    mirrors: bool
    subgroups: list[str] | str
    study: str | None
    image: str = "image"
    views: str = "all"

    def with_findings(self, column: str) -> Asked:
        """The same with labels from this column of findings; an empty name asks for none."""
        return replace(self, findings=column)

    def __post_init__(self) -> None:
        require_blank(self.blank)
        require_duplicates(self.duplicates)


def make_data(
    table: Table,
    asked: Asked,
    find_images: Callable[[list[str]], Sequence[Path] | StoredImages],
    *,
    dataset: str,
    root: Path,
    notes: Mapping[str, str],
    sources: tuple[Path, ...] = (),
) -> Data:
    """Make the dataset that a table describes; `find_images` gives the images of such names, in their order.

    Raises `DataError` for a column that is missing or a value that it cannot have, `UsageError` for an option that
    cannot mean anything.
    """
    groups, labels = split_names(asked.subgroups), split_names(asked.labels)
    parsed = parse_split(asked.split, table.header)
    column, division = (parsed, None) if isinstance(parsed, str) else ("", parsed)
    columns = {"image": asked.image, "patient": asked.patient, "split": column}
    columns |= {"age": asked.age, "sex": asked.sex, "view": asked.view}
    described = describe_images(table, columns, asked.study, groups, {*labels, asked.findings})
    if asked.findings:
        if asked.uncertain != "ignore" or asked.uncertain_test is not None:
            raise UsageError("uncertain means nothing with findings, where no label is uncertain; leave it out")
        names, targets = read_findings(table, asked.findings, asked.separator, labels, asked.blank)
    else:
        names = choose_labels(table, labels, set(described.columns.values()))
        targets = read_columns(table, names, asked.blank)
    known, targets, repeated = merge_rows(table, described.table, targets, asked.duplicates)
    left_out: dict[str, str] = {}
    if asked.views != "all":
        if "view" not in known:
            raise UsageError(f"views chooses by a column of views, and none is known ({table.list_columns()})")
        wanted, left_out = choose_views(known["view"], asked.views, dataset)
        known, targets = known[wanted].reset_index(drop=True), targets[wanted]
    known["split"], chosen = choose_split(table, known, targets, division, root)
    listed = (known["split"] != UNLISTED).to_numpy()
    known, targets = known[listed].reset_index(drop=True), targets[listed]
    targets, said = take_uncertain(
        targets,
        known["split"],
        names,
        training=asked.uncertain,
        test=asked.uncertain_test or "ignore",
        dataset=dataset,
    )
    found = {GUESSED: "; ".join(table.said)} if table.said else {}
    return Data(
        labels=tuple(names),
        images=find_images(known["image"].tolist()),
        targets=targets,
        table=known,
        subgroups=("sex", "age", "view", *groups),
        mirrors=asked.mirrors,
        patients_known=described.patients_known,
        repeated=repeated,
        sources=sources,
        notes={**notes, "split": chosen, **left_out, **said, **found},
    )
