"""`harness serve`: a page to try trained rows on an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import find_device
from harness.cli.options import MACHINE, BoardDataRoot, Device, Plugins
from harness.cli.verbs.prediction import PolicyOption
from harness.cli.verbs.shared import find_data_root, open_registry
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.components import Data
    from harness.registry import Registry
    from harness.serving.rows import LoadedRow

INSTALL = "pip install 'cxr-harness[app]'"
PORT = 8765


def serve(
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="ROW",
            help="These are trained rows as BOARD::ROW, or the weights.safetensors of finished rows. The page shows "
            "up to two of them side by side, each by one of its seeds or their mean.",
        ),
    ],
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="HOST",
            help="Listen at this address. If other machines can reach it, the page's address holds a random token.",
            rich_help_panel=MACHINE,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65_535,
            help="Listen on this port. With 0, a free one is taken.",
            rich_help_panel=MACHINE,
        ),
    ] = PORT,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    policy: PolicyOption = None,
    data_root: BoardDataRoot = None,
    device: Device = "auto",
    plugin: Plugins = None,
) -> None:
    """Show a page to drop an image on, with what trained rows say of it: no medical device.

    The page needs no network and asks nobody else. Images are neither stored nor sent anywhere.
    """
    _require_packages()
    import torch

    from harness.cli.output import say
    from harness.cli.terminal import warn
    from harness.serving.app import App
    from harness.serving.examples import Examples
    from harness.serving.guard import Guard
    from harness.serving.loading import open_each_seed
    from harness.serving.server import make_token, open_port, tell_address
    from harness.serving.server import serve as serve_app

    registry, found = open_registry(plugin), torch.device(find_device(device))
    loaded: list[LoadedRow] = []
    for name in rows:
        opened = open_each_seed(name, registry, found)
        for one in opened:
            one.thresholds(policy)
        for note in opened[0].notes:
            warn(f"{name}: {note}")
        loaded += opened
    token = make_token(host)
    listening = open_port(host, port)
    shown = next((row for row in loaded if row.records), loaded[0])
    examples = Examples(shown, _find_examples(shown, registry, data_root))
    app = App(loaded, registry, examples, Guard(host=host, token=token), policy=policy)
    address = tell_address(host, listening, token)
    say(f"open {address} (Ctrl+C ends it)")
    if open_page:
        import webbrowser

        webbrowser.open(address)
    serve_app(app.make(), listening)


def _require_packages() -> None:
    """Raise `UsageError` where the packages of the page are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UsageError(f"harness serve needs {' and '.join(missing)}; {INSTALL}")


def _find_examples(row: LoadedRow, registry: Registry, data_root: Path | None) -> Callable[[], Data] | None:
    """What reads the dataset that a row was tested on; None where a weight file does not say which one it is.

    Whatever is wrong with the data then is said on the page, which does without them.
    """
    record = row.record
    if record is None:
        return None

    def read() -> Data:
        from harness.data.loading import find_source, load
        from harness.scoring.rows import find_row

        root = find_data_root(data_root, find_row(row.name).folder)
        return load(find_source(registry.offer("dataset", record.dataset.name), record.combo.options, root))

    return read
