"""The vocabulary: what plugins offer, and the values that flow between the parts.

Letters in shapes: N images, B images in a batch, C labels, K channels, H and W pixels.
Nothing here imports a heavy library, so that a hook stays cheap.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor, nn

SPLITS = ("train", "val", "test")
BOX = ("image", "label", "x", "y", "width", "height")
LEAK = "leak"
"""The note of a dataset whose splits share patients, which was accepted: its results are never ranked."""
IMAGE_LEVEL = "image-level"
"""The note of a dataset that is one half of the experiment on splits by image: what was moved."""
TOLD = ("label_file_guessed", "patients", "patients alike", LEAK, IMAGE_LEVEL)
"""Notes of a dataset that a person should read: what was guessed of its label file, and doubts about its patients."""
WITHHELD = "withheld"
"""What the split of an image is called that belongs to none."""
LARGEST_SIZE = 8192
"""Height and width of images, in pixels, at most."""


# --- search spaces: plain data, so that no plugin imports a tuner ----------------------------------------------------


@dataclass(frozen=True)
class Float:
    """A real number between `low` and `high`, both included; `log` where its magnitude is what matters."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Int:
    """A whole number between `low` and `high`, both included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    options: tuple[str | int | float | bool | None, ...]


Space = Mapping[str, Float | Int | Choice]


# --- data ------------------------------------------------------------------------------------------------------------


class ImageArray(Protocol):
    """Images that need no file of their own: a NumPy array (N, H, W) uint8, a memory map, or an object that renders on
    demand or reads them from a file of many.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8] | bytes:
        """Image `index` as (H, W) uint8, or as the bytes of an image file, such as a PNG, which the harness decodes."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Data:
    """A dataset as its label files describe it; making one opens no image.

    Raises `DataError` where the parts do not fit together.
    """

    labels: tuple[str, ...]
    """C names, in the order of the columns of `targets`."""
    images: Sequence[Path] | ImageArray
    """N image files, or an array of N images (H, W) uint8 that may render on demand."""
    targets: NDArray[np.float32]
    """(N, C) float32: 1 present, 0 absent, NaN unknown; in training also a value in between, a soft target."""
    table: pd.DataFrame
    """One row for each image, in the order of `images`: `image` (unique id), `split` (train, val or test), `patient`,
    and where known `study` (the examination that it is of, its id with the patient's in it where several patients have
    the same), `age` (years), `sex` (M or F) and `view` (PA, AP, ...)."""
    boxes: pd.DataFrame | None = None
    """Findings' places where known: `image`, `label`, `x`, `y`, `width`, `height` in pixels of the original image."""
    subgroups: tuple[str, ...] = ("sex", "age", "view")
    """Columns of `table` by whose values results are told apart, where it has them; ages by bands."""
    repeated: tuple[str, ...] = ()
    """Images that several rows of the label file are about, each with its lines, where `table` has the first row alone:
    nothing is trained on such a dataset, and `harness data check` counts them."""
    mirrors: bool = True
    """Whether an image mirrored left to right keeps its labels."""
    decode: Callable[[Path], NDArray[np.uint8]] | None = None
    """Reads one file into (H, W) uint8, where Pillow alone is not enough."""
    sources: tuple[Path, ...] = ()
    """Files that an array of images was read from: they key the prepare cache beside the options."""
    patients_known: bool = True
    """Whether something says which images belong to one patient; else `patient` is the image, and intervals are over
    images."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Facts worth keeping with every result, such as the version of the label file; those of `TOLD` are said before
    anything is trained."""

    def __post_init__(self) -> None:
        import numpy as np

        count = len(self.table)
        if self.targets.shape != (count, len(self.labels)) or len(self.images) != count:
            raise DataError(
                f"the parts of the dataset differ in size: {len(self.images)} images, {count} table rows, targets "
                f"{self.targets.shape} for {len(self.labels)} labels"
            )
        if self.targets.dtype != np.float32:
            raise DataError(f"targets must be float32, got {self.targets.dtype}")
        missing = {"image", "split", "patient"} - set(self.table.columns)
        if missing:
            raise DataError(f"the dataset's table lacks the column {', '.join(sorted(missing))}")
        if "study" in self.table and (self.table["study"].isna() | (self.table["study"].astype(str) == "")).any():
            raise DataError("the dataset's table has images without a study; give each one, or leave the column out")
        repeated = self.table["image"].duplicated()
        if repeated.any():
            twice = self.table["image"][repeated].unique()
            more = f"; so it is with {len(twice) - 1:,} more" if len(twice) > 1 else ""
            raise DataError(f"image '{twice[0]}' stands in the dataset more than once{more}")
        others = set(self.table["split"].unique()) - {*SPLITS, WITHHELD}
        if others:
            raise DataError(f"split must be train, val or test, got {', '.join(sorted(map(repr, others)))}")
        wrong = ~(np.isnan(self.targets) | (self.targets == 0) | (self.targets == 1))
        soft = wrong & (self.targets > 0) & (self.targets < 1)
        wrong &= ~(soft & (self.table["split"] == "train").to_numpy()[:, None])
        if wrong.any():
            row, column = (int(indices[0]) for indices in np.nonzero(wrong))
            raise DataError(
                f"targets must be 1, 0 or NaN, or in training between 0 and 1: image "
                f"'{self.table['image'].iloc[row]}', label '{self.labels[column]}' has {self.targets[row, column]}"
            )
        absent = [] if self.boxes is None else [name for name in BOX if name not in self.boxes]
        if absent:
            raise DataError(f"the dataset's boxes lack the column {', '.join(absent)}; they need {', '.join(BOX)}")

    @property
    def encoded(self) -> bool:
        """Whether the images are files that are decoded, or the bytes of such files, and not pixels."""
        return isinstance(self.images, Sequence) or (len(self.images) > 0 and isinstance(self.images[0], bytes))

    @property
    def studies(self) -> NDArray[np.str_] | None:
        """(N,) the study that each image is of; None where nothing says so."""
        return self.table["study"].to_numpy(dtype=str) if "study" in self.table else None

    def select(self, keep: NDArray[np.bool_]) -> Data:
        """The part of the data where `keep` (N,) is true, in the same order."""
        import numpy as np

        if keep.all():
            return self
        chosen = np.flatnonzero(keep)
        images = (
            [self.images[int(i)] for i in chosen] if isinstance(self.images, Sequence) else _Chosen(self.images, chosen)
        )
        table = self.table[keep].reset_index(drop=True)
        boxes = (
            None if self.boxes is None else self.boxes[self.boxes["image"].isin(table["image"])].reset_index(drop=True)
        )
        return replace(self, images=images, targets=self.targets[keep], table=table, boxes=boxes)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """Some of the images of an array, in a new order, without reading them."""

    images: ImageArray
    chosen: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8] | bytes:
        return self.images[int(self.chosen[index])]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model or a loss may know when it is built. Never anything of the test split."""

    labels: tuple[str, ...]
    channels: int
    """K of the images that the model gets."""
    size: int
    """Their height and width in pixels."""
    mean: tuple[float, ...]
    """(K,) subtracted from pixels in 0..1."""
    std: tuple[float, ...]
    """(K,) that the difference is divided by."""
    prevalence: tuple[float, ...]
    """(C,) share of positives among the known training targets; NaN where none is known."""
    table: tuple[str, ...] = ()
    """(F,) names of the numbers that the model gets beside each image, such as `age`, `sex=M`; see `Inputs.table`."""


# --- components ------------------------------------------------------------------------------------------------------

LossFn = Callable[..., "Tensor"]
"""(logits (B, C) float32, targets (B, C) with unknown as 0) -> (B, C) unreduced, or a scalar where `Loss.scalar`."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """What every kind has in common."""

    name: str
    about: str = ""
    """One line: what it is."""
    version: int = 1
    """Raised by its author when its numbers change; part of a result's identity."""
    citation: str = ""
    """Where it comes from."""

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or any(c.isspace() or c in ":,;\"'" for c in self.name):
            raise UsageError(f"'{self.name}' is no name for a component: no spaces, quotes, colons or commas")


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """A named source of images, targets, patients and a split.

    `load(root, **options) -> Data` reads label files only. `root` is the folder of this dataset; the keyword-only
    arguments of `load` are the dataset's options, given in `board.toml` or by `--option`.
    """

    load: Callable[..., Data]
    drawn: bool = False
    """Whether `load` makes the images itself: there is then no folder for --data-root to name."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a network eats. Left out, the harness decides.

    From scratch, a network gets one grey channel (or `channels`) normalized by the dataset's own statistics; with
    pretrained weights it gets `channels` (3 where None) normalized as those weights were trained: `mean`, `std`.
    """

    channels: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    size: int | None = None
    """The only height and width that it takes, where there is one."""
    table: tuple[str, ...] = ()
    """Columns of the dataset's table that the network gets beside each image, such as `("age", "sex", "view")`: then it
    is called as network(images, table), table being (B, F, 2) float32, a number and 1 where it is known, else 0 and 0;
    `Task.table` names the F numbers."""
    permuted: bool = False
    """Whether rows of that table are dealt out to other images of their split: a control, of a network that can learn
    nothing from it."""


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """Where a model comes from that is no code alone: files of a library's own format, in a folder or from a hub."""

    describe: Callable[..., Mapping[str, Any]]
    """describe(recipe, **params): what the network is made of, as plain data that JSON can hold: the library with its
    version, the image transform, digests of files. It is part of a result's identity and stands in its record; an entry
    that is called like a parameter stands for that parameter's value. It asks no network. Raises `WeightsError` or
    `UsageError`, in one sentence, where files or the library are missing, or where the recipe does not suit."""
    fetch: Callable[[], None] | None = None
    """Brings the files from the hub; called where it can be reached and `describe` cannot be answered without."""
    require_labels: Callable[..., None] | None = None
    """require_labels(labels, **params): raises `UsageError` for labels that the network could say nothing about."""
    found_as: str = ""
    """The name by which the model is found again, where its own name is no more than its folder's."""
    weights: Path | None = None
    """A file of its weights, beside which `NAME.toml` may declare what they were made from."""


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """A named way to build a network that maps images (B, K, H, W) to logits (B, C)."""

    build: Callable[..., nn.Module]
    """build(task, **params): the network with random initial weights."""
    space: Space = field(default_factory=dict)
    inputs: Inputs = Inputs()
    pretrained: Callable[..., Mapping[str, Tensor]] | None = None
    """pretrained(task, **params): the published weights under the network's own tensor names, where there are some:
    ImageNet's, unless the model has an `origin`."""
    trunk: str = ""
    """The module of the network that weights may be of alone, such as `features`; all else then stays random."""
    map_layer: str = ""
    """The module whose output heat maps are made of, such as `features`: features at places, (B, W, h, h), (B, h, h, W)
    or tokens (B, T, W). Where empty, the deepest one with at least 7 x 7 places that all of an image goes through."""
    pretrained_on: tuple[str, ...] = ()
    """What the weights of `pretrained` were made from, by names such as `imagenet` that `docs/data.md` lists; empty is
    unknown. A model without `pretrained` that names something here always brings such weights along."""
    origin: ModelOrigin | None = None
    """What it is made of beside code, such as the files of a published encoder."""
    resolve: Callable[[str], Model] | None = None
    """For a family, named `prefix/*`: gives the member of that name, named in full (`timm/NAME` -> its tagged name)."""


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """A named way to build a function of logits and targets."""

    build: Callable[..., LossFn]
    """build(task, **params): a function or an nn.Module; see `LossFn`. Its parameters, if any, are trained too."""
    space: Space = field(default_factory=dict)
    scalar: bool = False
    """Whether it reduces by itself; such a loss cannot be used where targets are unknown."""


