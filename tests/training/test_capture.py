"""Capturing leaves no trace, and what is captured is the same training; with a tape for a graph, on a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness import Augment, Loss, Schedule
from harness.data.placement import place
from harness.training import capture as capturing
from harness.training.capture import NotCapturableError, broken_capture, capture
from harness.training.engine import EngineOptions
from harness.training.fit import Training
from harness.training.objective import make_objective
from harness.training.preparation import prepare_step
from harness.training.setup import Setup
from tests.training import tape

BCE = nn.functional.binary_cross_entropy_with_logits


@pytest.fixture
def begin(prepared, recipe, task, monkeypatch):
    """Make a training, captured or not."""
    for module in ("preparation", "prediction"):
        monkeypatch.setattr(f"harness.training.{module}.decide_graph", lambda engine, device: engine.graphs)
    monkeypatch.setattr("harness.training.step.capture", tape.capture)
    monkeypatch.setattr("harness.training.prediction.capture", tape.capture)

    def make(*, captured: bool, placement: Any = "auto", loss: Any = None, **changes: Any) -> Training:
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 12 * 12, 3),
        )  # fmt: skip
        loss = loss or Loss(name="bce", build=lambda task: lambda x, y: BCE(x, y, reduction="none"))
        changed = dataclasses.replace(recipe, select_on="loss", epochs=4, **changes)
        placed = place(prepared, torch.device("cpu"), placement)
        objective, engine = make_objective(loss, task, {}, placed.device), EngineOptions(graphs=captured)
        training = Training(
            Setup(network=network, objective=objective, placed=placed, recipe=changed, task=task, seed=0, engine=engine)
        )
        training.predictor.batch = 5 if captured else 256
        return training

    return make


def capture_step(training: Training) -> None:
    prepare_step(training.step, training.execution, training.batch_size, training.state.take())
    assert training.execution.step == "graph"


def results(training: Training) -> list[tuple[float, float, float]]:
    return [(epoch.lr, epoch.train_loss, epoch.val_loss) for epoch in training.epochs()]


EVERYTHING: dict[str, Any] = {
    "average_decay": 0.9,
    "gradient_clip": 0.5,
    "micro_batch": 4,
    "schedule": Schedule(kind="one-cycle"),
    "augment": Augment(flip=True, rotation=5, crop_scale=(0.5, 1.0), brightness=0.1),
}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        EVERYTHING,
        {"precision": "fp16"},
        {"freeze_epochs": 2, "average_decay": 0.9},
        {"schedule": Schedule(kind="plateau", patience=0, factor=0.5), "gradient_clip": 0.1},
    ],
)
def test_a_captured_training_is_the_eager_one_bit_for_bit(begin, optimizer, changes):
    """Three runs to warm up, one to look for obstacles, one to record: none of them leaves anything behind."""
    eager = begin(captured=False, optimizer=optimizer, **changes)
    expected = results(eager)
    captured = begin(captured=True, optimizer=optimizer, **changes)
    assert results(captured) == expected
    assert captured.execution.step == "graph"
    assert captured.predictor.graph is not None
    for name, tensor in captured.setup.network.state_dict().items():
        assert torch.equal(tensor, eager.setup.network.state_dict()[name]), name


class Counting(nn.Module):
    """A loss that changes with every call, which only Python counts."""

    calls = 0

    def forward(self, logits, targets):
        self.calls += 1
        return self.calls * BCE(logits, targets, reduction="none")


def test_the_tape_freezes_what_python_counts_as_a_graph_does(begin):
    """Without this, a test with a tape would pass whatever a real graph freezes."""
    loss = Loss(name="counting", build=lambda task: Counting())
    eager, captured = results(begin(captured=False, loss=loss)), results(begin(captured=True, loss=loss))
    assert captured != eager


def test_the_tape_freezes_a_rate_that_is_bound_to_another_number(begin):
    training = begin(captured=True, optimizer="sgd", momentum=0.0)
    index = training.setup.placed.splits["train"][: training.batch_size]
    capture_step(training)
    weight = training.setup.network[0].weight
    training.state.optimizer.param_groups[0]["lr"] = torch.tensor(0.0)  # bound to a name: the graph never sees it
    before = weight.detach().clone()
    training.step(index, None)
    assert not torch.equal(weight, before)
    training.rate.fill_(0.0)  # written to the memory that the graph reads
    before = weight.detach().clone()
    training.step(index, None)
    assert torch.equal(weight, before)


def test_a_captured_training_on_streamed_images_is_the_same(begin):
    assert results(begin(captured=True, placement="streamed")) == results(begin(captured=False))


def test_the_last_batch_of_a_captured_prediction_is_cut_to_its_length(begin):
    eager, captured = begin(captured=False), begin(captured=True)
    for split in ("train", "val", "test"):
        found = captured.predictor.logits(split)
        torch.testing.assert_close(found, eager.predictor.logits(split), atol=1e-6, rtol=1e-5)
        assert len(found) == len(captured.setup.placed.splits[split])


def refuse(body, device, rewind, generators=()):
    body()
    rewind()
    raise NotCapturableError("RuntimeError: no such operation while capturing")


def test_what_cannot_be_captured_after_all_goes_on_eagerly_and_the_record_says_why(begin, monkeypatch):
    eager = results(begin(captured=False))
    training = begin(captured=True)
    for module in ("step", "prediction"):
        monkeypatch.setattr(f"harness.training.{module}.capture", refuse)
    assert results(training) == eager
    assert (training.execution.step, training.predictor.graph) == ("eager", None)
    reason = "could not be captured in a CUDA graph: RuntimeError: no such operation while capturing"
    assert training.execution.notes == [f"the step {reason}", f"prediction {reason}"]


class Asking(nn.Module):
    """A loss that asks the device for a value, which a captured step must not."""

    def forward(self, logits, targets):
        loss = BCE(logits, targets, reduction="none")
        return loss * (1 + (loss.sum().item() > 1e9))


def test_a_trial_that_finds_an_obstacle_changes_no_bit(begin):
    """The trial trains a step, which is taken back."""
    loss = Loss(name="asking", build=lambda task: Asking())
    eager = results(begin(captured=False, loss=loss))
    tried = begin(captured=True, loss=loss)
    assert results(tried) == eager
    assert tried.execution.step == "eager"
    assert tried.execution.notes == [
        "the step could not be captured in a CUDA graph: it asks the device for a value (_local_scalar_dense)"
    ]


def test_a_prediction_that_is_prepared_again_is_told_of_once(begin, monkeypatch):
    monkeypatch.setattr("harness.training.prediction.capture", refuse)
    training = begin(captured=True)
    for _ in range(2):
        training.predictor.prepared = False
        training.predictor.logits("val")
    (note,) = training.execution.notes
    assert note.startswith("prediction could not be captured in a CUDA graph: ")


def test_step_and_prediction_are_compiled_where_they_are_captured(begin, monkeypatch):
    entered = []

    @contextlib.contextmanager
    def side_stream(device):
        entered.append("in")
        yield
        entered.append("out")

    def compile_network(network, attempt, *, asked):
        entered.append("compile")
        attempt(network)
        return network, None

    for module in ("preparation", "prediction"):
        monkeypatch.setattr(f"harness.training.{module}.side_stream", side_stream)
    for module in ("step", "prediction"):
        monkeypatch.setattr(f"harness.training.{module}.compile_network", compile_network)
    monkeypatch.setattr("harness.training.fit.decide_compile", lambda *_: True)
    training = begin(captured=True)
    next(training.epochs())
    assert entered == ["in", "compile", "out"] * 2


# --- a capture that breaks -------------------------------------------------------------------------------------------


class PretendedCuda:
    """As much of CUDA as a capture touches: streams, a pool that is under way until it is ended, generators.

    Generators believe that they are captured until a capture ends well, as in torch 2.11.
    """

    def __init__(
        self,
        failure: BaseException | None,
        at_end: BaseException | None,
        pool_ends: bool = False,
        for_good: bool = False,
    ) -> None:
        self.failure, self.at_end, self.pool_ends, self.for_good = failure, at_end, pool_ends, for_good
        self.current: Any = "default"
        self.pools: dict[str, str] = {}
        self.waits: list[tuple[Any, Any]] = []
        self.generator: Any = None
        self.believing: list[Any] = []
        self.renewed: list[Any] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        outer = self

        class Stream:
            def __init__(self, device: Any) -> None:
                pass

            def wait_stream(self, other: Any) -> None:
                outer.waits.append((self, other))

        @contextlib.contextmanager
        def stream(chosen):
            before, outer.current = outer.current, chosen
            try:
                yield
            finally:
                outer.current = before

        class graph:  # noqa: N801 - torch calls it so
            """Like torch's: where ending the capture fails, the stream stays current and the pool under way."""

            def __init__(self, graph, pool="of its own", *, stream, capture_error_mode):
                self.graph, self.pool, self.stream = graph, pool, stream

            def __enter__(self):
                self.before, outer.current = outer.current, self.stream
                outer.pools[self.pool] = "under way"
                outer.believing = [outer.generator, *self.graph.registered]

            def __exit__(self, *args):
                if outer.at_end is not None and (outer.for_good or self.pool == "pool"):
                    if outer.pool_ends:
                        outer.pools[self.pool] = "ended"
                    raise outer.at_end
                outer.pools[self.pool] = "ended"
                outer.current = self.before
                outer.believing = []

        class Graph:
            def __init__(self) -> None:
                self.registered: list[Any] = []
                self.register_generator_state = self.registered.append

        def end(device, pool):
            if outer.pools[pool] != "under way":
                raise RuntimeError("not currently recording")
            outer.pools[pool] = "ended"

        default = Stream(None)
        self.current = self.default = default
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: outer.current)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch, "zeros", lambda *shape, device: None)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        monkeypatch.setattr(torch.cuda, "default_generators", [self.make_generator()])
        self.generator = torch.cuda.default_generators[0]
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda device, pool: outer.pools.pop(pool), raising=False)
        monkeypatch.setattr(capturing, "_broken", [])
        capturing._make_stream.cache_clear()

    def make_generator(self) -> Any:
        """A CPU's generators know no graphs: what is asked of them is seen."""
        generator = torch.Generator().manual_seed(5)
        torch.rand(3, generator=generator)
        return SimpleNamespace(clone_state=generator.clone_state, graphsafe_set_state=self.renewed.append)


