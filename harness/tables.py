"""Tables and lists in text files, as spreadsheets, Windows and archives leave them: the one reader of all of them.

UTF-8, UTF-16 and UTF-32, with or without compression by gzip; columns between commas, semicolons or tabs. What a file
does not say itself, and what could have been guessed wrongly, stands in the notes of what is read.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness.errors import DataError
from harness.files import decode_text
from harness.text import count

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 4 << 30
"""Bytes of a file, after decompression, above which it is no table of images."""
PIECE = 1 << 20
"""Bytes that are read at a time."""
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
BLANKS = " \t\xa0"
"""What may stand around a cell."""
LOOKED_AT = 20
"""Lines that tell which separator a table has."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """The cells of a table as texts, without blanks around them."""

    columns: pd.DataFrame
    """A column of texts for each name of the header, as often as it stands there; blank cells are empty texts."""
    lines: list[int]
    """The line of the file that each row begins at; the first is 1."""
    notes: tuple[str, ...] = ()
    """What had to be guessed, in sentences."""


def read_table(path: Path, *, wanted: Collection[str] | None = None, fill: bool = False) -> TextTable:
    """Read a table: a header, then rows of as many cells.

    A first line `sep=;` names the separator, else the header and the rows show it. Lines that begin with `#` are
    comments, blank lines nothing. Empty cells beyond the last column, which spreadsheets write, are dropped. With
    `fill`, a row that ends early is blank in the rest. Columns that are not `wanted` are left out, which saves memory.
    Raises `DataError` that names file and line.
    """
    lines, texts, separator, notes = _find_rows(path)
    if not texts:
        raise DataError(f"{path} is empty: it needs a header and a row for each image")
    if separator is None:
        separator, guessed = _find_separator(texts[: LOOKED_AT + 1], path)
        notes += guessed
    if any('"' in text for text in texts):
        rows = _split_quoted(lines, texts, separator, path)
        header = next(rows)[1]
        places = _find_places(header, wanted)
        lines, cells = _collect(rows, len(header), places, path, fill=fill)
    else:
        header, widths = texts[0].split(separator), [text.count(separator) + 1 for text in texts]
        for line, text, width in zip(lines, texts, widths, strict=True):
            if width != len(header):
                _require_fitting(text.split(separator), len(header), f"{path}, line {line}", fill=fill)
        places = _find_places(header, wanted)
        lines, cells = lines[1:], _split_plain(texts[1:], separator, max(widths), places)
    if not lines:
        raise DataError(f"{path} has a header and no rows; it needs a row for each image")
    return TextTable(_name_columns(cells, [header[place].strip() for place in places]), lines, tuple(notes))


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list, without blank ones, comments (`#`) and blanks around them.

    Raises `DataError` that names file and line.
    """
    return [line for text in _read_text(path).split("\n") if (line := text.strip()) and not line.startswith("#")]


# --- bytes to text ---------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    """Read a file as text, decompressed where it begins as gzip does."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no ordinary file; give a table in a text file")
        with path.open("rb") as file:
            content = _read_pieces(file)
        if content.startswith(GZIP):
            with gzip.open(io.BytesIO(content)) as packed:
                content = _read_pieces(packed)
        if len(content) > LARGEST:
            raise DataError(f"{path} is larger than {LARGEST / 2**30:g} GiB; give the table of the images alone")
        if content.startswith(ZIP):
            raise DataError(f"{path} is a zip archive, as Excel's workbooks are; save the table in it as CSV (UTF-8)")
        return decode_text(content)
    except FileNotFoundError:
        raise DataError(f"there is no {path}; give the name of a file that is there") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged: it begins as gzip does and cannot be unpacked ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise DataError(f"{path}, {error}") from None


def _read_pieces(file: IO[bytes] | gzip.GzipFile) -> bytes:
    """Read a file, but not far beyond what a table may have; to ask for as much at once would reserve that memory."""
    content = io.BytesIO()
    while content.tell() <= LARGEST and (piece := file.read(PIECE)):
        content.write(piece)
    return content.getvalue()


