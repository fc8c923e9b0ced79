"""Each deliberately wrong plugin is caught by the check meant for it, with a message that names the fix."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from harness import testing

MODEL = """
import harness
from harness import Float, Int, Model

def build(task, width: int = 4):
    import torch
    from torch import nn
    from torch.nn import functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(task.channels, width, 3, 2, 1), nn.BatchNorm2d(width)
            self.last = nn.Linear(16 * width, len(task.labels))
            {init}

        def forward(self, images):
            features = {norm}.relu()
            logits = self.last(functional.adaptive_avg_pool2d(features, 4).flatten(1))
            return {out}

    {before}
    return Net()

@harness.hookimpl
def harness_models():
    {hook}
    return [Model(name="{name}", build=build, space={{{space}}}, about="a net")]
"""
FINE = {
    "init": "",
    "norm": "self.norm(self.first(images))",
    "out": "logits",
    "before": "",
    "hook": "",
    "name": "net",
    "space": '"width": Int(4, 8)',
}
LOSS = """
import harness

def build(task):
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    return lambda logits, targets: {value}

@harness.hookimpl
def harness_losses():
    return [harness.Loss(name="mine", build=build, about="a loss")]
"""
METRIC = """
import harness

def compute(scores, targets, weights):
    import numpy as np

    weight = np.ones(len(scores)) if weights is None else weights
    total = weight.sum()
    return (weight[:, None] * {value}).sum(axis=0) / (total if total else {nothing})

@harness.hookimpl
def harness_metrics():
    return [harness.Metric(name="error", compute=compute, higher_is_better={higher}, about="mean error")]
"""
DATASET = """
import harness
import itertools

count = itertools.count()

def load(root):
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng({seed})
    names = [str(n) for n in range(40)]
    patients = {patients}
    table = pd.DataFrame({{"image": names, "patient": patients, "split": ["train", "val", "test", "test"] * 10}})
    images = generator.integers(0, 255, (40, 16, 16), dtype=np.uint8)
    {change}
    targets = np.tile(np.array([[0.0], [0.0], [0.0], [1.0]], np.float32), (10, 1))
    return harness.Data(labels=("bright",), images=images, targets=targets, table=table)

@harness.hookimpl
def harness_datasets():
    return [harness.Dataset(name="mine", load=load, about="noise")]
"""
OBSERVER = """
import harness

def watch(folder):
    def tell(event):
        {body}
    return tell

@harness.hookimpl
def harness_observers():
    return [harness.Observer(name="mine", watch=watch, about="prints")]
