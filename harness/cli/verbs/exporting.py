"""`harness export`: a trained row as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import Json, Plugins
from harness.cli.verbs.prediction import MOST_BATCH, RowArgument
from harness.cli.verbs.shared import open_registry


def export(
    row: RowArgument,
    to: Annotated[
        Literal["onnx", "hf"],
        typer.Option("--to", help="Write an ONNX file, or a folder for the Hugging Face hub with a model card."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Write the files to this folder.")],
    seed: Annotated[
        int | None,
        typer.Option(
            "--seeds", metavar="SEED", min=0, help="Export this seed.", show_default="the first that has a result"
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            max=MOST_BATCH,
            help="Let the ONNX file take exactly this many images at a time.",
            show_default="any number",
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Write a trained row as an ONNX file, checked against torch, or as a Hugging Face folder. Nothing is uploaded."""
    import torch

    from harness.cli import tables
    from harness.cli.output import say
    from harness.cli.terminal import warn
    from harness.errors import UsageError
    from harness.serving.loading import open_row

    if batch is not None and to != "onnx":
        raise UsageError(f"--batch {batch}: only an ONNX file has a batch; leave it out, or give --to onnx")
    loaded = open_row(row, open_registry(plugin), torch.device("cpu"), None if seed is None else (seed,))
    for note in loaded.notes:
        warn(note)
    if to == "onnx":
        from harness.serving.onnx_file import write_onnx

        paths: tuple[Path, ...] = (out / "model.onnx",)
        said = {"difference": write_onnx(loaded, paths[0], batch)}
    else:
        from harness.serving.hf_folder import write_hf

        paths, said = write_hf(loaded, out), {}
    if as_json:
        tables.print_json({"row": loaded.name, "files": [str(path) for path in paths], **said})
        return
    for path in paths:
        say(str(path))
    if said:
        say(f"logits by onnxruntime are at most {said['difference']:.2g} from those by torch")
