"""`harness explain`: heat maps of a trained row for images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.option_values import find_device, split_names, split_numbers
from harness.cli.options import DataRoot, DatasetOptions, Device, Json, Plugins
from harness.cli.verbs.prediction import ImagesArgument, RowArgument, SplitOption, TableOption, find_images, give_table
from harness.cli.verbs.shared import open_registry
from harness.errors import UsageError


def explain(
    row: RowArgument,
    images: ImagesArgument,
    labels: Annotated[
        str,
        typer.Option("--labels", metavar="NAMES", help="Explain these labels, separated by commas."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="Write a .png and a .npy for each image and label here."),
    ] = Path("heat-maps"),
    method: Annotated[
        Literal["grad-cam", "integrated-gradients"],
        typer.Option(
            "--method",
            help="Make maps by Grad-CAM, or by integrated gradients, which need no layer with places.",
        ),
    ] = "grad-cam",
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="SEED", help="Explain this seed.", show_default="the first that has a result"),
    ] = None,
    table: TableOption = None,
    split: SplitOption = "test",
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    device: Device = "auto",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show where in images a trained row's answer about a label comes from.

    An image that cannot be used is named on standard error, and the exit code is then 1; all others are explained.
    """
    import torch

    from harness.cli.output import say
    from harness.cli.tables import print_json
    from harness.cli.terminal import warn
    from harness.serving.explanation import explain_images, name_files, write_explained
    from harness.serving.loading import open_row
    from harness.text import count

    registry = open_registry(plugin)
    loaded = open_row(row, registry, torch.device(find_device(device)), _read_seed(seeds))
    source, notes = find_images(loaded, images, registry, options, data_root, split)
    source = give_table(loaded, source, table)
    chosen = tuple(dict.fromkeys(split_names([labels])))
    if not chosen:
        raise UsageError("--labels is empty: give labels separated by commas")
    found = explain_images(loaded, source, chosen, registry, method)
    places = name_files(out, source.names, chosen)
    for note in (*loaded.notes, *notes):
        warn(note)
    made, gaps, empty = [], {}, 0
    for one in found:
        if one.gap:
            if one.image not in gaps:
                warn(f"{one.image}: {one.gap}")
            gaps[one.image] = one.gap
            continue
        empty += one.is_empty
        drawn, numbers = write_explained(one, places[one.image, one.label])
        made.append({"image": one.image, "label": one.label, "picture": str(drawn), "map": str(numbers)})
    if empty:
        warn(f"{count(empty, 'map')} of {len(made)} are 0 everywhere: nothing in the image speaks for the label there")
    if as_json:
        print_json({"maps": made, "gaps": gaps})
    else:
        say(f"{out}: {count(len(made), 'heat map')}, each as a .png and a .npy")
    if gaps:
        raise typer.Exit(1)


def _read_seed(text: str | None) -> tuple[int, ...] | None:
    """The seed that is asked for. Raises `UsageError` for none or several."""
    if text is None:
        return None
    numbers = split_numbers(text)
    if len(numbers) != 1:
        raise UsageError(f"--seeds {text}: a heat map is of one network, so give one seed")
    return numbers