"""


def declare(inputs: str) -> str:
    """Write a model that says which images it takes, and takes no others."""
    values = dict(part.split("=") for part in inputs.split(", "))
    channels, size = values["channels"], values.get("size", "task.size")
    text = model(before=f"assert (task.channels, task.size) == ({channels}, {size})")
    return text.replace('name="net",', f'name="net", inputs=harness.Inputs({inputs}),')


def model(**changes: str) -> str:
    return MODEL.format(**FINE | changes)


def told(**changes: str) -> str:
    """A model that gets a table beside images."""
    got = model(**changes).replace("forward(self, images)", "forward(self, images, table)")
    return got.replace('about="a net"', 'inputs=harness.Inputs(table=("age", "sex")), about="a net"')


def dataset(**changes: str) -> str:
    return DATASET.format(**{"seed": "0", "patients": "names", "change": ""} | changes)


WRONG = {
    "softmax outputs": (model(out="logits.softmax(1)"), "gives logits", "remove the softmax"),
    "a table of which nothing is known": (
        told(out="logits + (table[..., 0].sum(1) / table[..., 1].sum(1))[:, None]"),
        "takes missing values",
        "divide by nothing that counts known values",
    ),
    "a table that is not looked at": (told(), "takes missing values", "use table in forward"),
    "wrong shape": (model(out="logits.sum(1)"), "builds for any task", "one logit a label"),
    "a batch norm that forgets evaluation mode": (
        model(norm="functional.batch_norm(self.first(images), None, None, training=True)"),
        "does not depend on the batch",
        "training=self.training",
    ),
    "a parameter without a gradient": (
        model(init="self.unused = nn.Linear(3, 3)"),
        "gradients reach every parameter",
        "remove them",
    ),
    "a space that names no keyword": (
        model(space='"widht": Float(4, 8)'),
        "space names keywords of build",
        "rename it in `space`",
    ),
    "a space that names fractions where whole numbers are wanted": (
        model(space='"width": Float(4, 8)'),
        "space names keywords of build",
        "give a whole number an Int",
    ),
    "a space of plain tuples": (
        model(space='"width": (4, 8)'),
        "space names keywords of build",
        "give harness.Float(low, high)",
    ),
    "a network pretrained on what the harness does not know": (
        model().replace('about="a net"', 'about="a net", pretrained_on=("imagenett",)'),
        "names what it was pretrained on",
        "docs/data.md lists the names",
    ),
    "a network for 3 channels alone": (
        model().replace("nn.Conv2d(task.channels", "nn.Conv2d(3"),
        "builds for any task",
        "task.channels",
    ),
    "a parameter without a default": (
        model().replace("width: int = 4", "width"),
        "builds for any task",
        "give every further keyword of build a default",
    ),
    "a network with two outputs": (model(out="logits, features"), "builds for any task", "one logit a label"),
    "lazy layers": (
        model().replace("nn.Linear(16 * width, ", "nn.LazyLinear("),
        "builds for any task",
        "run it once inside build",
    ),
    "a network that is frozen": (
        model().replace("return Net()", "return Net().requires_grad_(False)"),
        "gradients reach every parameter",
        "freeze_epochs",
    ),
    "a network that makes a folder": (
        model(before="import pathlib; pathlib.Path('left-behind').mkdir(exist_ok=True)"),
        "keeps to itself",
        "write nothing while building",
    ),
    "a file that ends the program": (
        f"{model()}\nraise SystemExit(3)\n",
        "loads without a problem",
        "__main__",
    ),
    "a component with a misspelt field": (
        model().replace("about=", "abuot="),
        "loads without a problem",
        "fix it",
    ),
    "a hook that gives one component": (
        model().replace("return [Model", "return (Model").replace('"a net")]', '"a net"))'),
        "loads without a problem",
        "return a list of Model objects",
    ),
    "a hook that imports torch": (model(hook="import torch"), "hooks import nothing heavy", "move `import torch`"),
    "a name that is taken": (model(name="tiny-cnn"), "loads without a problem", "rename one of them"),
    "a network that is not seeded": (
        model(before="torch.seed()"),
        "two builds with one seed are equal",
        "torch's global generator",
    ),
    "a network that learns nothing": (model(out="logits - logits"), "learns", "forgets its input"),
    "a network that writes": (
        model(before="open('left-behind.txt', 'w').close()"),
        "keeps to itself",
        "write nothing while building",
    ),
    "state beside the state dict": (
        model(init="self.scale = torch.rand(())", out="logits * (1 + self.scale)"),
        "weights come back from a file",
        "register_buffer",
    ),
    "a loss that rewards wrong answers": (
        LOSS.format(value='binary_cross_entropy_with_logits(logits, 1 - targets, reduction="none")'),
        "right answers cost less",
        "turn its sign round",
    ),
    "a loss that is NaN at large logits": (
        LOSS.format(value="-(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log())"),
        "stays finite",
        "logsigmoid",
    ),
    "a loss that reduces without saying so": (
        LOSS.format(value="binary_cross_entropy_with_logits(logits, targets)"),
        "gives one value a target",
        "scalar=True",
    ),
    "a loss with another gradient": (
        LOSS.format(
            value='binary_cross_entropy_with_logits(logits, targets, reduction="none") * logits.exp().detach()'
        ),
        "gradient equals finite differences",
        "no .detach()",
    ),
    "a loss that mixes labels": (
        LOSS.format(value="-(targets * logits.log_softmax(1))"),
        "unknown targets have no influence",
        "its own logit and target",
    ),
    "a metric with its direction flipped": (
        METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=True),
        "goes in its direction",
        "higher_is_better=False",
    ),
    "a metric that no answer moves": (
        METRIC.format(value="(0 * scores + 0.5)", nothing="np.nan", higher=True),
        "goes in its direction",
        "let every answer count",
    ),
    "a metric that is 0 where it is undefined": (
        METRIC.format(value="abs(scores - targets)", nothing="1", higher=False),
        "is undefined without weight",
        "return NaN",
    ),
    "a metric out of its range": (
        METRIC.format(value="100 * abs(scores - targets)", nothing="np.nan", higher=False),
        "stays in its range",
        "range=",
    ),
    "a metric that counts the weights": (
        METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=False).replace(
            "(total if total", "(total + 1 if total"
        ),
        "depends on proportions of weights",
        "weighted=False",
    ),
    "a metric of ranks that reads their size": (
        METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=False)
        .replace("compute=compute,", 'compute=compute, on="ranks", range=(0, np.inf),')
        .replace("import harness", "import harness, numpy as np"),
        "ranks by the order alone",
        'on="scores"',
    ),
    "a dataset with a leaking patient": (
        dataset(patients="[str(n // 2) for n in range(40)]"),
        "no patient is in two splits",
        "split by patient",
    ),
    "a dataset with one image in two splits": (
        dataset(change="images[1] = images[0]"),
        "no image is in two splits",
        "leave one of each pair out",
    ),
    "a dataset with an option that board.toml takes for a key of its own": (
        dataset().replace("def load(root", "def load(root, splits=3"),
        "says what it is",
        "call it something else",
    ),
    "a dataset with boxes of other columns": (
        dataset().replace("table=table)", "table=table, boxes=pd.DataFrame({'image': ['0'], 'w': [1]}))"),
        "loads",
        "fix what the message names",
    ),
    "a dataset whose files are absent": (
        dataset(change="images = [root / f'{name}.png' for name in names]"),
        "images are grey bytes",
        "fix what the message names",
    ),
    "an observer that trips over what is undefined": (
        OBSERVER.format(body="print(round(event['value'], 3)) if 'value' in event else None"),
        "takes every event",
        "leave out values that are None",
    ),
    "a load that is not deterministic": (dataset(seed="next(count)"), "two loads are equal", "without a fixed seed"),
}


LONG = [name for name in WRONG if "network" in name or "space" in name or "state" in name]
"""Take four seconds each, since a network is built and trained; others stand for them among the quick tests."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in WRONG])
def test_what_is_wrong_is_caught_by_the_check_meant_for_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # one of them leaves a file behind
    text, check, fix = WRONG[name]
    failed = {o.check: o for o in check_text(tmp_path, text) if o.status == "failed"}
    assert check in failed, failed
    assert fix in failed[check].fix


