"""A real SLURM on one node, its own in everything: ports, keys, folders. It harms nothing, and several can stand beside
each other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = {
    "munged": "munge",
    "sbatch": "slurm-wlm",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
"""Program -> the package of Debian that has it."""
PATIENCE = 60.0
"""Seconds that a daemon may take until it answers."""


def why_not() -> str:
    """Why no SLURM can be started here; empty where one can."""
    if os.geteuid() != 0:
        return "a SLURM of its own is started by root"
    lacking = sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})
    return f"there is no SLURM here: apt-get install {' '.join(lacking)}" if lacking else ""


class Slurm:
    """A controller, a node with two processors and a database of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []
        names = ("controller", "node", "accounts", "database")
        self.ports = dict(zip(names, find_ports(len(names)), strict=True))
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.without_accounts = {"SLURM_CONF": str(folder / "without_accounts.conf")}
        """The same for commands that are to find no accounts."""

    def start(self) -> None:
        """Start all of it, and wait until jobs can be submitted."""
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True)
        self._start_munge()
        accounts, text = self._accounts_text(), self._controller_text()
        Path(self.environment["SLURM_CONF"]).write_text(text + accounts)
        Path(self.without_accounts["SLURM_CONF"]).write_text(text)
        self._start_database()
        self._start_accounting()
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D", "-N", "localhost")
        self._wait("SLURM", lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%t"))

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.ask("scancel", "--user=root", "--signal=KILL", "--full")
        self.ask("scancel", "--user=root")
        with contextlib.suppress(RuntimeError):  # what still runs then is left to itself
            self._wait("the end of all jobs", lambda: not self.ask("squeue", "--noheader"), 20)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints, also where it fails."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout

    # --- daemons -----------------------------------------------------------------------------------------------------

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        files = {"socket": "munge.sock", "key-file": key.name, "pid-file": "munged.pid", "seed-file": "munge.seed"}
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self._start("munged", "--foreground", "--force", f"--log-file={self.folder}/log/munged.log", *options)
        self._wait("munge", (self.folder / "munge.sock").exists)

    def _start_database(self) -> None:
        data, socket_file = self.folder / "database", self.folder / "database.sock"
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, timeout=120
        )
        options = [f"--datadir={data}", f"--socket={socket_file}", f"--port={self.ports['database']}", "--user=root"]
        light = ["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]
        pid_file = f"--pid-file={self.folder / 'database.pid'}"
        self._start("mariadbd", "--no-defaults", "--bind-address=127.0.0.1", pid_file, *options, *light)
        ask = ["mariadb", "--no-defaults", f"--socket={socket_file}", "--user=root", "--execute"]
        grant = "create user slurm@127.0.0.1 identified by 'slurm'; grant all on slurm.* to slurm@127.0.0.1"
        self._wait("MariaDB", lambda: self._succeeds(*ask, "select 1"))
        subprocess.run([*ask, grant], check=True, timeout=60)

    def _start_accounting(self) -> None:
        text = f"""
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.sock
DbdHost=localhost
DbdPort={self.ports["accounts"]}
SlurmUser=root
LogFile={self.folder}/log/slurmdbd.log
PidFile={self.folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self.ports["database"]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
        file = self.folder / "slurmdbd.conf"
        file.touch(mode=0o600)
        file.write_text(text)
        self._start("slurmdbd", "-D")
        self._wait("slurmdbd", lambda: self._succeeds("sacctmgr", "--immediate", "add", "cluster", "harness"))

    def _accounts_text(self) -> str:
        return f"""
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={self.ports["accounts"]}
AccountingStoragePass={self.folder}/munge.sock
"""

    def _controller_text(self) -> str:
        return f"""
ClusterName=harness
SlurmctldHost=localhost
SlurmctldPort={self.ports["controller"]}
SlurmdPort={self.ports["node"]}
AuthType=auth/munge
AuthInfo=socket={self.folder}/munge.sock,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,bf_min_age_reserve=0
KillWait=5
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName=localhost CPUs=2 RealMemory=32000 State=UNKNOWN
PartitionName=gpu Nodes=localhost Default=YES DefaultTime=30 MaxTime=60 PriorityTier=1 State=UP
PartitionName=urgent Nodes=localhost MaxTime=60 PriorityTier=2 PreemptMode=OFF State=UP
"""

    def _start(self, *command: str) -> None:
        with (self.folder / "log" / f"{command[0]}.out").open("wb") as output:
            environment = os.environ | self.environment
            daemon = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self._daemons.append(daemon)

    def _succeeds(self, *command: str) -> bool:
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60).returncode == 0

    def _wait(self, what: str, is_there: Callable[[], bool], seconds: float = PATIENCE) -> None:
        until = time.monotonic() + seconds
        while not is_there():
            ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if ended or time.monotonic() > until:
                logs = [f"{log.name}: {log.read_text()[-500:]}" for log in (self.folder / "log").glob("*.out")]
                raise RuntimeError("\n".join([f"{what} did not come", f"ended: {ended}", *logs]))
            time.sleep(0.1)


def find_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
