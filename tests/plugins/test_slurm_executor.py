"""The executor of SLURM beside programs that pose as SLURM's; tests/cluster has a real one."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys

import psutil
import pytest
from harness.plugins.slurm_executor import open_engine
from harness.plugins.slurm_executor.jobs import SlurmError
from harness.plugins.slurm_executor.queue import FORGOTTEN

from harness import HarnessError, Needs, UsageError
from harness.execution.engines import Destination
from harness.execution.engines import open_engine as open_by_name

PROGRAMS = {
    "srun": "",
    "sbatch": """
if [ -e refusal ]; then cat refusal >&2; exit 1; fi
env > environment
cp "$1" submission
echo Submitted batch job 7""",
    "squeue": "cat queue",
    "sacct": "cat accounts",
    "scancel": "echo scancel $* >> said",
    "scontrol": "echo scontrol $* >> said",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with programs that pose as SLURM's, on the PATH: they read and write files there."""
    for name, body in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{body}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "queue").write_text("7|PENDING\n")
    return tmp_path


def make_needs(cluster, **more):
    return Needs(**{"name": "harness-nih", "folder": cluster / "jobs", "workers": 2, "gpus": 1} | more)


@pytest.fixture
def submit(cluster):
    """Submit a function by an engine with options; gives the lines of what sbatch got."""

    def submit(*, needs=None, **options):
        open_engine(needs or make_needs(cluster), **options).submit(math.sqrt, 2.0)
        return (cluster / "submission").read_text().splitlines()

    return submit


def test_without_options_a_job_asks_for_what_the_harness_needs_and_the_partition_decides_the_rest(submit):
    lines = submit()
    flags = {line for line in lines if line.startswith("#SBATCH") and not line.startswith("#SBATCH --output")}
    assert flags == {
        "#SBATCH --job-name=harness-nih",
        "#SBATCH --nodes=1",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@120",
    }
    assert lines[-1].startswith("srun --unbuffered")
    assert sys.executable in lines[-1]


def test_each_option_is_told_to_sbatch(submit):
    text = "\n".join(
        submit(
            partition="gpu", account="lab", qos="high", gpus="a100:2", cpus=4, memory="32G", time="8:00:00",
            constraint="volta", exclude="node[1-3]", setup="module load cuda", python="apptainer exec a.sif python",
            requeue=0, sbatch={"reservation": "mri"},
        )
    )  # fmt: skip
    for flag in (
        "--partition=gpu", "--account=lab", "--qos=high", "--gpus-per-node=a100:2", "--cpus-per-task=4", "--mem=32G",
        "--time=8:00:00", "--constraint=volta", "--exclude='node[1-3]'", "--no-requeue", "--reservation=mri",
    ):  # fmt: skip
        assert f"#SBATCH {flag}\n" in text
    assert "\nmodule load cuda\n" in text
    assert " --cpus-per-task=4 apptainer exec a.sif python -u -m submitit" in text


def test_a_job_for_the_cpu_asks_for_no_gpu(cluster, submit):
    assert not any("gpus" in line for line in submit(needs=make_needs(cluster, gpus=0)))


def test_the_time_limit_is_what_the_work_takes_with_room_for_the_warning(cluster, submit):
    assert "#SBATCH --time=63" in submit(needs=make_needs(cluster, seconds=3600))


def test_what_is_submitted_together_is_a_job_array(cluster):
    engine = open_engine(make_needs(cluster))
    with engine.batch():
        futures = [engine.submit(math.sqrt, float(number)) for number in range(3)]
    assert [future.job for future in futures] == ["7_0", "7_1", "7_2"]
    assert futures[1].log == str(cluster / "jobs" / "7_1_0_log.out")
    assert "#SBATCH --array=0-2%3" in (cluster / "submission").read_text()


def test_a_submitter_within_an_allocation_submits_as_from_outside(submit, monkeypatch, cluster):
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "1")
    submit()
    names = {line.partition("=")[0] for line in (cluster / "environment").read_text().splitlines()}
    assert {"SLURM_CONF", "SBATCH_ACCOUNT"} == {name for name in names if name.startswith(("SLURM", "SBATCH"))}
    assert os.environ["SLURM_MEM_PER_CPU"] == "1"


