"""The graph on a real Slurm: a job and its Snakemake are killed, the run goes on, and the result is a local run's."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsivi.config import load_experiment
from hsivi.layout import CellFiles, note
from hsivi.methods import Cell
from hsivi.planning.resources import of_job
from tests import slurm
from tests.test_workflow import Checkout
from tests.warm import Warm

PLUGIN = "snakemake_executor_plugin_slurm"
WITHOUT = slurm.missing() or (
    None if importlib.util.find_spec(PLUGIN) else f"got no {PLUGIN}, expected the extra 'dev'; run make environment"
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))]

CELL = Cell("smoke", "mixture", "ring", "hsivi_sm", 5)
FILES = CellFiles(CELL)
CONFIG = ("--config", f"scale={CELL.scale}", f"experiments={CELL.experiment}")
# A job takes some ten seconds, most of them for starting Snakemake twice; checks come after 3, 13, 23, ... seconds.
PROFILE = (
    "--workflow-profile",
    "profiles/slurm",
    "--slurm-init-seconds-before-status-checks",
    "3",
    "--latency-wait",
    "5",
)
OF_THE_RUN = {"seconds", "environment", "sha256", "commit"}
"""What two runs of one cell may differ in: durations, and the digest of a record that holds them."""


class Submitter:
    """Runs Snakemake in a checkout that jobs of a cluster see, too."""

    def __init__(self, folder: Path, cluster: slurm.Slurm) -> None:
        self.checkout, self.cluster = Checkout(folder), cluster

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.cluster.environment, "PYTHONPATH": str(self.checkout.folder)}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        return subprocess.Popen(
            ["snakemake", *arguments],
            cwd=self.checkout.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said[-4000:]
        return said

    def job(self, rule: str, program: str, seconds: float = 120.0) -> str:
        """Wait until a program runs within a rule's job, and return the job's number."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.cluster.say("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines():
                number, _, comment = line.partition(" ")
                if f"rule_{rule}" in comment and self._runs(number, program):
                    return number
            time.sleep(0.1)
        raise TimeoutError(f"got no running job of rule {rule} in {seconds} s")

    def _runs(self, number: str, program: str) -> bool:
        for line in self.cluster.say("scontrol", "listpids", number).splitlines()[1:]:
            try:
                words = Path(f"/proc/{line.split()[0]}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if program in " ".join(words) and words[0].endswith("python"):
                return True
        return False


def facts(folder: Path) -> dict[str, Any]:
    """Return what a record says of its cell."""
    record = json.loads((folder / FILES.record).read_text())
    return {key: value for key, value in record.items() if key not in OF_THE_RUN}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    with slurm.running(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Checkout:
    """A checkout in which the cell was computed on this machine."""
    checkout = Checkout(tmp_path_factory.mktemp("local"), warm)
    done = checkout.snakemake("--cores", "2", *CONFIG, "--", str(FILES.record))
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def test_a_killed_run_goes_on_and_ends_like_a_local_one(cluster: slurm.Slurm, local: Checkout, tmp_path: Path) -> None:
    submitter = Submitter(tmp_path, cluster)
    first = submitter.start(*PROFILE, *CONFIG, "--", str(FILES.record))
    number = submitter.job("fit", "hsivi fit")
    asked = cluster.say("squeue", "--noheader", "--format=%m %l", f"--jobs={number}")
    first.kill()  # Snakemake first: it must not see the job fail
    cluster.kill(number)
    said, _ = first.communicate()
    need = of_job("fit", load_experiment(CELL.experiment, CELL.scale), CELL)
    assert asked == f"{need.mem_mb}M {need.runtime}:00", "Slurm got what hsivi.planning.resources says"
    assert not (tmp_path / FILES.fit).exists()
    (tmp_path / FILES.fit).write_bytes(b"cut off")  # what a node may leave; ours appear whole

    (run,) = re.findall(r"SLURM run ID: (\S+)", said)
    cluster.say("scancel", f"--name={run}")
    submitter.run("--unlock", *CONFIG)
    told = submitter.run(*PROFILE, *CONFIG, "--", str(FILES.record))
    assert "rule_data" not in told, "what was finished is not computed again"
    assert "rule_fit" in told
    assert facts(tmp_path) == facts(local.folder)
    for path in (FILES.fit, FILES.samples):
        assert (tmp_path / path).read_bytes() == (local.folder / path).read_bytes()
    progress = (tmp_path / "results/smoke/.logs/sample/mixture/ring/hsivi_sm-nfe5.log").read_text()
    assert re.search(r"overall: \d+/\d+ results there", progress), "jobs know the run that they belong to"
    assert json.loads((tmp_path / note(FILES.fit)).read_text())["seconds"] > 0
