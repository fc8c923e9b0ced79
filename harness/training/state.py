"""All that changes while a network is trained, as named tensors: taken, put back, kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.training.optimization import Average

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState:
    """The network and everything that is updated with it."""

    network: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None
    generator: torch.Generator
    """The generator of batches and augmentation; networks draw from the device's own."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a step changes, by a name that stays; not copies. Random states are not among them."""
        tensors = _name_tensors("network", self.network) | _name_tensors("loss", self.loss)
        if self.average is not None:
            tensors |= _name_tensors("average", self.average.network) | {"average.updates": self.average.updates}
        for number, parameter in enumerate(self.parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{number}.{name}"] = value
        return tensors

    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer moves, in its order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def take(self) -> Snapshot:
        """A copy of everything, random states included."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors().items()}
        return Snapshot(tensors, self._random_states(), self.scaler.state_dict())

    @torch.no_grad()
    def put_back(self, snapshot: Snapshot) -> None:
        """Everything as it was, in place. What the optimizer has begun to keep since is set to 0, as it begins."""
        for name, tensor in self.tensors().items():
            kept = snapshot.tensors.get(name)
            tensor.zero_() if kept is None else tensor.copy_(kept)
        self.optimizer.zero_grad(set_to_none=True)
        self._put_back_the_rest(snapshot)

    @torch.no_grad()
    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot made in another process, before the first step.

        Raises `IndexError`, `KeyError` or `RuntimeError` where it is of another network.
        """
        self._load_optimizer(snapshot.tensors)
        for name, tensor in self.tensors().items():
            tensor.copy_(snapshot.tensors[name])
        self._put_back_the_rest(snapshot)

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        """Through torch's own door, since an optimizer keeps nothing before its first step."""
        state: dict[int, dict[str, Tensor]] = {}
        parameters = self.parameters()
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".")
                state.setdefault(int(number), {})[key] = _lay_out(tensor, parameters[int(number)])
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.optimizer.param_groups[0]["lr"] = rate

    def _put_back_the_rest(self, snapshot: Snapshot) -> None:
        if snapshot.scaler:
            self.scaler.load_state_dict(dict(snapshot.scaler))
            # what a step that broke off inside of the optimizer left: its gradients count as unscaled already
            self.scaler._per_optimizer_states.clear()  # noqa: SLF001 - torch clears it only where a step ends
            for name in ("grad_scale", "found_inf"):
                vars(self.optimizer).pop(name, None)
        self.generator.set_state(snapshot.random["generator"].cpu())
        torch.set_rng_state(snapshot.random["host"].cpu())
        if "device" in snapshot.random:
            torch.cuda.set_rng_state(snapshot.random["device"].cpu(), self.generator.device)

    def _random_states(self) -> dict[str, Tensor]:
        states = {"generator": self.generator.get_state(), "host": torch.get_rng_state()}
        if self.generator.device.type == "cuda":
            states["device"] = torch.cuda.get_rng_state(self.generator.device)
        return states


def _name_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those too that no state dict has (`persistent=False`): a step changes them as well."""
    return {f"{prefix}.{name}": tensor for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def _lay_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor as it lies in memory where an optimizer makes it: like its parameter, such as channels last.

    A file keeps values alone. Fused optimizers walk through memory, where another layout pairs wrong elements. Raises
    `RuntimeError` for the state of another parameter.
    """
    if not tensor.dim():  # a count of steps
        return tensor
    if tensor.shape != parameter.shape:
        raise RuntimeError(f"an optimizer's state of {tuple(tensor.shape)} for a parameter of {tuple(parameter.shape)}")
    return torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training's state at one moment."""

    tensors: Mapping[str, Tensor]
    random: Mapping[str, Tensor]
    """States of random generators, uint8."""
    scaler: Mapping[str, Any]
    """The state of the loss scaling that fp16 needs, as plain data; empty without."""
