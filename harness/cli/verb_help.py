"""How a verb's help is laid out: the most used options first, one heading where options are few, examples below."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

MOST_USED = "Most used"
"""The heading of the options that come first."""
FEW = 10
"""Options up to which a verb's help has one heading for all of them."""
FIRST = {
    "run": ("data_root", "only", "seeds", "device", "dry_run"),
    "tune": ("models", "losses", "recipes", "trials", "data_root"),
}
"""Verb -> parameters of the five options that are used most."""
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("Train the bundled demo and write its page.", "harness run demo"),
        ("Run part of a board.", "harness run nih-official --data-root /path/to/nih --only 'chexnet*'"),
        (
            "Start a new board in the folder my-board.",
            "harness run --dataset phantom --models chexnet --losses bce,focal --recipes demo --board my-board",
        ),
    ),
    "tune": (
        (
            "Search 20 trials and add the best row to the board.",
            "harness tune my-board --models chexnet --losses focal --recipes demo --trials 20 --confirm 3 --add",
        ),
        (
            "See what would be searched, and how many trials 8 hours allow.",
            "harness tune my-board --models chexnet --losses focal --recipes demo --budget 8h --dry-run",
        ),
        (
            "Search a range of your own.",
            "harness tune my-board --models chexnet --losses bce --recipes demo --search recipe.lr=1e-5..1e-3:log",
        ),
    ),
    "ensemble": (
        (
            "Average the probabilities of two rows.",
            "harness ensemble my-board chexnet--bce--demo chexnet--focal--demo",
        ),
        ("Pick members in 20 steps on validation.", "harness ensemble my-board --greedy 20 --rows 'chexnet*'"),
    ),
    "leaderboard": (
        ("Write a board's page again.", "harness leaderboard my-board --open"),
        ("Write the pages of all boards, ready to publish.", "harness leaderboard leaderboards --out site"),
    ),
    "predict": (
        ("Look at one image.", "harness predict my-board::chexnet--bce--demo image.png"),
        (
            "Score a folder by the mean of all seeds.",
            "harness predict my-board::chexnet--bce--demo images --seeds all --out scores.csv",
        ),
        (
            "Use a weight file alone, on another dataset.",
            "harness predict weights.safetensors nih-cxr14 --data-root /path/to/nih --out scores.npz",
        ),
    ),
    "export": (
        ("Write an ONNX file.", "harness export my-board::chexnet--bce--demo --to onnx --out exported"),
        (
            "Write a folder with weights and a model card.",
            "harness export my-board::chexnet--bce--demo --to hf --out exported",
        ),
    ),
    "diff": (("Compare a board with its earlier state.", "harness diff old/my-board my-board --markdown"),),
    "status": (("Watch a board while other processes run it.", "harness status my-board --watch"),),
    "merge": (("Collect what two machines have run.", "harness merge my-board gpu1/my-board gpu2/my-board"),),
    "submit": (
        (
            "Add three seeds of a network that was trained elsewhere.",
            "harness submit my-board --name 'My net' --predictions 0.npz,1.npz,2.npz --about 'my-site.org/net'",
        ),
    ),
    "score": (
        ("Evaluate scores against targets.", "harness score scores.csv --targets targets.csv"),
        (
            "Fit thresholds on validation.",
            "harness score seed0.npz seed1.npz --val val0.npz --val val1.npz --dataset nih-cxr14",
        ),
        (
            "Compare with two readers.",
            "harness score scores.csv --targets targets.csv --reader 'Dr. A=a.csv' --reader 'Dr. B=b.csv'",
        ),
    ),
    "compare": (
        (
            "Compare two rows of a board.",
            "harness compare my-board::chexnet--bce--demo my-board::chexnet--focal--demo",
        ),
        ("Compare two folders of seeds.", "harness compare my-net/ other-net/ --targets targets.csv --margin 0.01"),
    ),
    "explain": (
        (
            "Show where a row's answer about a label comes from.",
            "harness explain my-board::chexnet--bce--chexnet images/ --labels Effusion",
        ),
        (
            "Explain the test images of a dataset by another method.",
            "harness explain demo::chexnet--bce--demo phantom --labels Mass --method integrated-gradients",
        ),
    ),
    "serve": (
        ("Try a row on images in the browser.", "harness serve my-board::chexnet--bce--demo --open"),
        (
            "Compare two rows side by side.",
            "harness serve my-board::chexnet--bce--demo my-board::chexnet--focal--demo",
        ),
    ),
    "speed": (("Find the fastest batch size.", "harness speed chexnet --batch-size 16,64,256"),),
    "new": (("Start a model.", "harness new model my-net"),),
    "check": (("Check a plugin's file.", "harness check my_net.py"),),
    "show": (
        ("Show one row of a board.", "harness show my-board::chexnet--bce--demo"),
        ("Print the ranking for a paper.", "harness show my-board --latex"),
    ),
    "plugins show": (("Show the options of a dataset.", "harness plugins show csv"),),
    "data stats": (
        ("Count without opening an image.", "harness data stats nih-cxr14 --data-root /path/to/nih"),
        ("Read a table of your own.", "harness data stats csv --data-root /path/to/images --option file=labels.csv"),
    ),
    "data check": (("Check a table of your own.", "harness data check csv --option file=labels.csv"),),
    "data prepare": (("Decode images at 320 px.", "harness data prepare nih-cxr14 --load-size 320"),),
}
"""Verb -> what each example does, and what one types."""


class Verb(TyperCommand):
    """A verb whose help shows its most used options first, and one heading where options are few."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        options: list[Any] = [one for one in self.params if one.param_type_name == "option"]
        if len(options) <= FEW:
            for option in options:
                option.rich_help_panel = None
        first = FIRST.get(name or "", ())
        for option in options:
            if option.name in first:
                option.rich_help_panel = MOST_USED
        self.params.sort(key=lambda one: first.index(one.name) if one.name in first else len(first))
        self.has_headings = len(options) > FEW

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, under the heading of the last options."""
        option: Any = super().get_help_option(ctx)
        if option is not None and self.has_headings and self.params:
            option.rich_help_panel = getattr(self.params[-1], "rich_help_panel", None)
        return option


def add_verb(app: typer.Typer, name: str, function: Any, group: str = "", heading: str | None = None) -> None:
    """Add a function to an app as the verb of that name, with its examples."""
    examples = EXAMPLES.get(f"{group} {name}".strip(), ())
    lines = [part for what, command in examples for part in (f"{what}", f"  {command}")]
    epilog = "\n\n".join(["Examples:", *lines]) if lines else None
    app.command(name, cls=Verb, epilog=epilog, rich_help_panel=heading)(function)
