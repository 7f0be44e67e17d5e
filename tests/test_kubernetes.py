"""The profile for Kubernetes: what would be sent to a cluster, and that a pod's command does its work."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsivi.arrays import load_arrays
from hsivi.config import load_experiment
from hsivi.layout import CellFiles, DatasetFiles
from hsivi.methods import Cell
from hsivi.planning.resources import of_job
from tests.kubernetes_api import Kubernetes, node_environment
from tests.test_workflow import Checkout

NEEDED = ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs")
WITHOUT = next(
    (
        f"got no {name}, expected the extra 'dev'; run make environment"
        for name in NEEDED
        if not importlib.util.find_spec(name)
    ),
    None,
)
WITHOUT = WITHOUT or (
    None if shutil.which("rsync") else "got no rsync, expected it for Snakemake's storage; apt-get install rsync"
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))]
IMAGE = "registry.example/hsivi-bench:1"


class Run:
    """A run with the profile, against a server that only looks like Kubernetes."""

    def __init__(self, folder: Path, works: bool) -> None:
        for name in ("checkout", "nodes", "volume"):
            (folder / name).mkdir()
        self.volume = folder / "volume"
        self.checkout = Checkout(folder / "checkout")
        own = node_environment(folder / "programs", Path(sys.executable), self.checkout.folder) if works else None
        self.server = Kubernetes(folder / "nodes", own)

    def ask_for(self, target: Path, *config: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.server.config), "PYTHONPATH": str(self.checkout.folder)}
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        profile = ["--workflow-profile", "profiles/kubernetes", "--container-image", IMAGE, "--retries", "0"]
        ours = ["--default-storage-prefix", str(self.volume), "--kubernetes-persistent-volumes", f"hsivi:{self.volume}"]
        return subprocess.run(
            [
                "snakemake",
                *profile,
                *ours,
                "--seconds-between-status-checks",
                "1",
                "--config",
                *config,
                "--",
                str(target),
            ],
            cwd=self.checkout.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=200,
        )

    def pod(self) -> dict[str, Any]:
        """Return what the one job asks of its pod."""
        (job,) = self.server.jobs
        assert job["spec"]["backoffLimit"] == 0, "Snakemake tries again, with more; Kubernetes must not"
        return job["spec"]["template"]["spec"]


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    found = Run(tmp_path, works=request.param)
    yield found
    found.server.stop()


@pytest.mark.parametrize("run", [True], indirect=True)
def test_a_pods_command_makes_its_output_in_an_empty_folder(run: Run) -> None:
    """The workflow comes from the volume, the result goes there."""
    files = DatasetFiles("smoke", "ring", "unit_ring")
    done = run.ask_for(files.data, "scale=smoke", "experiments=ring")
    assert done.returncode == 0, done.stdout + done.stderr + "\n".join(run.server.said)
    assert load_arrays(run.volume / files.data)
    assert not (run.checkout.folder / "results").exists(), "nothing is written beside the Snakefile"
    need = of_job("data", load_experiment("ring", "smoke"))
    pod = run.pod()
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    asked = {"cpu": "950m", "memory": f"{need.mem_mb}M", "ephemeral-storage": "4000M"}
    assert container["resources"]["requests"] == asked, "no GPU"
    assert container["resources"]["limits"] == {**asked, "cpu": "1000m"}
    assert {"name": "hsivi", "mountPath": str(run.volume)} in container["volumeMounts"]
    assert {"name": "hsivi", "persistentVolumeClaim": {"claimName": "hsivi"}} in pod["volumes"]
    assert pod["restartPolicy"] == "Never" and "tolerations" not in pod


@pytest.mark.parametrize("run", [False], indirect=True)
def test_a_timing_asks_for_a_gpu_and_says_when_its_pod_fails(run: Run) -> None:
    """A GPU must stand among the limits, or Kubernetes refuses the pod."""
    cell = Cell("quick", "cifar10", "cifar10", "ddim", 5)
    done = run.ask_for(CellFiles(cell).timing, "scale=quick", "experiments=cifar10")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (container,) = run.pod()["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["resources"]["limits"]["cpu"] == "8000m", (
        "cores of a node, of which the submitting process has none"
    )
    assert (
        container["resources"]["limits"]["memory"]
        == f"{of_job('time', load_experiment('cifar10', 'quick'), cell).mem_mb}M"
    )
    assert any(one["key"] == "nvidia.com/gpu" for one in run.pod()["tolerations"])
