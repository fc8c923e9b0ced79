"""Ids of patients and images that two files spell differently: `170`, `00000170`, `170.0`, `A7.png` and `a7`.

Tables lose zeros and gain `.0` on their way through spreadsheets and pandas; a split that is told apart by such ids
alone leaks. What is alike may still be different, so that nothing is refused for it: it is said.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.errors import UsageError, suggest

SUFFIX = re.compile(r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|gif|jp2|webp|npy|npz|nii|mha)(?:\.gz)?$")
WHOLE = re.compile(r"^(\d+)\.0+$")
SHOWN = 3
"""Pairs that a message names."""
USUAL = {
    "image": {
        *("image", "imageid", "imageindex", "imagename", "imagepath", "imagefile", "imagefilename", "img", "path"),
        *("filepath", "file", "filename", "id", "study", "dicomid"),
    },
    "patient": {
        *("patient", "patientid", "patientnumber", "subject", "subjectid", "mrn", "person", "personid"),
        *("participant", "participantid"),
    },
    "split": {"split", "splits", "fold", "subset", "set", "partition", "phase"},
    "age": {"age", "patientage", "patientsage", "ageyears", "ageinyears", "subjectage"},
    "sex": {"sex", "gender", "patientsex", "patientgender", "patientssex", "subjectsex"},
    "view": {"view", "viewposition", "position", "projection", "appa", "paap", "frontallateral", "orientation"},
    "other": {
        *("followup", "followupnumber", "index", "row", "rowid", "studyid", "studydate", "studyinstanceuid"),
        *("seriesid", "seriesinstanceuid", "sopinstanceuid", "accession", "accessionnumber"),
        *("reportid", "readerid", "radid", "width", "height", "originalimagewidth", "originalimageheight"),
        *("rows", "columns"),
    },
}
"""What columns are usually called, in small letters and digits alone, by what they say of an image."""


def strip(text: str) -> str:
    """What is left of an id without leading zeros, case, a file's suffix and the `.0` of a whole number."""
    plain = WHOLE.sub(r"\1", SUFFIX.sub("", text.strip().casefold()))
    return plain.lstrip("0") or "0"


def find_alike(ours: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of an id of ours and one of theirs that are written differently and are the same once stripped.

    Sorted; an id that both have is in none.
    """
    left, right = set(map(str, ours)), set(map(str, theirs))
    only = {strip(text): text for text in sorted(right - left, reverse=True)}
    return sorted((text, only[stripped]) for text in left - right if (stripped := strip(text)) in only)


def list_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """The first of them: `'170' and '00000170', '9' and '009'`."""
    return ", ".join(f"'{a}' and '{b}'" for a, b in list(pairs)[:SHOWN])


def hint_alike(ours: Iterable[str], theirs: Iterable[str]) -> str:
    """The end of a message about ids that only one of two files has; empty where none are alike."""
    pairs = find_alike(ours, theirs)
    return f" (perhaps the same, written differently: {list_pairs(pairs)})" if pairs else ""


# --- columns that describe an image ----------------------------------------------------------------------------------


def simplify(name: str) -> str:
    """Return a column's name in small letters and digits alone: `Image Index` and `image_index` are one."""
    return re.sub(r"[\W_]", "", name.casefold())


def find_usual(kind: str, header: Iterable[str]) -> list[str]:
    """Find the columns that are called as one of a kind usually is: image, patient, split, age, sex, view or other."""
    return [name for name in header if simplify(name) in USUAL[kind]]


# --- ids that stand in another column's cells ------------------------------------------------------------------------


@dataclass(frozen=True)
class IdSource:
    """Where ids stand: a column, or a part of its cells."""

    column: str
    pattern: re.Pattern[str] | None = None
    """What finds the id in a cell, as its first group; without it the cell is the id."""

    def find(self, cells: Iterable[str]) -> list[str]:
        """Find the id in each cell; an empty text where there is none."""
        if self.pattern is None:
            return list(cells)
        found = map(self.pattern.search, cells)
        return [(match[1] or "") if match else "" for match in found]


def parse_id_source(text: str, columns: Collection[str], option: str) -> IdSource:
    r"""Parse `COLUMN`, or `COLUMN:REGEX` as in `Path:(patient\d+)`, whose first group is the id.

    Raises `UsageError`, which names the option, for a column that is none of `columns`, and for a pattern that is none
    or has no group.
    """
    if text in columns:
        return IdSource(text)
    column, colon, regex = text.partition(":")
    if column not in columns:
        raise UsageError(f"{option}: there is no column '{column}'{suggest(column, columns)}")
    if not colon:
        return IdSource(column)
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise UsageError(f"{option}: '{regex}' is no regular expression: {error}") from None
    if not pattern.groups:
        raise UsageError(
            f"{option}: '{regex}' has no group; put what names the patient in brackets, as in {column}:(patient\\d+)"
        )
    return IdSource(column, pattern)


def use_slashes(path: str) -> str:
    r"""Return an image's path as it stands everywhere: Windows writes `a\b.png` for `a/b.png`."""
    return path.replace("\\", "/")
