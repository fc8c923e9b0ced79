"""A leaderboard: a board's rows as plain values, ready for a page or a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from harness.board import Board, Ensemble
from harness.components import LEAK
from harness.report.kinds import FROZEN
from harness.results.record import DatasetPart, PretrainingPart, Record, SubmissionPart
from harness.units import CALLED

if TYPE_CHECKING:
    from harness.evaluation.comparison import Pair

RowStatus = Literal["done", "partial", "failed", "skipped", "stale", "missing"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric's macro over the seeds of a row."""

    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1); None with one seed."""
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    """The seeds whose values they are, in the same order."""
    labels_used: int
    """Labels that the macro averages, the fewest over the seeds."""
    interval: tuple[float, float] | None = None
    """The mean's interval over patients, the networks as they are; None where a record lies without its resamples."""
    interval_seeds: tuple[float, float] | None = None
    """The mean's interval over patients and seeds; None with fewer than three seeds, too."""
    no_interval: str = ""
    """Why there is none although every record lies with its resamples, in words."""
    error: float | None = None
    """The mean's standard error over patients; None where there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A published number beside the row that it is about, in the board's objective."""

    name: str
    """What it is called where it was published."""
    value: float | None = None
    """The number, over the labels that the row averages; None where it cannot stand beside the row."""
    interval: tuple[float, float] | None = None
    """The interval of 95 % that the size of its test set implies; None where that is not known."""
    reach: float | None = None
    """How far it and the measured value can differ by chance."""
    text: str
    """Whether the two agree, or why that is not said, in sentences."""


@dataclass(frozen=True, kw_only=True)
class RowSummary:
    """One row of the leaderboard."""

    name: str
    model: str
    loss: str
    recipe: str
    params: Mapping[str, Mapping[str, Any]]
    status: RowStatus
    reasons: tuple[str, ...]
    """Why it is not simply done, seed by seed."""
    rank: int | None
    """The rank among rows with a value of the objective; None for the others, for controls, and for rows whose networks
    have seen test images before."""
    seeds: tuple[int, ...]
    """The seeds whose records count."""
    metrics: Mapping[str, Spread]
    per_label: Mapping[str, Mapping[str, float]]
    """metric -> label -> mean over the seeds for which it is defined; an undefined label is absent."""
    efficiency: Mapping[str, float]
    """Means over seeds: the numbers of a record's `efficiency`, `train_minutes`, `device_hours` of all phases but
    embed, and `embedding_seconds`, which rows share."""
    records: tuple[Record, ...] = field(repr=False, default=())
    """All records of the row, in the order of the seeds, stale ones too."""
    counted: tuple[Record, ...] = field(repr=False, default=())
    """The records that the numbers come from: those of `seeds`."""
    kind: str = ""
    """How it was trained: one of `KINDS`; empty without a record."""
    share: str = ""
    """Which part of the training patients it saw, in words; empty where it saw all."""
    embeddings: Mapping[str, float] = field(default_factory=dict)
    """Digest of the embeddings that it was fitted on -> seconds that making them took, once for all rows."""
    control: str | None = None
    """What it checks the board by, where it is no system of its own: one of `CONTROLS`."""
    external: str | None = None
    """What is said about predictions that were submitted: nothing of the row was trained here."""
    submission: SubmissionPart | None = None
    """What else is known of such predictions."""
    ensemble: Ensemble | None = None
    """What it is made of, where it is made of other rows' predictions; see the members of its records."""
    only_ranked: str = ""
    """Why submitted scores have no numbers that need probabilities; empty where they are probabilities."""
    group: int | None = None
    """The rank group, from 1; rows of one group do not differ significantly from its best. None where the row is not
    compared, or has fewer than three seeds."""
    label_intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Label -> interval of the objective, patients resampled; absent where it is undefined."""
    tuned: str = ""
    """How its parameters were found and what that cost, as board.toml says."""
    own_title: str = ""
    """What readers know it as, as board.toml says; empty where it does not."""
    title: str = ""
    """What the page calls it; no two rows of a board share a title."""
    about: str = ""
    """What is to be known of it, as board.toml says."""
    pretraining: tuple[PretrainingPart, ...] = ()
    """What its network had seen before, held against the test."""

    @property
    def system(self) -> str:
        """Model and loss, such as `chexnet + focal`; the model alone where no loss takes part."""
        return self.model if self.kind in FROZEN.values() else f"{self.model} + {self.loss}"

    @property
    def is_shadowed(self) -> bool:
        """Whether its network has seen test images or patients before, or may have: it then has no rank."""
        return any(part.overlap in ("shared", "possible") for part in self.pretraining)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """A board with its results."""

    board: Board
    objective: str
    """The full name of the objective: `f1` in a board is `f1@val-f1`."""
    directions: Mapping[str, bool]
    """Metric -> whether higher is better: what the board asks for first, then by policy, oracle last."""
    rows: tuple[RowSummary, ...]
    """Ranked rows first, then the others in the board's order."""
    data: DatasetPart | None
    """What was measured on; None while nothing was."""
    counted: tuple[Record, ...] = field(repr=False, default=())
    """The records that the numbers come from."""
    pairs: tuple[Pair, ...] = field(repr=False, default=())
    """Every two of the `MOST_COMPARED` best rows compared in the objective, the better one first; none where there is
    an obstacle."""
    obstacle: str = ""
    """Why rows are not compared, in words: without one row's resamples, or the interval of one difference, the others
    would be adjusted for too few pairs."""
    leaders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Label -> rows that do not differ significantly from the best of the label in the objective, the best among them.
    """
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric -> the labels that its numbers of ranked rows are over: those defined in all of these rows."""
    beside: Mapping[str, tuple[Beside, ...]] = field(default_factory=dict)
    """Row -> the published numbers that `published.toml` says are about it."""

    @property
    def leak(self) -> str:
        """Why nothing of it is ranked, where its splits share patients on purpose; empty elsewhere."""
        return self.data.notes.get(LEAK, "") if self.data else ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, in the order in which they are shown."""
        return tuple(self.directions)

    @property
    def units(self) -> str:
        """What rows are scored over: images, studies or patients."""
        return CALLED[self.board.unit][1]

    @property
    def ranked(self) -> tuple[RowSummary, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def kinds(self) -> frozenset[str]:
        """How its rows were trained, controls aside."""
        return frozenset(row.kind for row in self.rows if row.kind and row.control is None)

    @property
    def measured(self) -> tuple[RowSummary, ...]:
        """The rows that have a value of the objective, controls aside."""
        return tuple(row for row in self.rows if row.control is None and self.objective in row.metrics)

    @property
    def compared(self) -> bool:
        """Whether rows have intervals and pairs are tested: every ranked row has its resamples, and each pair its p."""
        return bool(self.ranked) and not self.obstacle

    @property
    def seeded(self) -> bool:
        """Whether some ranked row has an interval over patients and seeds."""
        return any(row.metrics[self.objective].interval_seeds for row in self.ranked)

    @property
    def grouped(self) -> bool:
        """Whether rows stand in groups: some have seeds enough for it."""
        return any(row.group is not None for row in self.ranked)

    @property
    def machines(self) -> tuple[tuple[str, str], ...]:
        """Device and harness version of everything that was timed."""
        timed = (
            record.provenance for record in self.counted if record.ensemble is None
        )  # whose costs are its members'
        return tuple(sorted({(made.device, made.harness) for made in timed}))

    @property
    def timings_compare(self) -> bool:
        """Whether times may stand side by side: one device name and one version of the harness."""
        return len(self.machines) <= 1