@pytest.fixture
def pretend_cuda(monkeypatch):
    """Pretend that there is a GPU on which a capture breaks off; what it leaves is looked at."""

    def make(*, failure: BaseException | None = None, at_end: BaseException | None = None, **kind: Any):
        pretended = PretendedCuda(failure, at_end, **kind)
        pretended.install(monkeypatch)
        return pretended

    yield make
    capturing._make_stream.cache_clear()


GPU = torch.device("cuda", 0)
INVALID = RuntimeError("CUDA error: operation failed due to a previous error during capture")


def attempt(pretended: PretendedCuda, seen: list[str]) -> Any:
    runs = iter(range(100))

    def body() -> None:
        assert pretended.current is not pretended.default, "it is tried on the side stream"
        if next(runs) == capturing.WARM_UP and pretended.failure is not None:
            raise pretended.failure
        seen.append("run")

    return capture(body, GPU, lambda: seen.append("rewind"), [pretended.make_generator()])


def test_a_capture_that_breaks_leaves_nothing_under_way(pretend_cuda):
    pretended = pretend_cuda(at_end=INVALID)
    seen: list[str] = []
    with pytest.raises(NotCapturableError, match="previous error during capture"):
        attempt(pretended, seen)
    assert "pool" not in pretended.pools, "the pool was ended and released"
    assert pretended.current is pretended.default, "the side stream is left"
    assert seen == ["run"] * 3 + ["rewind", "run", "rewind"]
    assert pretended.believing == [], "or a graph that was captured before could not be replayed"
    assert pretended.renewed == [], "and would draw from a state of its own"
    first, *_, last = pretended.waits
    assert first[1] is pretended.default, "the side stream waits for what was under way"
    assert last == (pretended.default, first[0]), "and is waited for in the end"
    assert "previous error during capture" in (broken_capture() or "")