Weighted = Callable[["NDArray[Any]"], "NDArray[np.float64]"]
"""weights (P, B), uint8 or float64 -> (B, C), each row what `compute` gives for that column of weights.

Several threads call it at once.
"""


IntervalMethod = Literal["percentile", "logit", "squared"]
METHODS: dict[IntervalMethod, str] = {
    "percentile": "the middle 95 % of the resamples",
    "logit": "as far as percentiles, or as 1.96 standard deviations around the value, and around it without bias, on "
    "the logit scale, at most twice as far as resamples reach",
    "squared": "1.96 standard deviations around both on the scale of the value's square",
}
"""How an interval is made from resamples, and what that is in words."""


@dataclass(frozen=True, kw_only=True)
class Metric(Component):
    """A named number about each label.

    `compute(scores (N, C), targets (N, C), weights (N,) or None) -> (C,)` in float64, NaN where undefined. What stands
    in `scores` is said by `on`. It never sees unknown targets, and a label's value depends on its column alone.

    A metric on "maps" is about where a network looks: `compute(maps (n, F, F), inside (n, F, F)) -> (n,)`, for each
    heat map of an image with boxes of the label, float64 of at least 0, where `inside` says which pixels lie in a box.
    A label's value is the mean over its maps; one without boxes is undefined. A metric with a threshold returns (n, T),
    its values at T of them: validation's boxes choose one for each label. Maps have no scale: a map times ten is the
    same map.
    """

    compute: Callable[..., NDArray[np.float64]]
    on: Literal["scores", "ranks", "decisions", "maps"] = "scores"
    """"scores": probabilities in 0..1; "ranks": any finite numbers, of which the order alone may count: the logits that
    a network gave, which differ where their probabilities would round to 1; "decisions": 0 or 1; "maps": heat maps."""
    higher_is_better: bool = True
    range: tuple[float, float] = (0.0, 1.0)
    weighted: bool = True
    """Whether `compute` honours weights, of which their proportions alone count; where it does not, a resample repeats
    rows instead."""
    interval: IntervalMethod = "percentile"
    """How its intervals are made, see `METHODS`; all but "percentile" need values in 0..1."""
    batched: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]], Weighted] | None = None
    """batched(scores (N, C), targets (N, C), rows (N,)): `compute` for many weightings at once, where there is a faster
    way.

    It returns a function of weights (P, B), in which an image has the weights of its patient: `weights[rows[i]]` are
    those of image i. What depends on scores and targets alone (sorting) is done in the first call.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on not in ("scores", "ranks", "decisions", "maps"):
            raise UsageError(f"metric '{self.name}': on must be scores, ranks, decisions or maps, got '{self.on}'")
        if self.on == "maps" and (self.batched is not None or not self.weighted):
            raise UsageError(f"metric '{self.name}': its maps are averaged for it; leave batched and weighted out")
        if self.interval not in METHODS:
            raise UsageError(f"metric '{self.name}': interval must be {', '.join(METHODS)}, got '{self.interval}'")
        if not self.range[0] < self.range[1]:
            raise UsageError(f"metric '{self.name}': range must be (low, high), low below high, got {self.range}")
        if self.interval != "percentile" and not 0 <= self.range[0] < self.range[1] <= 1:
            raise UsageError(f"metric '{self.name}': {self.interval} intervals need a range in 0..1, got {self.range}")


def _check_bounds(what: str, owner: object, bounds: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Raise `UsageError` where a field of `owner` is outside low..high; None is no bound, or no value."""
    for name, (low, high) in bounds.items():
        value = getattr(owner, name)
        if value is not None and not isinstance(value, int | float):
            raise UsageError(f"{what}: {name} must be a number, got {value!r}")
        if value is not None and ((low is not None and not value >= low) or (high is not None and not value <= high)):
            wanted = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
            raise UsageError(f"{what}: {name} must be {wanted}, got {value}")


