"""`ray`: combinations run as tasks of a Ray cluster, on any of its nodes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pkgutil
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness import Executor, Needs, UsageError, hookimpl

PASSED_ON = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE")
"""Variables that mean the same on each node. A node's own say where its data and its cache are."""
HEAD = "node:__internal_head__"
"""A resource that only the node with the cluster's own services has."""
TRACE = 0.001
"""How much a task takes of a resource that is there to say which nodes it may run on."""
OBJECTS = 2**28
"""Bytes of shared memory for results in a cluster that is started here; what is more lies on its disk."""


def open_ray(
    needs: Needs,
    *,
    address: str = "",
    cpus: float = 1,
    gpus: float | None = None,
    resource: str = "",
    retries: int = 3,
    namespace: str = "harness",
) -> RayEngine:
    """Join a Ray cluster, from one of its nodes.

    - `address`: Where the cluster's head answers, such as `10.0.0.1:6379`. Without it, the cluster that `RAY_ADDRESS`
      names or that runs on this machine; where there is none, one is started here, and ends with the command.
    - `cpus`: CPU cores for each job, which also computes with as many threads.
    - `gpus`: GPUs for each job; 0.5 lets two share one. By default 1, or 0 with `--device cpu`.
    - `resource`: A resource that a node must have, such as `a100`, as its `ray start --resources` says.
    - `retries`: How often Ray starts a job again whose node or process was lost.
    - `namespace`: The cluster's namespace in which jobs are found again.

    Raises `UsageError` where no cluster answers, and where no node has what a worker needs.
    """
    if cpus < 0 or retries < 0 or (gpus is not None and gpus < 0):
        raise UsageError(f"ray: cpus, gpus and retries must be 0 or more, got {cpus:g}, {gpus}, {retries}")
    wanted = {"CPU": float(cpus), "GPU": float(needs.gpus if gpus is None else gpus)}
    if resource:
        wanted[resource] = TRACE
    joined, lasting = _join(address)
    engine = Cluster if lasting else RayEngine
    return engine(needs, {name: share for name, share in wanted.items() if share}, retries, namespace, joined)


def _join(address: str) -> tuple[bool, bool]:
    """Connect this process to a cluster; gives whether it was not connected already, and whether the cluster lasts."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        own = ray.get_runtime_context().gcs_address
        if address not in ("", "auto", own):
            raise UsageError(f"ray: this process is in the cluster at {own} already; a process can be in one alone")
        return False, True
    known = address or os.environ.get("RAY_ADDRESS", "")
    if known not in ("", "auto", "local"):
        _require_answer(known)
    # Unless the job is said to be a client's, Ray looks into the current folder first for each worker's modules; what a
    # board came with may lie there.
    job = ray.job_config.JobConfig(_client_job=True)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "job_config": job}
    here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECTS, "_node_ip_address": "127.0.0.1"}
    try:
        with contextlib.suppress(*([ConnectionError] if known == "" else [])):
            if known != "local":
                ray.init(known or "auto", **quiet)
                return True, True
        ray.init("local", **quiet, **here)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(f"ray: {known or 'this machine'}: {' '.join(str(error).split())}") from None
    return True, False


def _require_answer(address: str) -> None:
    """Raise `UsageError` where nothing listens; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"ray: address must be HOST:PORT, got '{address}'")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(
            f"ray: no cluster answers at {address} ({error.strerror or error}); start its head by ray start --head"
        ) from None


def perform(function: str, arguments: tuple[Any, ...]) -> Any:
    """Call the function `MODULE:NAME`: what a task of Ray does."""
    return pkgutil.resolve_name(function)(*arguments)


class Keeper:
    """The owner of a board's tasks: an actor on the cluster's head, which stays when the submitter leaves.

    A task ends with its owner, and its result is kept as long as its owner has a reference to it.
    """

    def __init__(self) -> None:
        import ray

        self.tasks: dict[str, Any] = {}
        # A process has run one task when it ends, so that nothing of one is left for the next.
        self.perform = ray.remote(max_calls=1)(perform)

    def start(self, job: str, options: Mapping[str, Any], function: str, arguments: tuple[Any, ...]) -> list[Any]:
        """Submit a task; gives the reference to its result."""
        self.tasks[job] = self.perform.options(name=job, **options).remote(function, arguments)
        return [self.tasks[job]]

    def find(self, job: str) -> list[Any]:
        """Give the reference to a task's result, or nothing."""
        return [self.tasks[job]] if job in self.tasks else []

    def cancel(self, job: str) -> None:
        """End a task, with its process where it runs."""
        import ray

        if job in self.tasks:
            ray.cancel(self.tasks[job], force=True)

    def forget(self, jobs: Iterable[str]) -> int:
        """Let go of results; gives how many tasks are left."""
        for job in jobs:
            self.tasks.pop(job, None)
        return len(self.tasks)