def test_the_reason_is_what_broke_the_capture_not_that_it_could_not_end(pretend_cuda):
    pretended = pretend_cuda(failure=RuntimeError("operation not permitted when stream is capturing"), at_end=INVALID)
    with pytest.raises(NotCapturableError, match="operation not permitted"):
        attempt(pretended, [])
    assert pretended.current is pretended.default


def test_a_pool_that_torch_has_ended_is_left_to_its_graph(pretend_cuda):
    pretended = pretend_cuda(at_end=INVALID, pool_ends=True)
    with pytest.raises(NotCapturableError):
        attempt(pretended, [])
    assert pretended.pools["pool"] == "ended", "releasing it twice would end the process"


def test_where_nothing_can_be_captured_any_more_generators_get_a_copy_of_their_state(pretend_cuda):
    pretended = pretend_cuda(at_end=INVALID, for_good=True)
    with pytest.raises(NotCapturableError):
        attempt(pretended, [])
    default, _ = pretended.renewed
    assert torch.equal(torch.rand(3, generator=default), torch.rand(3, generator=pretended.generator.clone_state()))


def test_too_little_memory_for_a_capture_is_told_as_that(pretend_cuda):
    pretended = pretend_cuda(failure=torch.OutOfMemoryError("CUDA out of memory"), at_end=INVALID)
    seen: list[str] = []
    with pytest.raises(torch.OutOfMemoryError):
        attempt(pretended, seen)
    assert pretended.current is pretended.default
    assert "pool" not in pretended.pools
    assert seen[-1] == "rewind"


