"""Checks of a model: shapes, gradients, learning, numerics, weights, repetition, manners."""

from __future__ import annotations

import copy
import itertools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.data.pretraining import find_sources
from harness.errors import UnknownNameError
from harness.testing.contract import ContractError, NotApplicable, Subject, corners, describe, require_space
from harness.testing.networks import (
    ANY_TASK,
    BATCH,
    LOGITS,
    build_network,
    build_trainable,
    digest,
    enliven,
    make_images,
    model_of,
    shape_of,
    size_of,
    task_of,
)
from harness.testing.samples import SIZE, placed
from harness.text import agree, count

if TYPE_CHECKING:
    from torch import Tensor

TARGET = math.log(2) / 2
"""Training loss that has to be reached: half of what a network that knows nothing gets, log 2."""
STEPS = 60
RATES = (1e-3, 1e-4, 1e-2)
"""Learning rates of AdamW, each tried in turn."""


def check_builds_for_any_task(subject: Subject) -> None:
    """Builds for 1 and 3 channels, 1 and 14 labels and several sizes, and gives logits (B, C).

    Only the channels and the size that `inputs` declares are tried, where it declares them.
    """
    model = model_of(subject)
    build_network(subject)
    sizes = (model.inputs.size,) if model.inputs.size else (SIZE, 96)
    channel_counts = (model.inputs.channels,) if model.inputs.channels else (1, 3)
    for channels, labels, size in itertools.product(channel_counts, (1, 14), sizes):
        task = task_of(subject, labels, size, channels)
        try:
            shape = shape_of(model, task, {})
        except ContractError:
            raise
        except Exception as error:
            what = f"{channels} channels, {labels} labels and {size} px"
            raise ContractError(f"for {what} it raised {describe(error)}", ANY_TASK) from error
        if shape != (2, labels):
            raise ContractError(
                f"images {(2, channels, size, size)} gave {shape} where (2, {labels}) is wanted", LOGITS
            )


def check_gives_logits(subject: Subject) -> None:
    """What comes out is finite, and logits: not probabilities, which a loss would squash again."""
    import torch

    network = build_network(subject, task_of(subject, 14)).eval()
    with torch.inference_mode():
        logits = network(make_images(subject)).float()
    if not bool(logits.isfinite().all()):
        raise ContractError("some logits are NaN or infinite", "look for a division or a logarithm of zero in forward")
    if not bool(logits.any()):
        return  # a head that begins at zero
    ends = {"softmax": torch.allclose(logits.sum(1), torch.ones(BATCH), atol=1e-3) and bool((logits >= 0).all())}
    ends["sigmoid"] = bool(((logits >= 0) & (logits <= 1)).all())
    ends["ReLU"], ends["log-softmax"] = bool((logits >= 0).all()), bool((logits <= 0).all())
    for name, matches in ends.items():
        if matches:
            low, high = float(logits.min()), float(logits.max())
            raise ContractError(
                f"all outputs lie in {low:.3g}..{high:.3g}, as after a {name}",
                f"remove the {name} at the end of forward: the loss and the metrics begin at logits",
            )


def check_takes_missing_values(subject: Subject) -> None:
    """A network that gets a table beside images stays finite where nothing of it is known, and looks at what is."""
    import torch

    task = task_of(subject)
    if not task.table:
        build_network(subject)
        raise NotApplicable("it gets images alone: inputs.table is empty")
    network, images = enliven(build_network(subject)).eval(), make_images(subject)
    unknown = torch.zeros(len(images), len(task.table), 2, device=images.device)
    with torch.inference_mode():
        without, told = network.forward(images, unknown), network.forward(images, torch.ones_like(unknown))
    if not bool(without.isfinite().all()):
        raise ContractError(
            "where every value of the table is missing, logits are NaN or infinite",
            "divide by nothing that counts known values; table[..., 1] is 1 where a value is known, else 0",
        )
    if torch.equal(without, told):
        raise ContractError(
            "logits are the same whatever the table says", "use table in forward, or leave it out of inputs.table"
        )


