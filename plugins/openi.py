"""`openi`: the chest X-rays of Indiana University, as Open-i publishes them."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from harness import (
    Data,
    DataError,
    Dataset,
    ImageFiles,
    Layout,
    carve,
    choose_views,
    hookimpl,
    label_by_terms,
    list_files,
    read_table,
)

if TYPE_CHECKING:
    import pandas as pd

REPORTS, UNPACKED = "NLMCXR_reports.tgz", "ecgen-radiology"
"""The reports as they are published, and the folder that they unpack into."""
PROJECTIONS, METADATA = "indiana_projections.csv", "nlmcxr_dicom_metadata.csv"
"""The two files that may tell views."""
LAYOUT = Layout(
    dataset="openi",
    expected=f"Open-i's layout: {REPORTS} (or {UNPACKED}/), images in NLMCXR_png/ or NLMCXR_dcm/, and {PROJECTIONS} or "
    f"{METADATA}, which tell views",
    source="https://openi.nlm.nih.gov/faq",
    terms="CC BY-NC-ND 4.0",
)
FINDINGS: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": ("Pulmonary Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Consolidation": ("Consolidation",),
    "Edema": ("Pulmonary Edema",),
    "Effusion": ("Pleural Effusion", "Hydropneumothorax", "Hemothorax", "Hemopneumothorax"),
    "Emphysema": ("Emphysema", "Pulmonary Emphysema", "Bullous Emphysema"),
    "Fibrosis": ("Pulmonary Fibrosis", "Fibrosis"),
    "Hernia": ("Hernia, Hiatal", "Hernia, Diaphragmatic"),
    "Infiltration": ("Infiltrate",),
    "Mass": ("Mass/lung",),
    "Nodule": ("Nodule/lung",),
    "Pleural_Thickening": ("Thickening/pleura",),
    "Pneumonia": ("Pneumonia",),
    "Pneumothorax": ("Pneumothorax", "Hydropneumothorax", "Hemopneumothorax"),
}
"""The 14 findings of ChestX-ray14, and which terms of the reports are taken for each: a table of this project's own."""
SILENT = {"No Indexing", "Technical Quality of Image Unsatisfactory"}
"""Terms that say nothing of what an image shows."""
FRONTAL, LATERAL = "frontal", "L"
"""What an image from the front is called whose direction nothing tells, and one from the side."""
SECOND_NUMBER = re.compile(r"\d+_(?=IM-)")
"""A second number that some ids have before `IM-`, as in CXR1_1_IM-0001-3001; other files leave it out."""


