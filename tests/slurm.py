"""A Slurm of one node on the loopback device, from Debian's package slurm-wlm: no systemd, no database, no root.

Everything lies in one folder, and the ports are free ones, so that several may run beside a real one.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")
COMMANDS = (*DAEMONS, "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
CPUS, MEMORY_MB = 4, 64_000
"""What the node claims to have; Slurm gives it out and, without control groups, holds nobody to it."""
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SrunPortRange={first_port}-{last_port}
# Daemons and srun bind to what the host's name resolves to.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny,DisableIPv6
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Nothing that needs systemd or control groups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
MailProg=/bin/true
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Without a database finished jobs must stay visible to squeue.
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=3600
KillWait=5
JobRequeue=0
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=UNLIMITED DefaultTime=00:10:00 State=UP OverSubscribe=NO
"""


def missing() -> str | None:
    """Return why no Slurm can be started here, or None."""
    absent = [name for name in COMMANDS if _command(name) is None]
    if absent:
        return f"got no {absent[0]}, expected Slurm; apt-get install slurm-wlm"
    host = socket.gethostname().partition(".")[0]
    with suppress(OSError):
        if socket.gethostbyname(host).startswith("127."):
            return None
    return f"got a host name that is not on the loopback device, expected 127.x; add {host!r} to /etc/hosts"


def _command(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    """A running cluster.

    Attributes:
        environment: the variables with which its commands and Snakemake's executor find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._configuration = folder / "slurm.conf"
        programs = folder / "bin"
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        controller_port, node_port, first_port = _free_ports(3)
        self._configuration.write_text(
            CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user=getpass.getuser(),
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
                first_port=first_port,
                last_port=first_port + 60,
                cpus=CPUS,
                memory=MEMORY_MB,
            )
        )
        # Snakemake's executor takes SLURM_CONF from the environment before it calls srun.
        wrapper = programs / "srun"
        wrapper.write_text(f"#!/bin/sh\nSLURM_CONF='{self._configuration}' exec {_command('srun')} \"$@\"\n")
        wrapper.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(self._configuration),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start the daemons and wait until the node takes jobs.

        Raises:
            TimeoutError: it does not within half a minute.
        """
        for name in DAEMONS:
            self._call(str(_command(name)), "-f", str(self._configuration))
        end = time.monotonic() + 30
        while (state := self.say("sinfo", "--noheader", "--format=%t")) != "idle":
            if time.monotonic() > end:
                raise TimeoutError(f"got a node that is {state!r} after 30 seconds\n{self._said()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End all jobs, which would outlive the daemons, then these."""
        with suppress(subprocess.SubprocessError):
            self.say("scancel", f"--user={getpass.getuser()}")
            self._wait(lambda: not self.say("squeue", "--noheader"))
        for name in reversed(DAEMONS):
            with suppress(OSError, ValueError):
                process = int((self.folder / f"{name}.pid").read_text())
                os.kill(process, signal.SIGTERM)
                self._wait(lambda process=process: not Path(f"/proc/{process}").exists())

    def say(self, *command: str) -> str:
        """Return what a command of Slurm's prints, or nothing where it fails."""
        return self._call(*command, check=False).stdout.strip()

    def kill(self, job: str) -> None:
        """Kill all processes of a job at once, as when a node fails: none of them can tidy up."""
        listed = self.say("scontrol", "listpids", job).splitlines()[1:]
        for process in {int(line.split()[0]) for line in listed}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=check, timeout=20, stdin=subprocess.DEVNULL
        )

    def _said(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))

    @staticmethod
    def _wait(done: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not done() and time.monotonic() < end:
            time.sleep(0.1)


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """Run a cluster in an empty folder for the length of a block."""
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
