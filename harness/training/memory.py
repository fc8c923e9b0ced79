"""What memory holds: when it is too small for a batch, what is given back, and the data that a device keeps."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from harness.data.placement import Placed, Placement
    from harness.data.prepare import Prepared


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there is not enough memory, on the device or in the host."""
    torch = sys.modules.get("torch")  # where it is not imported, it has raised nothing
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def fits(attempt: Callable[[], object]) -> bool:
    """Whether an attempt stays within the memory; what it held is given back. Other errors are raised."""
    try:
        attempt()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        release()
    return True


def release() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def largest_that_fits(below: int, attempt: Callable[[int], object]) -> int:
    """The largest number of images under `below` for which an attempt stays within the memory; 0 if not even one."""
    low, high = 0, below
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(lambda size=middle: attempt(size)) else (low, middle)  # type: ignore[misc]
    return low


def largest_divisor(batch: int, at_most: int) -> int:
    """The largest divisor of a batch that is not above a bound."""
    return max(part for part in range(1, at_most + 1) if batch % part == 0)


class DeviceData:
    """The data on a device, kept from one training to the next: at most one dataset at one size."""

    def __init__(self) -> None:
        self.placed: Placed | None = None

    def place(self, prepared: Prepared, device: torch.device, placement: Placement) -> Placed:
        """Place it where it is not yet; what was there before is let go first, so that it need not fit twice."""
        from harness.data.placement import place

        if self.placed is not None and self.placed.prepared is not prepared:
            self.placed = None
            release()
        if self.placed is None:
            self.placed = place(prepared, device, placement)
        return self.placed