def load(
    root: Path,
    *,
    labels: list[str] | str = "usual",
    fewest: int = 50,
    views: list[str] | str = f"PA,AP,{FRONTAL}",
) -> Data:
    """Read the reports' terms and the images' views; no image is opened. Images that are not square will be squashed.

    Labels are the terms that people gave each report (`MeSH/major`), such as `Cardiomegaly/mild`: what stands before
    the first `/` is the term, and with each word after it a finer one, such as `Nodule/lung`. A finding that a report's
    terms do not name is absent; a borderline one is present. Images are left out and counted where nobody indexed the
    report, or only to say that the image is poor.

    - `labels`: Take the 14 findings of ChestX-ray14, each made of the reports' terms (usual); the terms that enough
      images have (all); or a list of names of either kind, as in `["Opacity", "Hernia, Hiatal"]`.
    - `fewest`: With labels=all, take terms that at least this many of the chosen images have.
    - `views`: Take images of these views, separated by commas: PA, AP, frontal (from the front, and nothing more is
      known), L (from the side), unknown, or all. Others are counted.

    The reports do not tell views. `indiana_projections.csv` does, where it lies in the folder: it tells images from the
    side from the others. `nlmcxr_dicom_metadata.csv` tells PA and AP; on its own it leaves a third of the views open,
    and calls some images from the side PA.

    The collection numbers each report as a patient of its own, so a report is a study and a patient. Age and sex are
    not told. There is no official split: patients are carved, about 10 % val, 20 % test, 70 % train.

    Raises `DataError` where the reports are missing, damaged or are others, and where nothing tells the views that are
    asked for; `UsageError` for a value that an option cannot have; `UnknownNameError` for a label that no image has.
    """
    source = _find_reports(root)
    table, digest = _read_reports(source)
    total = len(table)
    table = table[[not found <= SILENT for found in table["terms"]]].reset_index(drop=True)
    notes = {"label_file": f"{source.name}, sha256 {digest}", "split": "carved by patient"}
    if len(table) < total:
        notes["left out"] = f"{total - len(table):,} of {total:,} images, whose report has no term that tells a finding"
    table["view"], notes["view file"] = _find_views(root, table["image"], views)
    of_view, told = choose_views(table["view"], views, "openi")
    table = table[of_view].reset_index(drop=True)
    codes, distinct = table["terms"].factorize()
    lists: list[frozenset[str]] = list(distinct)
    names, targets = label_by_terms(
        lists,
        codes,
        labels,
        usual=FINDINGS,
        fewest=fewest,
        no_labels={term for found in lists for term in found if "/" in term} | SILENT,
        dataset="openi",
    )
    return Data(
        labels=names,
        images=ImageFiles(_locate(root, table["image"].tolist())),
        targets=targets,
        table=table.assign(split=carve(table["patient"], test=(1, 2)), study=table["patient"])[
            ["image", "split", "patient", "study", "view"]
        ],
        notes=notes | told,
    )


# --- reports ---------------------------------------------------------------------------------------------------------


def _find_reports(root: Path) -> Path:
    """Find the archive of reports, or else the folder that it unpacks into."""
    unpacked = root / UNPACKED
    return unpacked if unpacked.is_dir() and not (root / REPORTS).is_file() else LAYOUT.find(root, REPORTS)


def _read_reports(source: Path) -> tuple[pd.DataFrame, str]:
    """Read one row for each image: `image`, `patient` (the report's id), `terms`; and the digest of all reports."""
    import pandas as pd

    rows, digest, of_image = [], hashlib.sha256(), dict[str, str]()
    reports = dict(_open_reports(source))
    for name in sorted(reports, key=lambda name: (len(name), name)):
        digest.update(reports[name])
        report, images, terms = _parse(reports[name], f"{source}, {name}")
        for image in images:
            if image in of_image:
                raise DataError(
                    f"{source}: the image '{image}' is of the reports {of_image[image]} and {report}; it can be of one"
                )
            of_image[image] = report
            rows.append((image, report, terms))
    if not rows:
        raise DataError(f"{source} holds no report with an image; {LAYOUT.explain()}")
    return pd.DataFrame(rows, columns=["image", "patient", "terms"]), digest.hexdigest()[:12]