def test_a_machine_without_sbatch_is_told_what_is_lacking(cluster, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"^there is no sbatch on the PATH: --on slurm is for a machine that submits"):
        open_engine(make_needs(cluster))


def test_a_cluster_that_does_not_answer_is_said_before_anything_is_submitted(cluster):
    (cluster / "queue").unlink()
    with pytest.raises(UsageError, match=r"^SLURM does not answer here; type squeue to see why$"):
        open_engine(make_needs(cluster))


def test_without_submitit_the_command_that_installs_it_is_told(cluster, monkeypatch, registry):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"needs the package submitit.* pip install 'cxr-harness\[slurm\]'"):
        open_by_name(Destination(executor=registry.executor("slurm")), make_needs(cluster))


def test_a_cluster_without_gpus_is_told_how_to_do_without(cluster):
    (cluster / "refusal").write_text("sbatch: error: Invalid generic resource (gres) specification\n")
    with pytest.raises(HarnessError, match="specification; --device cpu asks for no GPU"):
        open_engine(make_needs(cluster)).submit(math.sqrt, 2.0)


def test_what_sbatch_refuses_is_one_line(cluster):
    (cluster / "refusal").write_text("sbatch: error: invalid partition: x\nsbatch: error: Invalid partition\n")
    engine = open_engine(make_needs(cluster))
    with pytest.raises(HarnessError, match=r"^SLURM takes no job: Invalid partition$"):
        engine.submit(math.sqrt, 2.0)
    with pytest.raises(HarnessError, match=r"^SLURM takes no job: Invalid partition$"), engine.batch():
        engine.submit(math.sqrt, 2.0)


# --- states ----------------------------------------------------------------------------------------------------------

KINDS = [
    ("TIMEOUT", "timeout"),
    ("OUT_OF_MEMORY", "out_of_memory"),
    ("NODE_FAIL", "interrupted"),
    ("PREEMPTED", "interrupted"),
    ("CANCELLED", "interrupted"),
    ("FAILED", "crashed"),
]


@pytest.fixture
def job(cluster):
    """An engine and the job that it has submitted."""
    engine = open_engine(make_needs(cluster), poll=0.0)
    return engine, engine.submit(math.sqrt, 2.0)


def read_end(engine, future):
    with pytest.raises(SlurmError) as caught:
        future.result(timeout=5)
    return engine.explain(caught.value), str(caught.value)


@pytest.mark.parametrize(("state", "kind"), KINDS)
def test_the_end_of_a_job_is_explained_by_its_state(cluster, job, state, kind):
    (cluster / "queue").write_text(f"6|RUNNING\n7|{state}\n")
    told, message = read_end(*job)
    assert told == kind
    assert message == f"SLURM job 7 ended as {state}; its log is {cluster}/jobs/7_0_log.out"


@pytest.mark.parametrize(("state", "kind"), [("TIMEOUT", "timeout"), ("CANCELLED by 1000", "interrupted")])
def test_accounts_tell_of_a_job_that_the_controller_has_forgotten(cluster, job, state, kind):
    assert not job[1].done()
    (cluster / "queue").write_text("")
    (cluster / "accounts").write_text(f"JobID|State\n7|{state}\n")
    assert read_end(*job)[0] == kind


def test_without_accounts_a_job_that_the_controller_has_forgotten_is_over(cluster, job):
    (cluster / "queue").write_text("")
    kind, message = read_end(*job)
    assert kind == "interrupted"
    assert message.startswith("SLURM job 7 is not known any more")
    assert job[0].find("7") is None


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED"])
def test_a_job_that_may_go_on_is_not_over(cluster, job, state):
    (cluster / "queue").write_text(f"7|{state}\n")
    assert not job[1].done()
    with pytest.raises(TimeoutError, match=f"SLURM job 7 is {state}"):
        job[1].result(timeout=0)


def test_a_controller_that_does_not_answer_ends_no_job(cluster, job):
    (cluster / "queue").write_text("7|RUNNING\n")
    assert job[1].state == "RUNNING"
    (cluster / "queue").unlink()
    assert job[1].state == "RUNNING"
    assert job[0].find("8").state not in ("", FORGOTTEN)


