"""This process itself as what runs a board's combos, one after another: a plugin that crashes ends everything."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from harness.errors import ClaimLostError
from harness.execution.combo import run_combo
from harness.execution.dispatch import POLL, Dispatch, RunningCombo
from harness.execution.events import ProcessUnfit
from harness.execution.interruption import Interruption
from harness.execution.job import Result
from harness.execution.workers import why_unfit
from harness.results.provenance import find_commit
from harness.training.memory import DeviceData

if TYPE_CHECKING:
    from harness.training.epoch import Epoch


class SingleProcess:
    """Runs one combo after another where it is; what plugins print goes to standard error."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        # a signal's handler may do little itself
        self.interruption = Interruption(lambda: threading.Thread(target=dispatch.stop).start())
        self._on_device = DeviceData()
        self._unfit: str | None = None

    def run(self) -> None:
        """Run all that is to do; return when it is done, or raise `KeyboardInterrupt` after the epoch of a Ctrl-C."""
        find_commit()
        load_size = None
        while not self.dispatch.is_over and not self.interruption.asked:
            task = self.dispatch.take(load_size)
            if task is None:
                self.dispatch.wait()
                time.sleep(POLL if self.dispatch.todo else 0)
                continue
            load_size = task.job.choices.recipe.load_size
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    while not self.dispatch.finish(task, self._try(task)):
                        pass
            except ClaimLostError:
                self.dispatch.lose(task)
            self._look_for_faults(task)

    def _try(self, task: RunningCombo) -> Result:
        def advance(epoch: Epoch) -> None:
            self.dispatch.advance(task, epoch)
            if self.interruption.asked:
                raise KeyboardInterrupt

        task.claim.tell(device=task.job.device_name)
        job = replace(task.job, guard=task.claim.require, resume=task.resume)
        return run_combo(job, self._on_device, advance, partial(self.dispatch.tell_steps, task), self.dispatch.note)

    def _look_for_faults(self, task: RunningCombo) -> None:
        """Say, once, that this process should run nothing more."""
        if self._unfit is None:
            self._unfit = why_unfit(task.job.device_name)
            if self._unfit is not None:
                self.dispatch.listener(ProcessUnfit(task.job.device_name, self._unfit, replaced=False))