def test_an_interruption_of_a_capture_stays_one(pretend_cuda):
    pretended = pretend_cuda(failure=KeyboardInterrupt(), at_end=INVALID)
    with pytest.raises(KeyboardInterrupt):
        attempt(pretended, [])
    assert pretended.current is pretended.default


def test_a_capture_that_succeeds_is_no_reason_to_replace_the_process(pretend_cuda):
    pretended = pretend_cuda()
    assert attempt(pretended, []) is not None
    assert broken_capture() is None
    assert pretended.current is pretended.default


def test_one_stream_serves_trial_warm_up_and_capture(pretend_cuda, monkeypatch):
    pretended, used = pretend_cuda(), []
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    capturing.find_obstacle(lambda: used.append(pretended.current), GPU)
    capture(lambda: used.append(pretended.current), GPU, lambda: None)
    assert len(set(map(id, used))) == 1
    assert used[0] is not pretended.default
    assert modes == ["error", 0], "waiting is forbidden while it is tried, and allowed again"


def test_what_torch_refuses_because_it_waits_is_an_obstacle_by_name(pretend_cuda, monkeypatch):
    pretend_cuda()
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    class Refusing(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if modes[-1:] == ["error"] and func.overloadpacket.__name__ == "bincount":
                raise RuntimeError("called a synchronizing CUDA operation")
            return func(*args, **(kwargs or {}))

    with Refusing():
        found = capturing.find_obstacle(lambda: torch.bincount(torch.tensor([1, 2])), GPU)
    assert found == "it waits for the device (bincount)"
    assert modes == ["error", 0]


def test_another_error_of_a_trial_is_raised_and_waiting_is_allowed_again(pretend_cuda, monkeypatch):
    pretended = pretend_cuda()
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with pytest.raises(RuntimeError, match="shapes"):
        capturing.find_obstacle(lambda: torch.ones(2, 3) @ torch.ones(2, 3), GPU)
    assert modes == ["error", 0]
    assert pretended.current is pretended.default


def test_waiting_outside_of_any_operation_is_an_obstacle_too(pretend_cuda, monkeypatch):
    pretend_cuda()
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)

    def wait() -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    assert capturing.find_obstacle(wait, GPU) == "it waits for the device"


def test_a_broken_capture_keeps_nothing_alive(pretend_cuda):
    pretended = pretend_cuda(at_end=INVALID)
    gc.collect()
    gc.disable()
    try:

        class Thing:
            pass

        thing = Thing()
        gone = weakref.ref(thing)
        with contextlib.suppress(NotCapturableError):
            capture(lambda kept=thing: None, GPU, lambda: None)  # type: ignore[misc]
        del thing
        pretended.at_end = None
        INVALID.__traceback__ = None
        assert gone() is None
    finally:
        gc.enable()
