"""Predictions of one split: what evaluation starts from, wherever they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError, suggest
from harness.files import write_atomically
from harness.units import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAYS = "labels, image, patient, logits (or scores) and targets"
KINDS = ("logits", "scores", "ranks")
"""What predictions are stored as; ranks are scores that are no probabilities."""
ONLY_RANKED = (
    "these scores are no probabilities and only rank: AUROC and AUPRC are given, but no decisions, calibration, Brier "
    "score or ECE"
)
COLUMN = "column/"
"""What the names of group columns begin with in an .npz."""
GAP, GAP_REASON = "gap", "gap_reason"
"""Arrays of an .npz that name images which could not be predicted, and say why."""
EXTREME = 1e-12
"""A score nearer to 0 or 1 has the logit of this distance, so that logits are finite."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """Logits, or given scores, and targets of N images and C labels."""

    labels: tuple[str, ...]
    image: NDArray[np.str_]
    """(N,) unique ids."""
    patient: NDArray[np.str_]
    """(N,)"""
    logits: NDArray[np.floating]
    """(N, C): float32 or float64, as they were stored; float64 where they were made from scores."""
    targets: NDArray[np.float32]
    """(N, C) float32: 1, 0 or NaN for unknown."""
    given_scores: NDArray[np.float64] | None = None
    """(N, C) in 0..1 where scores were given instead of logits, see `from_scores`."""
    is_rank_only: bool = False
    """Whether the given scores are no probabilities, and any finite numbers: then they rank, and mean nothing else."""
    patients_known: bool = True
    """Whether something says which images belong to one patient; else each image is a patient of its own."""
    study: NDArray[np.str_] | None = None
    """(N,) the study that an image belongs to; None where nothing says so."""
    unit: Unit = "image"
    """What a row is of: an image, or a study or a patient whose images were pooled."""
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """Groups that images belong to, by column: (N,), empty where unknown."""
    source: str = "the predictions"
    """The file that they come from, for messages."""
    notes: tuple[str, ...] = ()
    """What has to be said about that file, in sentences."""

    @classmethod
    def from_scores(
        cls,
        labels: tuple[str, ...],
        image: NDArray[np.str_],
        patient: NDArray[np.str_],
        scores: NDArray[np.float64],
        targets: NDArray[np.float32],
    ) -> Predictions:
        """Predictions whose `scores` are exactly those given, (N, C) in 0..1; logits are derived."""
        inside = np.clip(scores, EXTREME, 1 - EXTREME)
        return cls(
            labels=labels,
            image=image,
            patient=patient,
            logits=np.log(inside) - np.log1p(-inside),
            targets=targets,
            given_scores=scores,
        )

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N, C) float64: as given, or the logistic function of the logits, without overflow.

        NaN where scores are no probabilities: what needs some is undefined then.
        """
        if self.is_rank_only:
            return np.full(self.logits.shape, np.nan)
        if self.given_scores is not None:
            return self.given_scores
        return make_scores(self.logits)

    @property
    def ranks(self) -> NDArray[np.float64]:
        """(N, C) float64: what was stored, given scores or logits, to be ranked or held against thresholds.

        Logits above 37 differ, though the scores made from them are all 1.
        """
        return self.logits.astype(np.float64) if self.given_scores is None else self.given_scores

    def ranks_like(self, other: Predictions) -> NDArray[np.float64]:
        """(N, C) float64: logits where `other` has stored logits, scores where it has stored scores."""
        return self.logits.astype(np.float64) if other.given_scores is None else self.scores

    def select(self, rows: NDArray[np.intp]) -> Predictions:
        """The images at `rows`, in that order."""
        return self._take(rows, np.arange(len(self.labels)))

    def arrange(self, labels: Sequence[str], source: str) -> Predictions:
        """The same with the labels in the order of `source`. Raises `DataError` where it has others."""
        columns = match_labels(self.labels, labels, self.source, source)
        if np.array_equal(columns, np.arange(len(columns))):
            return self
        return self._take(np.arange(len(self.image)), columns)

    def take_labels(self, columns: Sequence[int]) -> Predictions:
        """The labels at `columns`, in that order."""
        return self._take(np.arange(len(self.image)), np.array(columns, dtype=np.intp))

    def _take(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Predictions:
        cells = np.ix_(rows, columns)
        return replace(
            self,
            labels=tuple(self.labels[column] for column in columns),
            image=self.image[rows],
            patient=self.patient[rows],
            logits=self.logits[cells],
            targets=self.targets[cells],
            given_scores=None if self.given_scores is None else self.given_scores[cells],
            study=None if self.study is None else self.study[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def save(self, path: Path) -> None:
        """Write an .npz without pickled objects, whole or not at all.

        It holds `labels` (C), `image` (N), `patient` and `study` (N) where known, `targets` (N, C), and `logits` or,
        where scores were given, `scores` (N, C), or `ranks` where they are no probabilities.
        """
        write_atomically(path, self.write)

    def write(self, path: Path) -> None:
        """Write the same file straight to its place."""
        np.savez_compressed(path, **self.arrays())

    def arrays(self) -> dict[str, Any]:
        """The arrays of that file, by their names."""
        arrays: dict[str, Any] = {"labels": np.array(self.labels, dtype=str), "image": self.image}
        if self.patients_known:
            arrays["patient"] = self.patient
        if self.study is not None:
            arrays["study"] = self.study
        if self.given_scores is None:
            arrays["logits"] = self.logits
        else:
            arrays["ranks" if self.is_rank_only else "scores"] = self.given_scores
        arrays["targets"] = self.targets
        return arrays | {f"{COLUMN}{name}": values for name, values in self.columns.items()}


def make_scores(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """The logistic function of logits, in float64 and without overflow."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))


def load_predictions(path: Path) -> Predictions:
    """Read an .npz as `Predictions.save` writes it; logits that are not finite are kept.

    Targets are all unknown where the file has none. Raises `DataError` for a file that is damaged or something else:
    parts that do not fit together, a label or image that stands in it twice, targets that are neither 1, 0 nor NaN.
    """
    arrays = _read_arrays(path)
    labels, image = arrays["labels"], arrays["image"]
    patient = arrays.get("patient", image)
    (kind,) = arrays.keys() & set(KINDS)
    values = arrays[kind]
    targets = arrays.get("targets", np.full(values.shape, np.nan, dtype=np.float32))
    shape = (image.size, labels.size)
    flat = labels.ndim == image.ndim == 1 and patient.shape == image.shape
    if not flat or values.shape != shape or targets.shape != shape:
        raise DataError(
            f"{path}: labels {labels.shape}, image {image.shape}, patient {patient.shape}, {kind} {values.shape} and "
            f"targets {targets.shape} must be (C,), (N,), (N,), (N, C) and (N, C)"
        )
    require_unique(labels, "label", str(path))
    require_unique(image, "image", str(path))
    names = tuple(map(str, labels))
    require_targets(targets, names, image, str(path))
    if kind == "logits":
        predictions = Predictions(labels=names, image=image, patient=patient, logits=values, targets=targets)
    else:
        predictions = Predictions.from_scores(names, image, patient, values, targets)
    columns = {name.removeprefix(COLUMN): values for name, values in arrays.items() if name.startswith(COLUMN)}
    for name, values in columns.items():
        if values.shape != image.shape:
            raise DataError(f"{path}: column '{name}' {values.shape} must be (N,), one value for each image")
    known, rank_only = "patient" in arrays, kind == "ranks"
    study = arrays.get("study")
    if study is not None and study.shape != image.shape:
        raise DataError(f"{path}: study {study.shape} must be (N,), one value for each image")
    return replace(
        predictions,
        patients_known=known,
        is_rank_only=rank_only,
        study=study,
        columns=columns,
        source=str(path),
        notes=note_gaps(path, *(arrays[name].tolist() if name in arrays else [] for name in (GAP, GAP_REASON))),
    )


def note_gaps(path: Path, names: Sequence[str], reasons: Sequence[str]) -> tuple[str, ...]:
    """Say which images of a file could not be predicted, and why the first of them could not."""
    if not names:
        return ()
    first = f"'{names[0]}'" + (f" ({reasons[0]})" if reasons else "")
    images = "1 image that" if len(names) == 1 else f"{len(names):,} images that"
    return (f"{path} is without {images} could not be predicted, first {first}",)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that the file has, as the types of `Predictions`; without objects, which could run code."""
    types: dict[str, type] = {"labels": str, "image": str, "patient": str, "study": str}
    types |= {"scores": np.float64, "ranks": np.float64, "targets": np.float32, GAP: str, GAP_REASON: str}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file, np.errstate(over="ignore"):
            types |= {name: str for name in file if name.startswith(COLUMN)}
            if "logits" in file:
                types["logits"] = np.float64 if file["logits"].dtype == np.float64 else np.float32
            arrays = {name: file[name].astype(kind) for name, kind in types.items() if name in file}
    except FileNotFoundError:
        raise DataError(f"there are no predictions in {path}: no such file") from None
    except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds for a damaged file
        raise DataError(f"{path} holds no predictions ({type(error).__name__}: {error}); it needs {ARRAYS}") from None
    absent = {"labels", "image"} - arrays.keys()
    if absent or len(arrays.keys() & set(KINDS)) != 1:
        wrong = f"no {' and no '.join(sorted(absent))}" if absent else "not exactly one of logits and scores"
        raise DataError(f"{path} holds no predictions ({wrong}); it needs {ARRAYS}")
    return arrays


# --- what every reader of labels, images and targets checks ----------------------------------------------------------


def require_unique(names: NDArray[np.str_], kind: str, source: str) -> None:
    """Refuse a label or an image that stands in a file twice."""
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{source}: {kind} '{unique[counts > 1][0]}' stands in it more than once; keep one of them")


def require_targets(targets: NDArray[np.floating], labels: Sequence[str], image: NDArray[np.str_], source: str) -> None:
    """Refuse targets (N, C) other than 1, 0 and NaN."""
    wrong = np.argwhere(~(np.isnan(targets) | (targets == 0) | (targets == 1)))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{source}: targets must be 1, 0 or NaN for unknown, found {targets[row, column]:g} for image "
            f"'{image[row]}', label '{labels[column]}'"
        )


def match_labels(labels: Sequence[str], wanted: Sequence[str], source: str, other: str) -> NDArray[np.intp]:
    """Where each wanted label of `other` stands in the labels of `source`, (C,).

    Raises `DataError` that names a label which only one of both has, and the nearest name.
    """
    extra = [label for label in labels if label not in wanted]
    missing = [label for label in wanted if label not in labels]
    if extra:
        raise DataError(f"{source}: label '{extra[0]}' is not in {other}{suggest(extra[0], missing or wanted)}")
    if missing:
        raise DataError(
            f"{source}: label '{missing[0]}' of {other} is missing (one of {len(missing)}); add its column, or remove "
            "it there"
        )
    return np.array([labels.index(label) for label in wanted], dtype=np.intp)
