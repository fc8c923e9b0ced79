"""From the cells of label columns, or of one column of findings, to targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import DataError, UsageError, find_usual, suggest

from .table import BLANKS, Table, propose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORDS = {
    **dict.fromkeys(("true", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("false", "no", "n", "negative", "neg", "absent"), 0.0),
    "uncertain": -1.0,
}
"""What words mean as a label, in small letters."""
UNKNOWN = float("nan")
MEANING = {"ignore": UNKNOWN, "zeros": 0.0}
"""What a blank label is taken for."""
NONE = ("no finding", "no findings")
"""What a column of findings says where there is none, in small letters."""
DESCRIPTIVE = ("image", "patient", "split", "age", "sex", "view", "other")
"""What columns may say of an image that are no labels."""
FORMS = "a label must be 1, 0, blank or -1 (or true, false, yes, no, positive, negative)"


def parse_label(text: str) -> float | None:
    """Parse one cell: 1, 0, -1 for uncertain, NaN for blank; None where it is no label."""
    plain = text.strip().casefold()
    if plain in BLANKS:
        return UNKNOWN
    if plain in WORDS:
        return WORDS[plain]
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if number in (1, 0, -1) else None


def choose_labels(table: Table, asked: list[str], taken: set[str]) -> list[str]:
    """Choose the columns that are labels: those asked for, or all that hold labels and do not describe the image.

    What is left out is said. Raises `DataError` for a column that holds anything else.
    """
    absent = [name for name in asked if name not in table.header]
    if absent:
        raise DataError(
            f"{table.path} has no column for the label {', '.join(absent)} ({table.list_columns()}); name those that "
            "are there by --option labels=NAME,NAME"
        )
    if asked:
        return asked
    free = [name for name in table.header if name not in taken]
    described = [name for kind in DESCRIPTIVE for name in find_usual(kind, free)]
    blank = [
        name
        for name in free
        if name not in described and all(text.casefold() in BLANKS for text in table.cells[name].unique())
    ]
    names = [name for name in free if name not in described and name not in blank]
    _require_labels(table, names, free)
    if described:
        what = "since their names are no label's" if len(described) > 1 else "since its name is no label's"
        table.said.append(f"left out is {', '.join(described)}, {what} (--option labels=NAME,NAME names labels)")
    if blank:
        table.said.append(f"left out is {', '.join(blank)}, which no row has a value in")
    if not names:
        raise DataError(
            f"{table.path} has no label columns ({table.list_columns()}); give it a column for each label, with 1, 0, "
            "blank or -1"
        )
    return names


def _require_labels(table: Table, names: list[str], free: list[str]) -> None:
    """Refuse columns that hold something else than labels, with the option that would help."""
    wrong = {name: bad for name in names if (bad := _find_wrong(table, name))}
    if not wrong:
        return
    name, (row, text) = next(iter(wrong.items()))
    listed = [one for one in free if any("|" in text for text in table.cells[one].unique())]
    fine = [one for one in names if one not in wrong]
    if listed:
        way = f"if a column lists findings, give {propose('findings', listed[0])}"
    elif fine:
        way = f"if this column is no label, name those that are: {propose('labels', fine)}"
    else:
        way = "list the columns that are labels by --option labels=NAME,NAME"
    others = f" (also no labels: {', '.join(one for one in wrong if one != name)})" if len(wrong) > 1 else ""
    raise DataError(f"{table.locate(row, name)}: {FORMS}, got '{text}'{others}; {way}")


def _find_wrong(table: Table, name: str) -> tuple[int, str] | None:
    """Find the first cell of a column that is no label: its row and its text."""
    cells = table.cells[name]
    wrong = {text for text in cells.unique() if parse_label(text) is None}
    return next(((row, text) for row, text in enumerate(cells) if text in wrong), None) if wrong else None


def require_blank(blank: str) -> None:
    """Refuse a meaning that blank cells cannot have."""
    if blank not in MEANING:
        raise UsageError(f"blank must be {' or '.join(MEANING)}, got '{blank}'")


def read_columns(table: Table, names: list[str], blank: str) -> NDArray[np.float32]:
    """Read labels (N, C) from a column for each: 1, 0, -1 for uncertain, NaN for unknown."""
    import numpy as np

    targets = np.empty((len(table.cells), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        cells = table.cells[name]
        values = {}
        for text in cells.unique():
            value = parse_label(text)
            if value is None:
                row = int((cells == text).to_numpy().argmax())
                raise DataError(
                    f"{table.locate(row, name)}: {FORMS}, got '{text}'; list the columns that are labels by --option "
                    "labels=NAME,NAME"
                )
            values[text] = MEANING[blank] if np.isnan(value) else value
        targets[:, column] = cells.map(values.__getitem__)
    return targets


def read_findings(
    table: Table, column: str, separator: str, asked: list[str], blank: str
) -> tuple[list[str], NDArray[np.float32]]:
    """Read labels and targets (N, C) from one column of findings, such as `Mass|Edema` or `No Finding`.

    The labels are those asked for, or all that occur, sorted.
    """
    import numpy as np

    if column not in table.header:
        raise DataError(
            f"{table.path} has no column '{column}'{suggest(column, table.header)}; name the column of findings by "
            "--option findings=COLUMN"
        )
    if not separator:
        raise UsageError("separator must be what stands between two findings, such as | or ;, got nothing")
    cells = table.cells[column]
    found = {text: _split_findings(text, separator, asked) for text in cells.unique()}
    if None in found.values():
        row = next(row for row, text in enumerate(cells) if found[text] is None)
        raise DataError(
            f"{table.locate(row, column)}: '{cells.iloc[row]}' says both that there is a finding and that there is none"
        )
    lists = {text: parts for text, parts in found.items() if parts is not None}
    there = set[str]().union(*lists.values())
    absent = [name for name in asked if name not in there]
    if absent:
        raise DataError(
            f"{table.path}, column '{column}': no image has the label '{absent[0]}'"
            f"{suggest(absent[0], there)}; name labels that occur by --option labels=NAME,NAME"
        )
    if not there:
        raise DataError(f"{table.path}, column '{column}': no image has a finding; name another by findings=COLUMN")
    names = asked or sorted(there)
    if unused := sorted(there - set(names)):
        table.said.append(f"column '{column}': left out is {', '.join(unused)}, not among the labels")
    rows = {
        text: [MEANING[blank]] * len(names) if text.casefold() in BLANKS else [float(name in parts) for name in names]
        for text, parts in lists.items()
    }
    return names, np.array([rows[text] for text in cells], dtype=np.float32)


def _split_findings(text: str, separator: str, asked: list[str]) -> set[str] | None:
    """Split one cell into its findings; None where it also says that there is none."""
    if text.casefold() in BLANKS:
        return set()
    parts = {part.strip() for part in text.split(separator)} - {""}
    none = {part for part in parts if part.casefold() in NONE and part not in asked}
    return None if none and len(parts) > 1 else parts - none
