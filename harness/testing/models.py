"""Checks of a model: shapes, gradients, learning, numerics, weights, repetition, manners."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.components import Model, Task
from harness.testing.contract import ContractError, NotApplicable, Subject, corners, describe, require_space
from harness.testing.samples import SIZE, make_task, placed

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 8
TARGET = math.log(2) / 2
"""Training loss that has to be reached: half of what a network that knows nothing gets, log 2."""
STEPS = 60
RATES = (1e-3, 1e-4, 1e-2)
"""Of AdamW, each tried in turn."""
ANY_TASK = (
    "take channels from task.channels and labels from len(task.labels), give every further keyword of build a default, "
    "and let a size of image be any (nn.AdaptiveAvgPool2d) or declare it (inputs=Inputs(size=...))"
)
LOGITS = "return one logit a label, (B, len(task.labels)), from the last linear layer"


def check_builds_for_any_task(subject: Subject) -> None:
    """Builds for 1 and 3 channels, 1 and 14 labels and several sizes, and gives logits (B, C)."""
    model = _model(subject)
    _build(subject)
    sizes = (model.inputs.size,) if model.inputs.size else (SIZE, 96)
    for channels, labels, size in itertools.product((1, 3), (1, 14), sizes):
        task = make_task(channels, labels, size)
        try:
            shape = _shape(model, task, {})
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

    network = _build(subject, make_task(_channels(subject), 14, _size(subject))).eval()
    with torch.inference_mode():
        logits = network(_images(subject)).float()
    if not bool(logits.isfinite().all()):
        raise ContractError("some logits are NaN or infinite", "look for a division or a logarithm of zero in forward")
    if not bool(logits.any()):
        return  # a head that begins at zero
    ends = {"softmax": torch.allclose(logits.sum(1), torch.ones(BATCH), atol=1e-3) and bool((logits >= 0).all())}
    ends["sigmoid"] = bool(((logits >= 0) & (logits <= 1)).all())
    ends["ReLU"], ends["log-softmax"] = bool((logits >= 0).all()), bool((logits <= 0).all())
    for name, found in ends.items():
        if found:
            low, high = float(logits.min()), float(logits.max())
            raise ContractError(
                f"all outputs lie in {low:.3g}..{high:.3g}, as after a {name}",
                f"remove the {name} at the end of forward: the loss and the metrics begin at logits",
            )


def check_does_not_depend_on_the_batch(subject: Subject) -> None:
    """In evaluation mode an image gets the same logits whatever images are beside it, and twice the same."""
    import torch

    network = _lively(_build(subject)).eval()
    images, others = _images(subject), _images(subject, seed=1)
    mend = (
        "in evaluation mode use running statistics and no dropout: nn.BatchNorm2d and nn.Dropout as attributes of the "
        "network, or training=self.training for functions of torch.nn.functional"
    )
    with torch.inference_mode():
        first = network(images)[:1]
        _require_close(first, network(images)[:1], "the same batch gave other logits the second time", mend)
        around = network(torch.cat([images[:1], 3 * others[1:]]))[:1]
        _require_close(first, around, "an image's logits change with the images beside it in evaluation mode", mend)
        _require_close(first, network(images[:1]), "an image alone gets other logits than in a batch", mend)


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """Every parameter that requires a gradient gets one, and it is finite."""
    import torch

    network = _lively(_trainable(subject)).train()
    network(_images(subject)).float().square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        raise ContractError(
            f"{len(without)} parameters get no gradient, first {', '.join(without[:3])}",
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

    network = _lively(_trainable(subject)).train()
    with torch.autocast(subject.device.partition(":")[0], torch.bfloat16):
        logits = network(_images(subject))
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
    with placed(_size(subject), subject.device) as images:
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

    network = _lively(_build(subject)).eval()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file = Path(folder) / "weights.safetensors"
        save_file({n: t.detach().cpu().contiguous().clone() for n, t in network.state_dict().items()}, file)
        again = _build(subject, seed=1)
        again.load_state_dict(load_file(file))
        _require_close(
            network(_images(subject)),
            again.eval()(_images(subject)),
            "a network with loaded weights gives other logits",
            "register everything that forward uses as a parameter, a buffer (register_buffer) or a submodule",
        )


def check_two_builds_with_one_seed_are_equal(subject: Subject) -> None:
    """Built twice after the same torch.manual_seed, a network has the same weights."""
    if digest(_build(subject)) != digest(_build(subject)):
        raise ContractError(
            "two builds after one torch.manual_seed have different weights",
            "draw initial weights by torch's global generator alone, not by time, NumPy or a generator of your own",
        )


def check_loads_in_a_fresh_process(subject: Subject) -> None:
    """Another process finds it by name and builds the same weights from the same seed, as workers have to."""
    found = _elsewhere(subject)
    if found["digest"] != digest(_build(subject)):
        raise ContractError(
            "a fresh process builds other weights from the same seed",
            "let nothing of this process (environment, hash order, global state) decide on weights",
        )


def check_keeps_to_itself(subject: Subject) -> None:
    """Building and running writes no file, makes no folder and opens no connection, offline mode being on."""
    found = _elsewhere(subject)
    if found["written"]:
        raise ContractError(
            f"it wrote {found['written'][0]}", "write nothing while building; give what is needed as package data"
        )
    if found["connected"]:
        raise ContractError(
            f"it asked the network for {found['connected'][0]} in offline mode",
            "build random weights; published ones belong in `pretrained`, by a library that heeds HF_HUB_OFFLINE",
        )


def check_space_names_keywords_of_build(subject: Subject) -> None:
    """Every name in `space` is a keyword of `build`, and a network builds at both ends of the space and within."""
    model = _model(subject)
    _build(subject)
    require_space(subject, model.build, model.space)
    task = make_task(_channels(subject), 2, _size(subject))
    for params in corners(model.space):
        try:
            shape = _shape(model, task, params)
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(
                f"build({', '.join(f'{n}={v!r}' for n, v in params.items())}) raised {describe(error)}",
                "narrow `space` to values that build, and give a whole number an Int",
            ) from error
        if shape != (2, 2):
            raise ContractError(f"with {params} the network gives {shape} where (2, 2) is wanted", LOGITS)


def digest(network: nn.Module) -> str:
    """sha256 over names and values of a network's weights."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def build_seeded(model: Model, task: Task, seed: int = 0, params: Mapping[str, Any] | None = None) -> nn.Module:
    """A network from one seed; torch's own generator is left alone. Raises `ContractError` where it is no network."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.build(task, **(params or {}))
    if not isinstance(network, torch.nn.Module):
        raise ContractError(f"build gave {type(network).__name__}", "return a torch.nn.Module")
    return network


# --- shared by the checks --------------------------------------------------------------------------------------------


def _model(subject: Subject) -> Model:
    return cast(Model, subject.component)


def _size(subject: Subject) -> int:
    return _model(subject).inputs.size or SIZE


def _channels(subject: Subject) -> int:
    return _model(subject).inputs.channels or 1


def _build(subject: Subject, task: Task | None = None, seed: int = 0) -> nn.Module:
    """The network from that seed, on the device; without a task, one of two labels.

    It is tried once. Raises `ContractError`, the same for every check, where it gives no logits at all.
    """
    if "trial" not in subject.kept:
        subject.kept["trial"] = _try(subject)
    if subject.kept["trial"] is not None:
        raise cast(ContractError, subject.kept["trial"])
    task = task or make_task(_channels(subject), 2, _size(subject))
    return build_seeded(_model(subject), task, seed).to(subject.device)


def _try(subject: Subject) -> ContractError | None:
    """Build a network and show it a few images; what is wrong with it, if anything."""
    import torch

    task = make_task(_channels(subject), 2, _size(subject))
    stage = f"build, for {task.channels} channels, 2 labels and {task.size} px,"
    try:
        network = build_seeded(_model(subject), task)
        if any(map(torch.nn.parameter.is_lazy, network.parameters())):
            mend = "run it once inside build: network(torch.zeros(2, task.channels, task.size, task.size))"
            return ContractError("it has lazy layers, whose weights begin with the first images", mend)
        network, images = network.to(subject.device).eval(), _images(subject)
        stage = f"images {tuple(images.shape)} float32"
        with torch.inference_mode():
            logits = network(images)
    except ContractError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a stranger's code raises what it likes
        return ContractError(f"{stage} raised {describe(error)}", ANY_TASK)
    given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if given != (BATCH, 2):
        return ContractError(f"images {tuple(images.shape)} gave {given} where {(BATCH, 2)} is wanted", LOGITS)
    return None


def _trainable(subject: Subject) -> nn.Module:
    """The network. Raises `ContractError` where nothing of it can be trained."""
    network = _build(subject)
    if not any(p.requires_grad for p in network.parameters()):
        raise ContractError(
            "no parameter requires a gradient", "leave requires_grad as it is: a recipe's freeze_epochs freezes"
        )
    return network


def _images(subject: Subject, seed: int = 0) -> Tensor:
    """(8, K, S, S) float32, normalized."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    size = _size(subject)
    return torch.randn(BATCH, _channels(subject), size, size, generator=generator).to(subject.device)