def _check_names(what: str, owner: object) -> None:
    """Raise `UnknownNameError` where a field that takes one of a few names has another one."""
    for name, hint in typing.get_type_hints(type(owner)).items():
        parts = (hint, *typing.get_args(hint))  # of `Literal[...]` itself, and of `int | Literal[...]`
        allowed = [choice for part in parts if typing.get_origin(part) is Literal for choice in typing.get_args(part)]
        value = getattr(owner, name)
        if allowed and value not in allowed and (isinstance(value, str) or typing.get_origin(hint) is Literal):
            raise UnknownNameError(f"{name} of {what}", value, allowed)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes to a training image, on the device, drawn for each sample."""

    flip: bool = False
    """Mirror left to right with probability 1/2; only where the dataset `mirrors`."""
    rotation: float = 0.0
    """Degrees, drawn from -rotation..rotation, about the image's center; what comes into view is black."""
    shift: float = 0.0
    """Share of the side by which the image moves, along each axis, drawn from -shift..shift."""
    crop_scale: tuple[float, float] | None = None
    """Random resized crop: share of the image's area, from..to. None: the whole image."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Random resized crop: width over height, from..to."""
    brightness: float = 0.0
    """Factor drawn from 1 - brightness .. 1 + brightness."""
    contrast: float = 0.0
    """Factor drawn from 1 - contrast .. 1 + contrast, about the image's mean."""

    def __post_init__(self) -> None:
        low, high = self.crop_scale or (1.0, 1.0)
        if not 0 < low <= high <= 1:
            raise UsageError(
                f"augment.crop_scale must be two shares of the area, 0 < from <= to <= 1, got {low}..{high}"
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise UsageError(f"augment.crop_ratio must be 0 < from <= to, got {self.crop_ratio}")
        bounds = {"rotation": 180.0, "shift": 1.0, "brightness": 1.0, "contrast": 1.0}
        _check_bounds("augment", self, {name: (0.0, high) for name, high in bounds.items()})


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate moves. It starts from `Recipe.lr`, or reaches it where it rises first."""

    kind: Literal["constant", "plateau", "step", "cosine", "one-cycle"] = "constant"
    """What the rate does: it stays, falls without improvement, falls at set epochs, or follows a curve."""
    warmup: float = 0.0
    """Epochs during which the rate rises to `lr` in a straight line; not for one-cycle, which has `rise`."""
    patience: int = 1
    """plateau: epochs without a better value that are borne before the rate falls."""
    factor: float = 0.1
    """plateau, step: what the rate is multiplied by."""
    watch: str = "loss"
    """plateau: the validation value that has to get better: `loss`, `objective` (the board's), or a metric's name."""
    every: int = 10
    """step: epochs between two falls."""
    floor: float = 0.0
    """cosine: share of `lr` that is left at the end."""
    rise: float = 0.3
    """one-cycle: share of the steps during which the rate rises to `lr`."""

    def __post_init__(self) -> None:
        _check_names("the schedule", self)
        _check_bounds("schedule", self, {"floor": (0.0, 1.0), "rise": (0.0, 1.0), "factor": (0.0, 1.0)})
        _check_bounds("schedule", self, {"warmup": (0.0, None), "patience": (0, None), "every": (1, None)})
        if self.kind == "one-cycle" and self.warmup:
            raise UsageError("schedule.warmup is not for one-cycle, which rises by itself; set schedule.rise")


BY_GRADIENT = (
    "optimizer", "lr", "weight_decay", "betas", "momentum", "schedule", "gradient_clip", "epochs", "batch_size",
    "micro_batch", "augment", "freeze_epochs", "oversample", "label_smoothing", "average_decay", "select_on",
    "patience",
)  # fmt: skip
"""Fields of a recipe that are about training by gradient alone."""
GRIDS = {"strengths": "head", "neighbors": "neighbors"}
"""Fields of a recipe that hold values to choose from on validation, and the `train` that chooses."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Component):
    """A named, frozen set of training choices. `replace` it, or override fields by `--set recipe.NAME=VALUE`."""

    train: Literal["all", "head", "neighbors", "nothing"] = "all"
    """What is fitted. `all`: the whole network, by gradient. `head`: its last linear layer alone, by logistic
    regression on what the frozen rest says of each image. `neighbors`: the nearest training images take that layer's
    place. `nothing`: the network predicts as it was built. Only `all` augments, and uses the fields of training by
    gradient."""
    strengths: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
    """head: strengths of the L2 penalty (half the squared norm of a label's weights, beside the mean loss), of which
    each label gets the one with the lowest loss on validation."""
    neighbors: tuple[int, ...] = (5, 20, 100, 500)
    """neighbors: how many images may be asked, of which each label gets the number with the lowest loss on
    validation."""
    train_share: float = 1.0
    """Share of the training patients that are used, drawn from the data and the seed: the same for every row, and those
    of a smaller share are among those of a larger one."""
    train_positives: int | None = None
    """Training patients with each label that are used, and as many without any, drawn in the same way. None: all."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Adam (decay as an L2 penalty), AdamW (decoupled decay), or SGD with momentum (L2 penalty)."""
    lr: float = 1e-4
    """The learning rate from which the schedule starts, or to which it rises."""
    weight_decay: float = 0.0
    """How much the optimizer shrinks weights."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam, AdamW: decay of the averages of the gradient and of its square."""
    momentum: float = 0.9
    """Momentum of SGD."""
    schedule: Schedule = Schedule()
    """How the learning rate moves."""
    gradient_clip: float | None = None
    """Largest norm of the gradient over all parameters; a longer one is shortened to it."""
    epochs: int = 10
    """Passes over the training images; always 0 where `train` is not `all`."""
    batch_size: int = 16
    """Images in one step of the optimizer."""
    micro_batch: int | Literal["auto"] | None = None
    """Images at a time, where a batch is split and its gradients are accumulated; `auto`: only where the memory is too
    small for a batch, the largest divisor of it that fits. None: never."""
    load_size: int = 224
    """Height and width in pixels to which images are decoded. Follows `size` in proportion if only that is given."""
    size: int = 224
    """Height and width in pixels that the network sees."""
    augment: Augment = Augment()
    """Random changes to training images."""
    evaluate_at: Literal["resize", "center-crop", "ten-crop", "flip"] = "resize"
    """How an image of `load_size` becomes one of `size` in evaluation. `ten-crop` (corners and center, each mirrored
    too) and `flip` (resized, and its mirror image) average the logits of their views; where the dataset does not
    mirror, mirrored views are left out."""
    weights: str = "random"
    """Initial weights: `random`, `imagenet`, `pretrained` (whatever weights the model brings), or a file (.safetensors,
    .pth), taken to eat what `Model.inputs` says."""
    freeze_epochs: int = 0
    """First epochs in which only the head is trained: the rest keeps its weights and statistics."""
    oversample: Mapping[str, float] = field(default_factory=dict)
    """Label -> the share of what an epoch draws that is of images with it: `{Hernia = 0.1}`. All else stays: an epoch
    is as long as without, and an image with several of these labels counts for the rarest."""
    label_smoothing: float = 0.0
    """Training targets are moved by half of this towards one half."""
    average_decay: float | None = None
    """Decay of a moving average of the weights, which is then what is evaluated and kept; it begins lower, as
    min(decay, (1 + step) / (10 + step)). None: no average."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Autocast of the forward pass. auto is bf16 on CUDA, and on CPUs with instructions for it unless the network has
    depthwise convolutions, which gain nothing there; else float32. fp16 scales its loss. float32 is exact: it forbids
    the TF32 in which CUDA would otherwise compute convolutions."""
    select_on: str = "objective"
    """What picks the best epoch, on validation: `objective` (the board's), `loss`, or a metric's name."""
    patience: int | None = None
    """Epochs without a better value of `select_on` after which training stops; None: never."""
    space: Space = field(default_factory=dict)
    """Search space over fields; `augment.flip` and the like for nested ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"recipe '{self.name}'"
        _check_names(what, self)
        self._check_train(what)
        least = 1 if self.train == "all" else 0
        whole: dict[str, tuple[float | None, float | None]] = {"epochs": (least, None), "batch_size": (1, None)}
        _check_bounds(
            what, self, whole | {"load_size": (8, LARGEST_SIZE), "size": (8, LARGEST_SIZE), "patience": (1, None)}
        )
        shares = {"label_smoothing": (0.0, 1.0), "average_decay": (0.0, 1.0), "momentum": (0.0, 1.0)}
        _check_bounds(what, self, shares | {"weight_decay": (0.0, None), "freeze_epochs": (0, self.epochs)})
        if not all(0 < share < 1 for share in self.oversample.values()) or not sum(self.oversample.values()) < 1:
            raise UsageError(
                f"{what}: oversample must be shares of an epoch above 0, in sum below 1, got {dict(self.oversample)}"
            )
        for name in ("lr", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise UsageError(f"{what}: {name} must be a finite number above 0, got {value!r}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"{what}: betas must be at least 0 and below 1, got {self.betas}")
        if self.evaluate_at in ("center-crop", "ten-crop") and self.size > self.load_size:
            raise UsageError(f"{what}: a {self.evaluate_at} of {self.size} px needs load_size of at least that")
        if isinstance(self.micro_batch, int) and (self.micro_batch < 1 or self.batch_size % self.micro_batch):
            raise UsageError(f"{what}: micro_batch must divide batch_size {self.batch_size}, got {self.micro_batch}")

    def _check_train(self, what: str) -> None:
        """Raise `UsageError` for fields that `train` makes no use of, and for grids and subsets that cannot be."""
        usual = {field.name: field.default for field in fields(self)}
        usual["oversample"] = {}
        unused = [] if self.train == "all" else list(BY_GRADIENT)
        if self.train != "all" and self.epochs == usual["epochs"]:
            object.__setattr__(self, "epochs", 0)  # it is frozen to all others
        usual["epochs"] = self.epochs if self.epochs == 0 else usual["epochs"]
        unused += [name for name, user in GRIDS.items() if user != self.train]
        if given := [name for name in unused if getattr(self, name) != usual[name]]:
            raise UsageError(
                f"{what}: {', '.join(given)} can do nothing where train is '{self.train}'; leave it out, or take a "
                "recipe that trains otherwise"
            )
        for name in GRIDS:
            values = getattr(self, name)
            if not values or not all(0 < value < math.inf for value in values) or len(set(values)) < len(values):
                raise UsageError(f"{what}: {name} must be different finite numbers above 0, got {list(values)}")
        if self.train == "neighbors" and self.evaluate_at not in ("resize", "center-crop"):
            raise UsageError(
                f"{what}: neighbors are asked for one view of an image, and evaluate_at '{self.evaluate_at}' makes "
                "several; set it to resize or center-crop"
            )
        if not 0 < self.train_share <= 1:
            raise UsageError(f"{what}: train_share must be above 0 and at most 1, got {self.train_share}")
        _check_bounds(what, self, {"train_positives": (1, None)})


Tell = Callable[[Mapping[str, Any]], None]
"""A function that is told of an event of a run, as plain data that JSON can hold; its `event` says which."""


@dataclass(frozen=True, kw_only=True)
class Observer(Component):
    """A named listener to runs. Whatever it raises ends its listening, and harms no run.

    It is told of `combo started` (`number` of `total`, `epochs`), of `epoch finished` (`epoch` of `epochs`, `lr`,
    `train_loss`, `val_loss`, `value`, `best`, `seconds`, `images`) and of `combo finished` (`status`, `seconds`,
    `metrics`, `failure`), each with `time` in UTC and the name of the `combo`.
    """

    watch: Callable[[Path], Tell]
    """watch(folder): called once a run, with the board's folder; what it keeps belongs under `folder / "runs"`."""
    always: bool = False
    """Whether it listens without being asked for by `--observer`."""


class Future(Protocol):
    """What was submitted, in the shape of `concurrent.futures.Future`. An engine's future may also have `job`, the name
    by which `Engine.find` gives it again, and `log`, the path of the file that its function writes to.
    """

    def done(self) -> bool:
        """Whether it is over, well or not."""
        ...

    def result(self, timeout: float | None = None) -> Any:
        """Give what the function returned, or raise what it raised or what ended it."""
        ...

    def cancel(self) -> bool:
        """End it, also where it runs already, if the engine can; gives whether it was ended."""
        ...


class Engine(Protocol):
    """Where functions run, in the shape of `concurrent.futures.Executor`.

    An engine may also have `batch()`, a context in which what is submitted is sent together when it ends;
    `find(job) -> Future | None`, for what an earlier process has submitted; `forget(job)`, called when a result was
    written, until when the engine keeps it; and `explain(error) -> str | None`, the kind of failure that an error of
    its own means: `interrupted` (a lost node, a preemption, a cancellation), `timeout`, `out_of_memory` or `crashed`.
    """

    capacity: int | None
    """How many functions can run at once; None where only the scheduler knows."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Run a function of a module on plain arguments, soon and somewhere. It gives a mapping, whose `outcome` is
        `interrupted` where it was told to end, by SIGTERM or SIGINT: it can then be run again as it is.
        """
        ...

    def close(self) -> None:
        """Let go of the engine. What was submitted goes on where `find` can give it again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the harness asks of an engine."""

    name: str
    """What people see jobs under, such as `harness-nih-official`: letters, digits, dots, dashes and underscores."""
    folder: Path
    """Where the engine keeps its files and logs; in the board's folder, which shared engines see everywhere."""
    workers: int
    """How many functions are to run at once."""
    gpus: int
    """GPUs for each of them: 1, or 0 for the CPU alone."""
    seconds: float | None = None
    """How long one of them is expected to run at most, with a margin; None where nothing tells."""


@dataclass(frozen=True, kw_only=True)
class Executor(Component):
    """A named way to run combos beyond this process, such as a cluster's scheduler.

    `open(needs, **options) -> Engine`; the keyword-only arguments of `open` are its options, given by `--on-option`.
    """

    open: Callable[..., Engine]


Kind = Literal["dataset", "model", "loss", "metric", "recipe", "observer", "executor"]
KINDS: Mapping[Kind, type[Component]] = {
    "dataset": Dataset,
    "model": Model,
    "loss": Loss,
    "metric": Metric,
    "recipe": Recipe,
    "observer": Observer,
    "executor": Executor,
}

Options = Mapping[str, Any]
"""Values of a component's keyword arguments, as plain data."""