class RayFuture:
    """A task, here or there."""

    def __init__(self, engine: RayEngine, job: str, reference: Any) -> None:
        self.job = job
        self._engine, self._reference = engine, reference

    def done(self) -> bool:
        """Whether it is over, well or not."""
        import ray

        return bool(ray.wait([self._reference], timeout=0, fetch_local=False)[0])

    def result(self, timeout: float | None = None) -> Any:
        """Give what the function returned, or raise what it raised or what ended it."""
        import ray

        try:
            return ray.get(self._reference, timeout=timeout)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def cancel(self) -> bool:
        """End it, also where it runs already, with what it started."""
        import ray

        if self.done():
            return False
        keeper = self._engine.find_keeper(self.job)
        if keeper is not None:
            ray.get(keeper.cancel.remote(self.job))
        return True


class RayEngine:
    """A Ray cluster that ends with this process."""

    def __init__(self, needs: Needs, wanted: Mapping[str, float], retries: int, namespace: str, joined: bool) -> None:
        self.namespace, self._joined = namespace, joined
        self.over: set[str] = set()
        """Jobs whose results the cluster need not keep."""
        folder = hashlib.sha256(str(needs.folder.resolve()).encode()).hexdigest()[:8]
        self._keeper = f"{needs.name}-{folder}"
        self._options = {
            "num_cpus": wanted.get("CPU", 0),
            "num_gpus": wanted.get("GPU", 0),
            "resources": {name: share for name, share in wanted.items() if name not in ("CPU", "GPU")},
            "max_retries": retries,
            "runtime_env": {"env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ}},
        }
        try:
            self.capacity: int | None = _count(wanted)
        except UsageError:
            self.close()
            raise

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> RayFuture:
        """Run a function of a module on plain arguments."""
        import ray

        keeper: Any = ray.remote(Keeper).options(
            name=self._keeper,
            namespace=self.namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources={HEAD: TRACE},
            # A task that is too large for a node would be tried for ever.
            runtime_env={"env_vars": {"RAY_task_oom_retries": "0"}},
        )
        job = f"{self._keeper}/{secrets.token_hex(4)}"
        named = f"{function.__module__}:{function.__qualname__}"
        [reference] = ray.get(keeper.remote().start.remote(job, self._options, named, arguments))
        return RayFuture(self, job, reference)

    def find_keeper(self, job: str) -> Any | None:
        """The actor that owns a job."""
        import ray

        try:
            return ray.get_actor(job.rpartition("/")[0], namespace=self.namespace)
        except ValueError:
            return None

    def explain(self, error: BaseException) -> str | None:
        """What an error of Ray means for the work that it ended."""
        from ray import exceptions

        if isinstance(error, exceptions.OutOfMemoryError):
            return "out_of_memory"
        if isinstance(error, exceptions.WorkerCrashedError):
            return "crashed"
        lost = (
            exceptions.NodeDiedError,
            exceptions.RayActorError,
            exceptions.ObjectLostError,
            exceptions.LocalRayletDiedError,
            exceptions.TaskCancelledError,
        )
        return "interrupted" if isinstance(error, lost) else None

    def forget(self, job: str) -> None:
        """Have the cluster keep a job's result no longer than this engine is open."""
        self.over.add(job)

    def close(self) -> None:
        """Leave the cluster. What runs goes on, and results are kept that were not to be forgotten."""
        import ray

        if not ray.is_initialized():
            return
        for job in sorted(self.over):
            keeper = self.find_keeper(job)
            if keeper is not None and not ray.get(keeper.forget.remote([job])):
                ray.kill(keeper)
        self.over.clear()
        if self._joined:
            ray.shutdown()


class Cluster(RayEngine):
    """A Ray cluster that outlives this process."""

    def find(self, job: str) -> RayFuture | None:
        """Give what an earlier process has submitted, where the cluster still knows it."""
        import ray

        keeper = self.find_keeper(job)
        found = ray.get(keeper.find.remote(job)) if keeper is not None else []
        return RayFuture(self, job, found[0]) if found else None


def _count(wanted: Mapping[str, float]) -> int | None:
    """How many workers the cluster has room for; None where they take nothing that is counted.

    Raises `UsageError` where no node has what one of them needs.
    """
    import ray

    counted = {name: share for name, share in wanted.items() if share != TRACE}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    able = [node for node in nodes if all(node.get(name, 0) >= share for name, share in wanted.items())]
    if not able:
        needed = ", ".join(f"{name} {share:g}" for name, share in wanted.items())
        have = "; ".join(
            ", ".join(f"{name} {share:g}" for name, share in sorted(node.items()) if name in {"CPU", "GPU", *wanted})
            for node in nodes
        )
        hint = "; --device cpu asks for no GPU" if "GPU" in wanted else ""
        raise UsageError(f"ray: no node has what a worker needs ({needed}); the nodes have: {have or 'nothing'}{hint}")
    if not counted:
        return None
    return sum(min(int(node[name] // share) for name, share in counted.items()) for node in able)


@hookimpl
def harness_executors() -> Iterable[Executor]:
    """Ray."""
    return [Executor(name="ray", open=open_ray, about="tasks of a Ray cluster, here or on many nodes")]
