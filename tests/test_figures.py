"""Tables, figures and the page from the results in the checkout, where nothing heavy can be imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hsivi import layout
from hsivi.config import ROOT, load_experiment
from hsivi.publishing import manifest
from hsivi.publishing.figures import as_published, published_experiments
from hsivi.record import read_record
from hsivi.reporting import selected

REFERENCE = ROOT / "results" / "reference"
SCALE = "quick"
RING = ("--experiment", "ring", "--dataset", "unit_ring")
HEAVY = ("torch", "torchvision", "diffusers", "torch_fidelity", "sklearn", "snakemake", "filelock", "pygments")
BLOCK = '''"""Refuses some packages and every connection, in this process and in those that it starts."""
import socket, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def refuse(*_):
    raise OSError("a connection was asked for")

sys.meta_path.insert(0, Refuse())
socket.socket.connect = refuse
'''


def hsivi(folder: Path, refused: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the checkout without some packages; ``sitecustomize`` is imported before anything else."""
    (folder / "sitecustomize.py").write_text(BLOCK.format(names=set(refused)))
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "hsivi", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_everything_published_is_rendered_without_anything_heavy(tmp_path: Path) -> None:
    done = hsivi(tmp_path, HEAVY, "figures", "--scale", SCALE, "--to", str(tmp_path / "reports"))
    assert done.returncode == 0, done.stderr
    names = published_experiments(SCALE, REFERENCE)
    assert {"toy2d", "ring", "mixture", "mnist"} <= set(names)
    with layout.folders(REFERENCE, tmp_path / "reports"):
        experiments = [as_published(load_experiment(name, SCALE, "core"))[0] for name in names]
        for report in selected(experiments):
            for path in report.outputs(SCALE):
                assert path.stat().st_size > 100, path
    kept = [line.partition(":")[0] for line in done.stdout.splitlines() if "as it was published" in line]
    assert kept == ["figure11", "figure5", "figure6_mnist"], "MNIST's samples are the only ones that are not kept"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("refused", "arguments", "extra"),
    [
        ("torch", ["sample", *RING, "--method", "ddim", "--nfe", "5"], "run"),
        ("torch", ["fit", *RING, "--method", "hsivi_sm", "--nfe", "5"], "run"),
        ("pandas", ["report", "table_samplers_ring", "--experiments", "ring"], "figures"),
        ("pandas", ["collect", "--experiments", "ring"], "figures"),
    ],
)
def test_a_missing_package_is_one_line(refused: str, arguments: list[str], extra: str, tmp_path: Path) -> None:
    done = hsivi(tmp_path, (refused,), *arguments, "--scale", "smoke")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hsivi {arguments[0]}: packages: got no {refused!r}, expected the extra {extra!r}")
    assert f"-e '.[{extra}]'" in line


def test_the_reference_agrees_with_its_manifest_and_is_small() -> None:
    for folder in REFERENCE.glob("*/"):
        assert manifest.problems(folder) == []
    assert sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file()) < 20e6


def test_every_reduced_file_comes_from_one_that_a_record_names() -> None:
    for folder in REFERENCE.glob("*/"):
        named: dict[str, str] = {}
        for path in folder.glob("*/*/*/nfe*/record.json"):
            named |= read_record(path).digests
        listed = manifest.read(folder)
        reduced = {name: entry["reduced_from"] for name, entry in listed.items() if "reduced_from" in entry}
        assert reduced
        assert all(named[f"results/{folder.name}/{name}"] == digest for name, digest in reduced.items())


def test_a_report_leaves_nothing_among_published_results(tmp_path: Path) -> None:
    """A file there would mark all later results as those of a changed checkout."""
    results = tmp_path / "results"
    shutil.copytree(REFERENCE / SCALE / "ring", results / SCALE / "ring")
    before = set(results.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "hsivi", "report", "table_samplers_ring", "--scale", SCALE, "--experiments", "ring"],
        cwd=ROOT,
        env={**os.environ, "HSIVI_RESULTS": str(results), "HSIVI_REPORTS": str(tmp_path / "reports")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "reports").rglob("table_samplers_ring.csv"))
    assert set(results.rglob("*")) == before