def _find_rows(path: Path) -> tuple[list[int], list[str], str | None, list[str]]:
    """Find the lines that are neither blank nor comments, after their numbers; then the separator that a line names."""
    whole, separator = _read_text(path), None
    texts = whole.removesuffix("\n").split("\n")
    if re.fullmatch(r'"?sep=."?', texts[0], re.IGNORECASE):
        texts[0], separator = "", texts[0].strip('"')[4]
    elif whole[0:1].isalnum() and not any(sign in whole for sign in ('"', "\n#", "\n\n", "\n ", "\n\t")):
        return list(range(1, len(texts) + 1)), texts, None, []  # as most tables are: nothing to look for line by line
    lines, kept, comments, is_open = [], [], [], False
    for number, text in enumerate(texts, 1):
        if is_open or (text and text[0] != "#" and not text.isspace()):
            lines.append(number)
            kept.append(text)
            is_open ^= text.count('"') % 2 == 1  # a cell in quotes may go on in the next line
        elif text.startswith("#"):
            comments.append(number)
    if not comments:
        return lines, kept, separator, []
    many = f"{len(comments):,} lines that begin with # are" if len(comments) > 1 else "one line that begins with # is"
    return lines, kept, separator, [f"{path}: {many} taken for a comment, first line {comments[0]}"]


# --- text to cells ---------------------------------------------------------------------------------------------------


def _find_separator(lines: list[str], path: Path) -> tuple[str, list[str]]:
    """Find what stands between cells: what the header has and splits the rows into as many; and what to say of it."""
    there = [separator for separator in SEPARATORS if separator in lines[0]]
    if len(there) < 2:
        return (there[0] if there else ","), []
    fitting = [
        separator
        for separator in there
        if len({len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True)}) == 1
    ]
    # where several fit, or none does, that one is taken which makes most columns
    taken = max(fitting or there, key=lines[0].count)
    names = " and ".join(SEPARATORS[separator] for separator in there)
    note = (
        f"{path}: its header has {names}; columns are taken to be between {SEPARATORS[taken]}; if they are not, give "
        "the file a first line such as sep=;"
    )
    return taken, [] if len(fitting) == 1 else [note]


def _split_quoted(lines: list[int], texts: list[str], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Split lines into rows of cells, of which some stand in quotes, one by one; each after its first line's number."""
    reader = csv.reader((f"{text}\n" for text in texts), delimiter=separator, skipinitialspace=True, strict=True)
    start = 0
    try:
        for row in reader:
            yield lines[start], row
            start = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}, line {lines[start]}: a cell's quotes are not closed rightly ({error})") from None


def _require_fitting(row: list[str], width: int, place: str, *, fill: bool) -> None:
    """Refuse a row of other than so many cells, but for blank ones."""
    if any(cell.strip() for cell in row[width:]) or (len(row) < width and not fill):
        raise DataError(
            f"{place}: {count(len(row), 'cell')} under {count(width, 'column')}; put a cell that holds a "
            f"separator in quotes, or "
            "complete the row"
        )


def _find_places(header: list[str], wanted: Collection[str] | None) -> list[int]:
    """Find which columns are wanted: all where nobody says it."""
    return [place for place, name in enumerate(header) if wanted is None or name.strip() in wanted]


def _collect(
    rows: Iterable[tuple[int, list[str]]], width: int, places: list[int], path: Path, *, fill: bool
) -> tuple[list[int], pd.DataFrame]:
    """Make columns of the cells at some places of rows that fit; no other cell is kept."""
    import pandas as pd

    lines, columns = [], [list[str]() for _ in places]
    for line, row in rows:
        if len(row) != width:
            _require_fitting(row, width, f"{path}, line {line}", fill=fill)
        lines.append(line)
        for place, column in zip(places, columns, strict=True):
            column.append(row[place].strip() if place < len(row) else "")
    return lines, pd.DataFrame(dict(enumerate(columns)), index=range(len(lines)), dtype=str)


def _split_plain(texts: list[str], separator: str, width: int, places: list[int]) -> pd.DataFrame:
    """Make columns of the cells at some places of lines without quotes; the longest line has `width` cells."""
    import pandas as pd

    if not texts:
        return pd.DataFrame()
    first = texts[0] + separator * (width - 1 - texts[0].count(separator))  # pandas counts the columns of this line
    text = "\n".join([first, *texts[1:]])
    cells = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=None,
        names=range(width),
        usecols=places,
        index_col=False,
        dtype=str,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        skip_blank_lines=False,
    )
    ends = (separator, "\n")
    blanks = [blank for blank in BLANKS if blank in text]
    padded = any(blank + end in text or end + blank in text for blank in blanks for end in ends)
    return cells.apply(lambda column: column.str.strip()) if padded or text != text.strip() else cells


def _name_columns(cells: pd.DataFrame, header: list[str]) -> pd.DataFrame:
    """Name the columns, without those at the end that have neither a name nor a value."""
    width = len(header)
    while width > 1 and not header[width - 1] and not (cells.iloc[:, width - 1] != "").any():
        width -= 1
    return cells.iloc[:, :width].set_axis(header[:width], axis=1)
