"""The resume state of a training under way: one file without pickle, written whole after every epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import write_atomically
from harness.results.layout import RESUME
from harness.training.state import Snapshot

if TYPE_CHECKING:
    from torch import Tensor

DIGEST = "digest"
"""Where the metadata hold the digest of everything else in the file."""


@dataclass(frozen=True, eq=False)
class Saved:
    """A training after one of its epochs."""

    snapshot: Snapshot
    best: Mapping[str, Tensor]
    """The best epoch's weights, by the network's own names."""
    progress: Mapping[str, Any]
    """Plain data: what the epochs came to, and what the schedule remembers."""


class Checkpoint:
    """Where a training's resume state lies, and for which circumstances it is good."""

    def __init__(
        self, folder: Path, circumstances: Mapping[str, str], guard: Callable[[], None] = lambda: None
    ) -> None:
        self.path = folder / RESUME
        self.circumstances = dict(circumstances)
        """What a state must have in common with the training that goes on from it."""
        self.guard = guard
        """Asked before the state is written; raises where the training is another process's by now."""

    def write(self, saved: Saved) -> None:
        """Replace the resume state."""
        self.guard()
        from safetensors.torch import save_file

        groups = {"state": saved.snapshot.tensors, "random": saved.snapshot.random, "best": saved.best}
        tensors = {
            f"{group}/{name}": tensor.detach().to("cpu", copy=True).contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        about = {
            "circumstances": self.circumstances,
            "progress": saved.progress,
            "scaler": dict(saved.snapshot.scaler),
        }
        metadata = {name: json.dumps(value) for name, value in about.items()}
        metadata[DIGEST] = digest_state(tensors, metadata)
        write_atomically(self.path, lambda path: save_file(tensors, path, metadata))

    def read(self) -> tuple[Saved | None, str | None]:
        """The resume state, or none; where there is one that is of no use, why."""
        from safetensors import safe_open

        if not self.path.exists():
            return None, None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            if metadata.pop(DIGEST, "") != digest_state(tensors, metadata):
                return None, "it is damaged: what it holds is not what was written"
            about = {name: json.loads(value) for name, value in metadata.items()}
            differing = [
                f"{name} {about['circumstances'].get(name)}, now {value}"
                for name, value in self.circumstances.items()
                if about["circumstances"].get(name) != value
            ]
            if differing:
                return None, f"it was made with {'; '.join(differing)}"
            groups: dict[str, dict[str, Tensor]] = {"state": {}, "random": {}, "best": {}}
            for name, tensor in tensors.items():
                group, _, member = name.partition("/")
                groups[group][member] = tensor
            snapshot = Snapshot(groups["state"], groups["random"], about["scaler"])
            return Saved(snapshot, groups["best"], about["progress"]), None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, training can begin again
            return None, f"it cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})"

    def remove(self) -> None:
        """Remove the resume state: the training is over."""
        self.path.unlink(missing_ok=True)


def digest_state(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Make the digest of tensors on the CPU, with their names, types and shapes, and of what is said of them."""
    import torch

    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