def test_the_queue_is_asked_once_for_all_jobs(cluster, monkeypatch):
    engine = open_engine(make_needs(cluster), poll=60.0)
    futures = [engine.find(number) or engine.submit(math.sqrt, 2.0) for number in ("7", "7", "7")]
    assert all(future.state == "PENDING" for future in futures)
    (cluster / "queue").write_text("7|RUNNING\n")
    assert all(future.state == "PENDING" for future in futures)


def test_a_job_is_cancelled_once(cluster, job):
    assert job[1].cancel()
    assert (cluster / "said").read_text() == "scancel 7\n"
    (cluster / "queue").write_text("7|CANCELLED\n")
    assert not job[1].cancel()


def test_a_result_is_given_whatever_slurm_says_of_the_job(cluster, job):
    from submitit.core.utils import cloudpickle_dump

    cloudpickle_dump(("success", 1.5), cluster / "jobs" / "7_0_result.pkl")
    (cluster / "queue").write_text("")
    assert job[1].done()
    assert job[1].result() == 1.5
    assert job[0].find("7").result() == 1.5


def test_what_a_function_raises_is_told_by_its_last_line(cluster, job):
    from submitit.core.utils import cloudpickle_dump

    cloudpickle_dump(("error", "Traceback\n...\nValueError: no\n"), cluster / "jobs" / "7_0_result.pkl")
    assert read_end(*job) == ("crashed", "SLURM job 7: ValueError: no")


# --- in a job --------------------------------------------------------------------------------------------------------

RUN = """
import os, subprocess, sys, time
from harness.plugins.slurm_executor.in_job import run_in_job

def work(outcome):
    if outcome == "waits":
        child = subprocess.Popen(["sleep", "60"])
        try:
            print("waiting", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("the child lives" if child.poll() is None else "the child is dead", flush=True)
            child.kill()
            outcome = "interrupted"
    return {"outcome": outcome}

print(run_in_job(2, work, sys.argv[1])["outcome"])
"""


def begin(outcome, **environment):
    variables = os.environ | {"SLURM_JOB_ID": "9"} | environment
    return subprocess.Popen([sys.executable, "-c", RUN, outcome], env=variables, stdout=subprocess.PIPE, text=True)


def test_what_is_done_is_given(cluster):
    with begin("done") as process:
        assert process.communicate(timeout=60)[0] == "done\n"
    assert process.returncode == 0


@pytest.mark.parametrize(("state", "restarts", "requeued"), [("RUNNING", "1", True), ("CANCELLED", "0", False)])
def test_an_interrupted_job_ends_without_a_result_and_is_requeued_while_it_runs(cluster, state, restarts, requeued):
    (cluster / "queue").write_text(f"{state}\n")
    with begin("interrupted", SLURM_RESTART_COUNT=restarts) as process:
        assert process.communicate(timeout=60)[0] == ""
    assert process.returncode == 1
    assert (cluster / "said").is_file() == requeued
    assert not requeued or (cluster / "said").read_text() == "scontrol requeue 9\n"


def test_a_job_of_an_array_is_requeued_by_its_place_there_and_no_other_one(cluster):
    (cluster / "queue").write_text("RUNNING\n")
    with begin("interrupted", SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="2") as process:
        process.communicate(timeout=60)
    assert (cluster / "said").read_text() == "scontrol requeue 7_2\n"


def test_a_job_that_was_requeued_often_enough_gives_what_it_has(cluster):
    (cluster / "queue").write_text("RUNNING\n")
    with begin("interrupted", SLURM_RESTART_COUNT="2") as process:
        assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert process.returncode == 0


def test_the_warning_of_the_time_limit_is_a_ctrl_c_and_kills_no_child(cluster):
    (cluster / "queue").write_text("RUNNING\n")
    with begin("waits") as process:
        assert process.stdout.readline() == "waiting\n"
        (child,) = psutil.Process(process.pid).children()
        child.send_signal(signal.SIGUSR2)  # as SLURM signals all of a job's processes
        process.send_signal(signal.SIGUSR2)
        assert process.communicate(timeout=60)[0] == "the child lives\n"
    assert process.returncode == 1
    assert (cluster / "said").read_text() == "scontrol requeue 9\n"
