"""Networks that checks are made with: built, tried once, and shown images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from harness.components import Model, Task
from harness.testing.contract import ContractError, Subject, describe
from harness.testing.samples import SIZE, make_task

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 8
ANY_TASK = (
    "take channels from task.channels and labels from len(task.labels), give every further keyword of build a default, "
    "and let a size of image be any (nn.AdaptiveAvgPool2d); or declare what it takes: "
    "inputs=Inputs(channels=3, size=224)"
)
LOGITS = "return one logit a label, (B, len(task.labels)), from the last linear layer"


def digest(network: nn.Module) -> str:
    """sha256 over names and values of a network's weights."""
    hasher = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        hasher.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hasher.hexdigest()


def build_seeded(model: Model, task: Task, seed: int = 0, params: Mapping[str, Any] | None = None) -> nn.Module:
    """A network from one seed; torch's own generator is left alone. Raises `ContractError` where it is no network."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.build(task, **(params or {}))
    if not isinstance(network, torch.nn.Module):
        raise ContractError(f"build gave {type(network).__name__}", "return a torch.nn.Module")
    if task.table:
        network.register_forward_pre_hook(partial(_add_table, len(task.table)))
    return network


def _add_table(count: int, network: nn.Module, given: tuple[Tensor]) -> tuple[Tensor, Tensor]:
    """Give a network beside each image numbers that depend on that image alone, about one in four of them unknown."""
    import torch

    (images,) = given
    places = torch.arange(1, count + 1, device=images.device)
    value = images.float().mean(dim=(1, 2, 3))[:, None] * places  # (B, F)
    known = (100 * value + places / count) % 1 >= 0.25
    return images, torch.stack([value * known, known.float()], dim=-1)  # (B, F, 2)


def model_of(subject: Subject) -> Model:
    """What is checked, which is a model."""
    return cast(Model, subject.component)


def size_of(subject: Subject) -> int:
    """Pixels of the images that it is shown."""
    return model_of(subject).inputs.size or SIZE


def channels_of(subject: Subject) -> int:
    """Channels of these images."""
    return model_of(subject).inputs.channels or 1


def task_of(subject: Subject, labels: int = 2, size: int | None = None, channels: int | None = None) -> Task:
    """A task that the model declares to take, of two labels unless told otherwise."""
    own = model_of(subject).inputs
    return make_task(channels or channels_of(subject), labels, size or size_of(subject), own.table)


def build_network(subject: Subject, task: Task | None = None, seed: int = 0) -> nn.Module:
    """The network from that seed, on the device; without a task, one of two labels.

    It is tried once. Raises `ContractError`, the same for every check, where it gives no logits at all.
    """
    if "trial" not in subject.kept:
        subject.kept["trial"] = _try(subject)
    if subject.kept["trial"] is not None:
        raise cast(ContractError, subject.kept["trial"])
    task = task or task_of(subject)
    return build_seeded(model_of(subject), task, seed).to(subject.device)


def _try(subject: Subject) -> ContractError | None:
    """Build a network and show it a few images; what is wrong with it, if anything."""
    import torch

    task = task_of(subject)
    stage = f"build, for {task.channels} channels, 2 labels and {task.size} px,"
    try:
        network = build_seeded(model_of(subject), task)
        if any(map(torch.nn.parameter.is_lazy, network.parameters())):
            fix = "run it once inside build: network(torch.zeros(2, task.channels, task.size, task.size))"
            return ContractError("it has lazy layers, whose weights begin with the first images", fix)
        network, images = network.to(subject.device).eval(), make_images(subject)
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


def build_trainable(subject: Subject) -> nn.Module:
    """The network. Raises `ContractError` where nothing of it can be trained."""
    network = build_network(subject)
    if not any(p.requires_grad for p in network.parameters()):
        raise ContractError(
            "no parameter requires a gradient", "leave requires_grad as it is: a recipe's freeze_epochs freezes"
        )
    return network


def make_images(subject: Subject, seed: int = 0) -> Tensor:
    """(8, K, S, S) float32, normalized."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    size = size_of(subject)
    return torch.randn(BATCH, channels_of(subject), size, size, generator=generator).to(subject.device)


def shape_of(model: Model, task: Task, params: Mapping[str, Any]) -> tuple[int, ...]:
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


def enliven(network: nn.Module) -> nn.Module:
    """The network with small values where its initial weights are all zero, so that no layer is silent."""
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network