@pytest.mark.parametrize(
    "text",
    [
        model(),
        declare("channels=3"),
        declare("channels=1"),
        declare("channels=3, size=40"),
        LOSS.format(value='binary_cross_entropy_with_logits(logits, targets, reduction="none")'),
        METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=False),
        dataset(),
    ],
    ids=["model", "3 channels", "1 channel", "3 channels of one size", "loss", "metric", "dataset"],
)
def test_what_the_wrong_ones_are_made_of_is_right(tmp_path, text):
    assert [outcome for outcome in check_text(tmp_path, text) if outcome.status == "failed"] == []


def check_text(folder: Path, text: str) -> list[testing.Outcome]:
    file = folder / "mine.py"
    file.write_text(textwrap.dedent(text))
    return list(testing.examine(file))


@pytest.mark.parametrize(
    "text",
    [
        model().replace("nn.Conv2d(task.channels", "nn.Conv2d(3"),
        model().replace("return Net()", "Net()"),
        LOSS.format(value="(logits - targets) / 0"),
        METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=False).replace(", weights)", ")", 1),
        dataset(change="images = images.astype(np.float32)"),
    ],
    ids=["channels", "nothing", "nan", "arguments", "floats"],
)
def test_one_mistake_is_told_once(tmp_path, text):
    failed = [outcome.message for outcome in check_text(tmp_path, text) if outcome.status == "failed"]
    assert len(failed) == 1, failed


def test_a_mistake_is_placed_in_the_plugins_own_code(tmp_path):
    (outcome,) = (o for o in check_text(tmp_path, model(before="1 / 0")) if o.status == "failed")
    line = (tmp_path / "mine.py").read_text().splitlines().index("    1 / 0") + 1
    assert f"raised ZeroDivisionError: division by zero (mine.py:{line})" in outcome.seen


def test_what_is_wrong_with_a_dataset_is_said_of_its_own_name(tmp_path):
    text = dataset(change="images = [root / f'{name}.png' for name in names]")
    (outcome,) = (o for o in check_text(tmp_path, text) if o.status == "failed")
    assert "40 of 40 images of 'mine' are missing in data, first 0.png" in outcome.seen


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("batchsize=8", "unexpected keyword argument 'batchsize': did you mean 'batch_size'?"),
        ("lr='1e-3'", "lr must be a finite number above 0, got '1e-3'"),
        ("epochs='3'", "epochs must be a number, got '3'"),
        ("optimizer='adamx'", "unknown optimizer of recipe 'mine' 'adamx': did you mean 'adam'?"),
        ("select_on='aurok'", "select_on: unknown metric 'aurok': did you mean 'auroc'?"),
    ],
)
def test_a_wrong_field_of_a_recipe_is_named_once(tmp_path, line, seen):
    text = f"""
    import harness

    @harness.hookimpl
    def harness_recipes():
        return [harness.Recipe(name="mine", load_size=32, size=32, {line}, about="a recipe")]
    """
    (outcome,) = (o for o in check_text(tmp_path, text) if o.status == "failed")
    assert seen in outcome.seen


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ('on="decision"', "on must be scores, ranks, decisions or maps"),
        ("range=(1.0, 0.0)", "low below high, got (1.0, 0.0)"),
    ],
)
def test_a_wrong_field_of_a_metric_is_named(tmp_path, fields, seen):
    text = METRIC.format(value="abs(scores - targets)", nothing="np.nan", higher=f"False, {fields}")
    (outcome,) = (o for o in check_text(tmp_path, text) if o.status == "failed")
    assert seen in outcome.seen
