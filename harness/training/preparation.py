"""What has to be found out before steps are fast: whether they compile, whether they can be captured, what fits."""

from __future__ import annotations

import time

from harness.errors import OutOfMemoryError, PluginError
from harness.training.capture import side_stream
from harness.training.engine import Execution, decide_graph
from harness.training.matching import head_names
from harness.training.memory import largest_divisor, largest_that_fits, release
from harness.training.setup import Setup
from harness.training.state import Snapshot
from harness.training.step import Step
from harness.training.timer import wait_for


def set_mode(setup: Setup, *, frozen: bool) -> None:
    """Training mode; of a frozen network only the head learns, and layers with statistics keep them."""
    network = setup.network.train()
    head = head_names(network, len(setup.task.labels)) if frozen else set()
    if frozen and not head:
        raise PluginError(
            "freeze_epochs needs a layer that makes the logits, with one row for each label; the network has none"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not frozen or name in head)
    if not frozen:
        return
    for path, module in network.named_modules():
        statistics = [name for name, _ in module.named_buffers(path, recurse=False)]
        if statistics and not head.intersection(statistics):
            module.eval()


def prepare_step(step: Step, execution: Execution, batch_size: int, snapshot: Snapshot) -> None:
    """Compile the step and capture it, as far as the engine is told to and it can be; the training is as it was.

    Raises `PluginError` where a network that has to be compiled cannot be.
    """
    started = time.perf_counter()
    setup, device = step.setup, step.setup.placed.device
    index = setup.placed.splits["train"][:batch_size]
    step.drop_graph()  # of the network as it was before it was thawed

    def rewind() -> None:
        step.state.put_back(snapshot)

    with side_stream(device):
        if execution.compiled:
            obstacle = step.compile(index, rewind)
            if obstacle is not None:
                execution.compiled = False
                execution.notes.append(f"the network could not be compiled: {obstacle}")
        if decide_graph(setup.engine, device):
            obstacle = step.capture(index, rewind)
            execution.step = "graph" if obstacle is None else "eager"
            if obstacle is not None:
                execution.notes.append(f"the step could not be captured in a CUDA graph: {obstacle}")
    wait_for(device)
    execution.preparation_seconds += time.perf_counter() - started


def start_over(step: Step, snapshot: Snapshot) -> None:
    """Put everything back after the memory was too small, and give back what was taken."""
    step.drop_graph()
    step.state.put_back(snapshot)
    release()


def make_room(step: Step, execution: Execution, batch_size: int, snapshot: Snapshot) -> None:
    """Split a batch that the memory is too small for if the recipe says so; everything stays as it was.

    Raises `OutOfMemoryError` with the largest batch that would fit.
    """
    setup, too_many = step.setup, execution.micro_batch or batch_size
    largest = largest_that_fits(too_many, step.try_gradients)
    step.state.put_back(snapshot)
    if setup.recipe.micro_batch != "auto" or largest == 0:
        what = f"{too_many} images of {setup.recipe.size} px"
        if largest == 0:
            raise OutOfMemoryError(f"the memory is too small for {what}, and even for one; set recipe.size lower")
        raise OutOfMemoryError(
            f"the memory is too small for {what}, {largest} would fit: set recipe.batch_size to that, or "
            'recipe.micro_batch = "auto" to split batches'
        )
    execution.micro_batch = largest_divisor(batch_size, largest)
    step.split_batches(execution.micro_batch)
    execution.notes.append(
        f"the memory is too small for {too_many} images at a time: batches of {batch_size} are split into "
        f"parts of {execution.micro_batch}"
    )
