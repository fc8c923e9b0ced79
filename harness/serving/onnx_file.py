"""A row as an ONNX file: from grey pixels to logits and probabilities, compared with torch before it appears."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from harness.components import Recipe, Task
from harness.data.augmentation import evaluation_views, resizing_matrix
from harness.errors import DataError, UsageError
from harness.files import write_atomically
from harness.serving.rows import LoadedRow
from harness.training.restore import Restored
from harness.training.weight_file import NetworkPart, read_weight_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

TOLERANCE = 1e-4
"""How far logits by onnxruntime may be from those by torch, in parts of the larger of 1 and themselves."""
SAMPLE = 2
"""Images by which a graph of any batch is traced."""
INSTALL = "pip install 'cxr-harness[export]'"
PREPARATION = (
    "pixels: uint8 (batch, {size}, {size}), grey, dark where little was absorbed, the whole image squashed to "
    "{size} x {size} by an antialiased bilinear filter (Pillow's resize); resizing to what the network sees, "
    "normalization and the average over views are inside the graph"
)


class Portable(nn.Module):
    """A restored network with all that comes before it, in operations that ONNX has."""

    def __init__(self, restored: Restored) -> None:
        super().__init__()
        self.network = restored.network
        self.recipe: Recipe = restored.recipe
        self.task: Task = restored.task
        self.mirrors = restored.mirrors
        self.resizes = restored.recipe.evaluate_at in ("resize", "flip")
        self.register_buffer("matrix", resizing_matrix(restored.recipe.load_size, restored.recipe.size))

    def forward(self, pixels: Tensor, *table: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities (B, C) of pixels (B, S, S) uint8, with a table (B, F, 2) where one is wanted."""
        images = pixels.float()
        if self.resizes and self.recipe.size != self.recipe.load_size:
            images = self.matrix @ images @ self.matrix.T  # type: ignore[operator]
        views = list(evaluation_views(images, self.recipe, self.task, mirrors=self.mirrors))
        logits = [self.network(view.contiguous(), *table) for view in views]  # (B, C) each
        mean = logits[0] if len(logits) == 1 else torch.stack(logits).mean(dim=0)
        return mean, mean.sigmoid()


def write_onnx(row: LoadedRow, path: Path, batch: int | None = None) -> float:
    """Write a row of one seed, which is on a CPU, as an ONNX file, for any number of images or for `batch` at a time.

    The file appears once onnxruntime has said of it what torch says, to 1e-4; gives the largest difference. Its
    metadata hold labels, preparation, thresholds, calibration, and all that the weight file says. Raises `DataError`
    where a package of the extra `export` is missing, for a network with an operator that ONNX lacks, naming it, and
    where both differ; `UsageError` for an ensemble; `StorageError` where the file cannot be written.
    """
    if len(row.members) > 1:
        raise UsageError("an ensemble has no single network: export each seed by --seeds SEED")
    _require_packages()
    import onnx

    module = Portable(row.members[0]).eval()
    model = _translate(module, row.members[0], batch)
    part, _ = read_weight_file(row.weights[0])
    onnx.helper.set_model_props(model, describe_model(part, batch))
    onnx.checker.check_model(model)
    found = [
        _compare(model, module, row.members[0], count) for count in ([1, SAMPLE + 1] if batch is None else [batch])
    ]
    if not max(found) <= TOLERANCE:
        raise DataError(
            f"{row.name}: logits by onnxruntime are {max(found):.2g} from those by torch, and may be {TOLERANCE:g}: "
            f"no file was written; report it with the versions of torch and onnx"
        )
    write_atomically(path, model.SerializeToString())
    return max(found)


def describe_model(part: NetworkPart, batch: int | None) -> dict[str, str]:
    """What the metadata of the file say, each a text or JSON."""
    size = part.recipe.load_size
    return {
        "labels": json.dumps(part.task.labels),
        "preparation": PREPARATION.format(size=size),
        "batch": "any" if batch is None else str(batch),
        "precision": "float32",
        "trained_in": part.computed_in or "unknown",
        "thresholds": json.dumps(part.model_dump()["thresholds"]),
        "policy": part.policy,
        "calibration": json.dumps(part.model_dump()["calibration"]),
        "table": json.dumps([column.model_dump() for column in part.columns]),
        "harness": json.dumps(part.model_dump()),
    }


def _require_packages() -> None:
    """Raise `DataError` where a package that export needs is missing."""
    from importlib.util import find_spec

    lacking = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if lacking:
        raise DataError(f"export to ONNX needs {', '.join(lacking)}; {INSTALL}")


def _translate(module: Portable, restored: Restored, batch: int | None) -> Any:
    """The ONNX model of a module. Raises `DataError` for what cannot be translated."""
    inputs = _draw(restored, batch or SAMPLE)
    names = ["pixels", "table"][: len(inputs)]
    free = {0: torch.export.Dim("batch")}
    shapes: Any = {"pixels": free, "table": (free,)} if inputs[1:] else {"pixels": free}
    try:
        with _plain_attention(), _silence(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(map(torch.from_numpy, inputs)),
                dynamo=True,
                dynamic_shapes=None if batch else shapes,
                input_names=names,
                output_names=["logits", "probability"],
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise DataError(f"{restored.model} cannot be written as ONNX: {_explain(error)}") from error
    assert program is not None
    model = program.model_proto
    if batch is None and model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        raise DataError(
            f"{restored.model} cannot be written as ONNX for any number of images: its graph depends on their number; "
            "fix it by --batch N"
        )
    return model


def _explain(error: BaseException) -> str:
    """What of a network has no translation: the operator's name where the exporter says it."""
    seen: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        seen.append(str(cause))
        cause = cause.__cause__
    for text in seen:
        found = re.search(r"No ONNX function found for .*?op='([\w.]+)'", text) or re.search(
            r"unsupported operator[^\w]*([\w:.]+)", text, re.IGNORECASE
        )
        if found is not None:
            operator = found[1].replace("::", ".")
            return f"ONNX has no operator for {operator}; export the row as Hugging Face files (--to hf)"
    first = next((line for text in reversed(seen) for line in text.splitlines() if line.strip()), type(error).__name__)
    return f"its graph cannot be traced ({first.strip()})"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter from telling of its own insides, in warnings, in logs and in print."""
    unheard = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(unheard), contextlib.redirect_stderr(unheard):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Forbid the fused transformer layer, an operator that ONNX lacks."""
    backend: Any = torch.backends.mha
    before = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)
    try:
        yield
    finally:
        backend.set_fastpath_enabled(before)


def _draw(restored: Restored, count: int) -> list[NDArray[Any]]:
    """Random inputs of `count` images."""
    draw, size, numbers = np.random.default_rng(count), restored.recipe.load_size, len(restored.task.table)
    pixels = draw.integers(0, 256, (count, size, size), dtype=np.uint8)
    if not numbers:
        return [pixels]
    return [
        pixels,
        np.stack([draw.normal(size=(count, numbers)), np.ones((count, numbers))], axis=-1).astype(np.float32),
    ]


def _compare(model: Any, module: Portable, restored: Restored, count: int) -> float:
    """The largest difference of logits between onnxruntime and torch, relative where they are above 1."""
    import onnxruntime

    inputs = _draw(restored, count)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given: Sequence[str] = [one.name for one in session.get_inputs()]
    (theirs,) = session.run(["logits"], dict(zip(given, inputs, strict=True)))
    with torch.no_grad():
        ours = module(*map(torch.from_numpy, inputs))[0].numpy()
    return float((np.abs(ours - theirs) / np.maximum(1, np.abs(ours))).max())
