"""What a network costs: arithmetic an image, energy."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import torch

from harness.components import Task
from harness.training.task import make_example

if TYPE_CHECKING:
    from torch import nn


def count_flops(network: nn.Module, task: Task) -> int | None:
    """Floating-point operations of one forward pass of one image, a multiplication and an addition being two.

    Counted by torch from the operations' shapes, on tensors without content; None for a network that needs content.
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        hollow = copy.deepcopy(network).to("meta").eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            hollow(*make_example(task, 1, "meta"))
    except Exception:  # noqa: BLE001 - whatever an unusual network does on such tensors, it can still be trained
        return None
    return int(counter.get_total_flops()) or None


class EnergyMeter:
    """Joules that a GPU has used since the meter was made, by NVML: the whole card's, whoever uses it."""

    def __init__(self, device: torch.device) -> None:
        self.handle: Any = None
        if device.type == "cuda":
            with contextlib.suppress(Exception):  # no NVML, or a card that does not count: there is no figure then
                import pynvml

                pynvml.nvmlInit()
                uuid = torch.cuda.get_device_properties(device).uuid
                self.handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        self.before = self._millijoules()

    def joules(self) -> float | None:
        """Joules used since the meter was made; None where the device does not tell."""
        now = self._millijoules()
        return None if now is None or self.before is None else (now - self.before) / 1000

    def _millijoules(self) -> int | None:
        if self.handle is None:
            return None
        import pynvml

        try:
            return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except pynvml.NVMLError:
            return None