def _open_reports(source: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each report, in a folder or in an archive."""
    if source.is_dir():
        for path in source.glob("*.xml"):
            yield path.name, path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".xml") else None
                if file is not None:
                    yield member.name.rpartition("/")[2], file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{source} is damaged ({type(error).__name__}); get it again from {LAYOUT.source}") from None


def _parse(content: bytes, place: str) -> tuple[str, list[str], frozenset[str]]:
    """Parse a report into its id, its images and its terms. Raises `DataError` where it is none of the collection's."""
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat itself refuses entities that grow without bound
    except ET.ParseError as error:
        raise DataError(f"{place}: no whole XML file ({error}); get it again from {LAYOUT.source}") from None
    report = root.find("uId")
    images = [image.get("id", "") for image in root.iter("parentImage")]
    majors = [" ".join((major.text or "").split()) for major in root.iterfind("MeSH/major")]
    if report is None or not report.get("id") or "" in images or not any(majors):
        raise DataError(f"{place}: no report of the collection: it lacks a uId, an image's id or MeSH/major; remove it")
    terms = set()
    for major in majors:
        term, *words = (part.strip() for part in major.split("/"))
        terms |= {term, *(f"{term}/{word}" for word in words if word)} - {""}
    return report.get("id", ""), images, frozenset(terms)


# --- views -----------------------------------------------------------------------------------------------------------


def _find_views(root: Path, images: pd.Series, wanted: list[str] | str) -> tuple[pd.Series, str]:
    """Find the view of each image, None where it is unknown, and which files tell it."""
    import pandas as pd

    directions = _read_column(root, METADATA, "imageid", "View Position")
    sides = _read_column(root, PROJECTIONS, "filename", "projection")
    there = [name for name, read in ((PROJECTIONS, sides), (METADATA, directions)) if read is not None]
    if not there and wanted not in ("all", ["all"]):
        raise DataError(
            f"openi: the folder {root} has neither {PROJECTIONS} nor {METADATA}, so nothing tells images from the side "
            "from the others; add one of them, or take all images by --option views=all"
        )
    strange = sorted(set((sides or {}).values()) - {"Frontal", "Lateral"})
    if strange:
        raise DataError(
            f"{root / PROJECTIONS}: projection must be Frontal or Lateral, got '{strange[0]}'; get it again"
        )
    keys = images.map(_key)
    views = [_name_view((sides or {}).get(key, ""), (directions or {}).get(key, "").upper()) for key in keys]
    doubt = ", which calls some images from the side PA" if there == [METADATA] else ""
    return pd.Series(views, index=images.index, dtype=object), f"{' and '.join(there) or 'none'}{doubt}"


def _name_view(side: str, direction: str) -> str | None:
    """Name a view by whether it is Frontal or Lateral, which comes first, and by the direction in the metadata."""
    if side == "Lateral":
        return LATERAL
    if direction in ("PA", "AP"):
        return direction
    if side == "Frontal":
        return FRONTAL
    return LATERAL if direction in ("LL", "RL") or "LATERAL" in direction else direction or None


def _read_column(root: Path, name: str, key: str, column: str) -> dict[str, str] | None:
    """Read a column of a table of images by their keys; None where there is no such table."""
    path = next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)
    if path is None:
        return None
    cells = read_table(path, wanted={key, column}, fill=True).columns
    absent = [f"'{one}'" for one in (key, column) if one not in cells.columns]
    if absent:
        raise DataError(f"{path} has no column {' or '.join(absent)}; get it again, or remove it")
    return {_key(image): value for image, value in zip(cells[key], cells[column], strict=True)}


# --- images ----------------------------------------------------------------------------------------------------------


def _key(name: str) -> str:
    """What the names of an image have in common: of CXR1_1_IM-0001-3001 and 1_IM-0001-3001.dcm.png, 1_IM-0001-3001."""
    stem = name.removesuffix(".png").removesuffix(".dcm").removeprefix("CXR")
    number, line, rest = stem.partition("_")
    return number + line + SECOND_NUMBER.sub("", rest)


def _locate(root: Path, images: list[str]) -> list[str]:
    """Where each image lies, PNG before DICOM; one that is nowhere gets its place in NLMCXR_png."""
    dicom = root / "NLMCXR_dcm"
    normalized = ("images", "images_normalized", "images/images_normalized")
    files = list_files((dicom, *sorted(dicom.glob("*/")), *(root / name for name in normalized), root / "NLMCXR_png"))
    ordered = sorted(
        (name for name in files if name.endswith((".dcm", ".png"))), key=lambda name: name.endswith(".png")
    )
    found = {_key(name): files[name] for name in ordered}
    return [found.get(_key(image)) or str(root / "NLMCXR_png" / f"{image}.png") for image in images]


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """The collection of Indiana University."""
    return [
        Dataset(
            name="openi",
            load=load,
            about="Indiana University's collection at Open-i: 7,470 images of 3,851 reports, terms given by people",
            citation=f"Demner-Fushman et al. 2016, JAMIA, doi:10.1093/jamia/ocv080; {LAYOUT.source}",
        )
    ]