def check_does_not_depend_on_the_batch(subject: Subject) -> None:
    """In evaluation mode an image gets the same logits whatever images are beside it, and twice the same."""
    import torch

    network = enliven(build_network(subject)).eval()
    images, others = make_images(subject), make_images(subject, seed=1)
    fix = (
        "in evaluation mode use running statistics and no dropout: nn.BatchNorm2d and nn.Dropout as attributes of the "
        "network, or training=self.training for functions of torch.nn.functional"
    )
    with torch.inference_mode():
        first = network(images)[:1]
        _require_close(first, network(images)[:1], "the same batch gave other logits the second time", fix)
        around = network(torch.cat([images[:1], 3 * others[1:]]))[:1]
        _require_close(first, around, "an image's logits change with the images beside it in evaluation mode", fix)
        _require_close(first, network(images[:1]), "an image alone gets other logits than in a batch", fix)


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """Every parameter that requires a gradient gets one, and it is finite."""
    import torch

    network = enliven(build_trainable(subject)).train()
    network(make_images(subject)).float().square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        raise ContractError(
            f"{count(len(without), 'parameter')} {agree(len(without), 'gets', 'get')} no gradient, first "
            f"{', '.join(without[:3])}",
            "use them in forward without .detach() or torch.no_grad(), remove them, or set requires_grad_(False)",
        )
    bad = [n for n, p in network.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    if bad:
        raise ContractError(f"the gradient of {bad[0]} is not finite", "look for sqrt, log or division near zero")


def check_learns(subject: Subject) -> None:
    """The training loss on 8 images falls to half of log 2, what knowing nothing costs, within 60 steps of AdamW."""
    best = math.inf
    for rate in RATES:
        best = min(best, _fit(subject, rate))
        if best <= TARGET:
            return
    raise ContractError(
        f"after {STEPS} steps on {BATCH} images the loss is {best:.3f}, wanted {TARGET:.3f} or less "
        f"(rates {', '.join(map(str, RATES))})",
        "look for a layer that forgets its input, for saturation, or for outputs that are no logits",
    )


def check_stays_finite_in_bf16(subject: Subject) -> None:
    """Under bf16 autocast logits and gradients stay finite."""
    import torch

    network = enliven(build_trainable(subject)).train()
    with torch.autocast(subject.device.partition(":")[0], torch.bfloat16):
        logits = network(make_images(subject)[:2])  # two: a processor without bf16 takes its time
    logits.float().square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not bool(logits.isfinite().all()) or not all(bool(g.isfinite().all()) for g in gradients):
        raise ContractError(
            "under bf16 autocast logits or gradients are not finite",
            "compute what needs many digits (exp, sums of squares) in float32: tensor.float()",
        )


def check_a_captured_step_equals_an_eager_one(subject: Subject) -> None:
    """On CUDA, steps replayed from a graph end in the same weights as steps one by one."""
    if not subject.device.startswith("cuda"):
        raise NotApplicable("needs CUDA: give --device cuda")
    with placed(size_of(subject), subject.device) as images:
        captured, note = _train_by_engine(subject, images, graphs=True)
        eager, _ = _train_by_engine(subject, images, graphs=False)
    if note:
        raise NotApplicable(f"{note}; it is trained step by step, slower")
    for name, tensor in eager.items():
        if tensor.is_floating_point() and (tensor - captured[name]).norm() > 0.05 * tensor.norm() + 1e-3:
            raise ContractError(
                f"after three steps {name} differs between captured and eager training",
                "keep no Python state in forward (counters, lists, caches): a graph replays kernels only",
            )


def check_weights_come_back_from_a_file(subject: Subject) -> None:
    """Weights saved to safetensors and loaded into a new network give equal output."""
    import torch
    from safetensors.torch import load_file, save_file

    network = enliven(build_network(subject)).eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file = Path(folder) / "weights.safetensors"
        save_file({n: t.detach().cpu().contiguous().clone() for n, t in network.state_dict().items()}, file)
        again = build_network(subject, seed=1)
        again.load_state_dict(load_file(file))
        _require_close(
            network(make_images(subject)),
            again.eval()(make_images(subject)),
            "a network with loaded weights gives other logits",
            "register everything that forward uses as a parameter, a buffer (register_buffer) or a submodule",
        )


def check_two_builds_with_one_seed_are_equal(subject: Subject) -> None:
    """Built twice after the same torch.manual_seed, a network has the same weights."""
    if digest(build_network(subject)) != digest(build_network(subject)):
        raise ContractError(
            "two builds after one torch.manual_seed have different weights",
            "draw initial weights by torch's global generator alone, not by time, NumPy or a generator of your own",
        )


def check_loads_in_a_fresh_process(subject: Subject) -> None:
    """Another process finds it by name and builds the same weights from the same seed, as workers have to."""
    answer = _elsewhere(subject)
    if answer["digest"] != digest(build_network(subject)):
        raise ContractError(
            "a fresh process builds other weights from the same seed",
            "let nothing of this process (environment, hash order, global state) decide on weights",
        )


def check_keeps_to_itself(subject: Subject) -> None:
    """Building and running writes no file, makes no folder and opens no connection, offline mode being on."""
    answer = _elsewhere(subject)
    if answer["written"]:
        raise ContractError(
            f"it wrote {answer['written'][0]}", "write nothing while building; give what is needed as package data"
        )
    if answer["connected"]:
        raise ContractError(
            f"it asked the network for {answer['connected'][0]} in offline mode",
            "build random weights; published ones belong in `pretrained`, by a library that heeds HF_HUB_OFFLINE",
        )


def check_space_names_keywords_of_build(subject: Subject) -> None:
    """Every name in `space` is a keyword of `build`, and a network builds at both ends of the space and within."""
    model = model_of(subject)
    build_network(subject)
    require_space(subject, model.build, model.space)
    task = task_of(subject)
    for params in corners(model.space):
        try:
            shape = shape_of(model, task, params)
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(
                f"build({', '.join(f'{n}={v!r}' for n, v in params.items())}) raised {describe(error)}",
                "narrow `space` to values that build, and give a whole number an Int",
            ) from error
        if shape != (2, 2):
            raise ContractError(f"with {params} the network gives {shape} where (2, 2) is wanted", LOGITS)


def check_names_what_it_was_pretrained_on(subject: Subject) -> None:
    """Every name in `pretrained_on` is one that the harness knows, so that the test images can be held against it."""
    model = model_of(subject)
    try:
        find_sources(model.pretrained_on, f"model '{model.name}'")
    except UnknownNameError as error:
        raise ContractError(str(error), "docs/data.md lists the names; unknown is one") from error
    if not model.pretrained_on and model.pretrained is None:
        raise NotApplicable("it has no pretrained weights")


# --- shared by the checks --------------------------------------------------------------------------------------------


def _require_close(one: Tensor, other: Tensor, seen: str, fix: str) -> None:
    scale = max(float(one.abs().max()), 1e-3)
    difference = float((one - other).abs().max())
    if not difference <= 2e-3 * scale:
        raise ContractError(f"{seen} (by {difference:.2g} of {scale:.2g})", fix)


def _fit(subject: Subject, rate: float) -> float:
    """The lowest training loss on one small batch, which stops at the target."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    network, images = build_trainable(subject).train(), make_images(subject)
    targets = torch.tensor([[n % 2, n // 2 % 2] for n in range(BATCH)], dtype=torch.float32, device=subject.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=rate)
    lowest = math.inf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(STEPS):
            loss = binary_cross_entropy_with_logits(network(images).float(), targets)
            value = float(loss.detach())
            lowest = min(lowest, value)
            if lowest <= TARGET or not math.isfinite(value):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return lowest


def _train_by_engine(subject: Subject, images: Any, *, graphs: bool) -> tuple[dict[str, Tensor], str]:
    """Weights after one epoch of three steps, and why no graph was captured where one was asked for."""
    import torch

    from harness.components import Loss, Recipe
    from harness.training.engine import EngineOptions
    from harness.training.fit import Training
    from harness.training.objective import make_objective
    from harness.training.setup import Setup

    size = size_of(subject)
    recipe = Recipe(
        name="check", lr=1e-3, optimizer="sgd", epochs=1, batch_size=10, load_size=size, size=size,
        precision="float32", select_on="loss",
    )  # fmt: skip
    task = task_of(subject, 2, size)
    bce = Loss(name="bce", build=lambda task: torch.nn.BCEWithLogitsLoss(reduction="none"))
    objective = make_objective(bce, task, {}, torch.device(subject.device))
    setup = Setup(
        network=build_network(subject),
        objective=objective,
        placed=images,
        recipe=recipe,
        task=task,
        seed=0,
        engine=EngineOptions(compile="off", graphs=graphs),
    )
    training = Training(setup)
    for _ in training.epochs():
        pass
    return copy.deepcopy(setup.network.state_dict()), "; ".join(training.execution.notes)


def _elsewhere(subject: Subject) -> dict[str, Any]:
    """What a fresh process sees of the model; asked once."""
    from harness.testing.processes import build_elsewhere

    build_network(subject)
    if "elsewhere" not in subject.kept:
        subject.kept["elsewhere"] = build_elsewhere(subject, task_of(subject))
    return cast(dict[str, Any], subject.kept["elsewhere"])


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_builds_for_any_task,
    check_gives_logits,
    check_takes_missing_values,
    check_does_not_depend_on_the_batch,
    check_gradients_reach_every_parameter,
    check_learns,
    check_stays_finite_in_bf16,
    check_a_captured_step_equals_an_eager_one,
    check_weights_come_back_from_a_file,
    check_two_builds_with_one_seed_are_equal,
    check_loads_in_a_fresh_process,
    check_keeps_to_itself,
    check_space_names_keywords_of_build,
    check_names_what_it_was_pretrained_on,
)
