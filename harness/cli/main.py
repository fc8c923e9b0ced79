"""The command line: every verb on one screen."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness.cli.streams import (
    expand_home,
    find_lost_output,
    prepare_streams,
    prepare_variables,
    require_text,
    require_values,
)
from harness.cli.verb_help import add_verb
from harness.cli.verbs import (
    boards,
    comparison,
    data,
    ensembles,
    evaluation,
    explanation,
    exporting,
    machine,
    plugins,
    prediction,
    reading,
    rescoring,
    serving,
    tuning,
    upkeep,
)
from harness.errors import HarnessError
from harness.machine import SAFE_PATH, find_address_limit

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compare models for chest X-rays under one protocol: the same data, split and statistics.",
)
plugins_app = typer.Typer(
    help="List datasets, models, losses, metrics, recipes, observers and executors, and show one of them.",
    invoke_without_command=True,
)
PARTS = "Data, plugins and machine"
data_app = typer.Typer(help="Inspect, check and decode datasets before training.", no_args_is_help=True)

VERBS: dict[str, dict[str, Any]] = {
    "Run and tune": {
        "run": boards.run,
        "tune": tuning.tune,
        "rescore": rescoring.rescore,
        "ensemble": ensembles.ensemble,
        "speed": machine.speed,
    },
    "Read boards": {
        "leaderboard": reading.leaderboard,
        "show": reading.show,
        "diff": reading.diff,
    },
    "Use a row": {
        "predict": prediction.predict,
        "explain": explanation.explain,
        "serve": serving.serve,
        "export": exporting.export,
    },
    "Look after boards": {
        "status": upkeep.status,
        "merge": upkeep.merge,
        "validate": upkeep.validate,
        "submit": upkeep.submit,
        "clean": upkeep.clean,
    },
    "Predictions from anywhere": {
        "score": evaluation.score,
        "compare": comparison.compare,
    },
    PARTS: {
        "new": plugins.new_plugin,
        "check": plugins.check_plugin,
        "doctor": machine.examine_machine,
    },
}
"""Heading of the help -> verb -> what does it."""
DATA_VERBS = {
    "list": data.list_datasets,
    "stats": data.describe_dataset,
    "labels": data.match_datasets,
    "check": data.check_dataset,
    "prepare": data.prepare_dataset,
    "clean": data.clean_cache,
}
for _heading, _verbs in VERBS.items():
    for _name, _function in _verbs.items():
        add_verb(app, _name, _function, heading=_heading)
app.add_typer(plugins_app, name="plugins", rich_help_panel=PARTS)
plugins_app.callback()(plugins.list_plugins)
add_verb(plugins_app, "show", plugins.show_plugin, "plugins")
app.add_typer(data_app, name="data", rich_help_panel=PARTS)
for _name, _function in DATA_VERBS.items():
    add_verb(data_app, _name, _function, "data")

GARBAGE = 10_000
"""New objects after which Python looks for garbage among them: imports and drawings make many, and nearly all stay."""


def main() -> None:
    """Run the command line: a mistake is one line and exit code 2, an interruption 130; output that is lost gives 1."""
    prepare_streams()
    gc.set_threshold(GARBAGE)
    atexit.register(gc.freeze)  # at its end Python looks through all objects, a second with torch: memory goes anyway
    os.environ[SAFE_PATH] = "1"  # for what libraries and plugins start
    if sys.flags.optimize > 1:
        _give_up(
            "python -OO takes away the docstrings that help and checks are made of: leave out -OO and PYTHONOPTIMIZE=2",
            2,
        )
    try:
        require_text(sys.argv[1:], os.environ)
        require_values(sys.argv[1:])
        prepare_variables(os.environ)
        sys.argv[1:] = expand_home(sys.argv[1:])  # as workers and what continues the command see them, too
        app()
    except HarnessError as error:
        _give_up(str(error), 2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = Path(str(error.filename)).name
        _give_up(f"a name of {len(name)} characters is too long for a file, give a shorter one: {name[:40]}...", 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ImportError, MemoryError) as error:
        if find_address_limit() is None:
            raise
        _give_up(f"{str(error) or 'the memory is used up'}; the address space is limited: try ulimit -v unlimited", 1)
    except SystemExit as end:
        lost = None if end.code else find_lost_output()
        if isinstance(lost, BrokenPipeError):  # a reader such as head has seen enough
            sys.exit(1)
        if lost is not None:
            _give_up(f"standard output cannot be written: {lost.strerror}; what was made is kept, print it again", 1)
        raise


def _give_up(message: str, code: int) -> NoReturn:
    from harness.cli.terminal import fail

    fail(message)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from harness.cli.output import say

        say(version("cxr-harness"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compare models for chest X-rays under one protocol: the same data, split and statistics."""