def _shape(model: Model, task: Task, params: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of the logits of 2 images: without arithmetic where the network allows it, else by computing."""
    import torch

    def run(device: str) -> tuple[int, ...]:
        with torch.device(device), torch.inference_mode():
            network = build_seeded(model, task, params=params).eval()
            return tuple(network(torch.zeros(2, task.channels, task.size, task.size)).shape)

    try:
        return run("meta")
    except ContractError:
        raise
    except Exception:  # noqa: BLE001 - a network may need values; then it is built for real
        return run("cpu")


def _lively(network: nn.Module) -> nn.Module:
    """The network with small values where its initial weights are all zero, so that no layer is silent."""
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def _require_close(one: Tensor, other: Tensor, seen: str, mend: str) -> None:
    scale = max(float(one.abs().max()), 1e-3)
    difference = float((one - other).abs().max())
    if not difference <= 2e-3 * scale:
        raise ContractError(f"{seen} (by {difference:.2g} of {scale:.2g})", mend)


def _fit(subject: Subject, rate: float) -> float:
    """The lowest training loss on one small batch, which stops at the target."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    network, images = _trainable(subject).train(), _images(subject)
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
    from harness.training.engine import Engine
    from harness.training.fit import Training
    from harness.training.objective import make_objective
    from harness.training.setup import Setup

    size = _size(subject)
    recipe = Recipe(
        name="check", lr=1e-3, optimizer="sgd", epochs=1, batch_size=10, load_size=size, size=size,
        precision="float32", select_on="loss",
    )  # fmt: skip
    task = make_task(_channels(subject), 2, size)
    bce = Loss(name="bce", build=lambda task: torch.nn.BCEWithLogitsLoss(reduction="none"))
    objective = make_objective(bce, task, {}, torch.device(subject.device))
    setup = Setup(_build(subject), objective, images, recipe, task, 0, engine=Engine(compile="off", graphs=graphs))
    training = Training(setup)
    for _ in training.epochs():
        pass
    return copy.deepcopy(setup.network.state_dict()), "; ".join(training.execution.notes)


def _elsewhere(subject: Subject) -> dict[str, Any]:
    """What a fresh process sees of the model; asked once."""
    from harness.testing.processes import build_elsewhere

    _build(subject)
    if "elsewhere" not in subject.kept:
        subject.kept["elsewhere"] = build_elsewhere(subject, make_task(_channels(subject), 2, _size(subject)))
    return cast(dict[str, Any], subject.kept["elsewhere"])


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_builds_for_any_task,
    check_gives_logits,
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
)
