"""Verbs about this machine."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.option_values import LONGEST, find_cache, find_device, split_names, split_numbers
from harness.cli.options import (
    CacheDir,
    CompileOption,
    DataRoot,
    Device,
    Json,
    PlaceOption,
    Plugins,
    complete_names,
)
from harness.cli.verbs.shared import open_registry
from harness.errors import UsageError

if TYPE_CHECKING:
    import torch

    from harness.components import Recipe
    from harness.registry import Registry
    from harness.speed.measure import Speed

IMAGES = {"cuda": 16_384, "cpu": 512}
"""Random training images an epoch of which is timed."""


def speed(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="This is a model's name. `harness plugins` shows the names.",
            autocompletion=complete_names("model"),
        ),
    ],
    losses: Annotated[
        str,
        typer.Option(
            "--losses",
            metavar="NAMES",
            help="Time training with these losses, separated by commas.",
            autocompletion=complete_names("loss"),
        ),
    ] = "bce",
    recipes: Annotated[
        str | None,
        typer.Option(
            "--recipes",
            metavar="NAMES",
            help="Time training with these recipes, separated by commas.",
            show_default="AdamW with crops and flips",
            autocompletion=complete_names("recipe"),
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Train on this many images in each step. Several are compared, such as 16,64,256.",
            show_default="64",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Train on images of this height and width.", show_default="224")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Use this many random training images.", show_default="16384, or 512 on a CPU"
        ),
    ] = None,
    plain_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time the plain script for this long. 0 leaves it out.")
    ] = 20.0,
    compile_: CompileOption = "auto",
    placement: PlaceOption = "auto",
    device: Device = "auto",
    cache_dir: CacheDir = None,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Time a model's training on this machine, and compare it with a plain PyTorch script.

    Also timed are a loop of the engine's step alone, and a reference without the harness's code.
    """
    import torch

    from harness.cli import tables
    from harness.speed.measure import measure_speed
    from harness.speed.request import SpeedRequest
    from harness.training.engine import EngineOptions, set_up_process

    if not 0 <= plain_seconds <= LONGEST:
        raise UsageError(f"--plain-seconds {plain_seconds:g}: give seconds from 0, such as 20")
    registry, where = open_registry(plugin), torch.device(find_device(device))
    engine = EngineOptions(compile=compile_, placement=placement)
    set_up_process(engine, find_cache(cache_dir))
    chosen = registry.model(model)
    if chosen.inputs.table:
        raise UsageError(
            f"model '{chosen.name}' gets {', '.join(chosen.inputs.table)} beside each image, and speed is measured on "
            "random images alone; give a model that gets no table, such as the one that it extends"
        )
    speeds: list[Speed] = []
    combinations = itertools.product(
        split_names([recipes or ""]) or (None,),
        [registry.loss(name) for name in split_names([losses]) or ("bce",)],
        split_numbers(batch_size, "--batch-size") or (None,),
    )
    for recipe, loss, number in combinations:
        made = _speed_recipe(registry, recipe, number, size)
        count = images or max(IMAGES[where.type], made.batch_size)
        speeds.append(
            measure_speed(
                SpeedRequest(
                    model=chosen,
                    loss=loss,
                    recipe=made,
                    images=count,
                    device=where,
                    engine=engine,
                    plain_seconds=plain_seconds,
                    first=not speeds,
                )
            )
        )
    if as_json:
        tables.print_json(_speed_as_plain(model, speeds, where))
    else:
        tables.print_speed(model, speeds)


def _speed_recipe(registry: Registry, name: str | None, batch_size: int | None, size: int | None) -> Recipe:
    """The recipe that is asked for, from random weights, with nothing that ends a training early."""
    from dataclasses import replace

    from harness.components import Augment, Recipe
    from harness.parameters import override

    plain = Recipe(
        name="plain",
        optimizer="adamw",
        batch_size=64,
        load_size=256,
        augment=Augment(flip=True, crop_scale=(0.5, 1.0)),
    )
    base = registry.recipe(name) if name else plain
    given = {"batch_size": batch_size, "size": size}
    changed = override(base, {field: value for field, value in given.items() if value is not None})
    return replace(
        changed,
        weights="random",
        select_on="loss",
        patience=None,
        freeze_epochs=0,
        schedule=replace(changed.schedule, watch="loss"),
    )


def _speed_as_plain(model: str, speeds: list[Speed], device: torch.device) -> dict[str, Any]:
    """The fastest combination at the top, all of them under `measured`."""
    from dataclasses import asdict

    from harness.results.provenance import describe_run

    measured = [
        asdict(one)
        | {
            "engine_over_plain_script": one.engine_over_plain_script,
            "hours_for_20_epochs": one.hours,
        }
        for one in speeds
    ]
    fastest = max(measured, key=lambda one: float(one["engine"]))
    provenance = describe_run(device).model_dump()
    return {"model": model, **fastest, "measured": measured, "provenance": provenance}


def examine_machine(
    data_root: DataRoot = Path("data"), cache_dir: CacheDir = None, plugin: Plugins = None, as_json: Json = False
) -> None:
    """Show what this machine has, and what does not work because something is missing."""
    from dataclasses import asdict

    from harness.cli import tables
    from harness.registry import load_registry
    from harness.testing import doctor

    facts = list(doctor.examine_machine(load_registry(plugin or ()), find_cache(cache_dir), data_root))
    if as_json:
        tables.print_json({"facts": [asdict(fact) for fact in facts]})
    else:
        tables.print_facts(facts)
