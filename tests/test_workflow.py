"""The graph: dry runs of every scale, a real smoke run, and what is made again after an edit.

Everything happens in a copy of the checkout, so that edits touch nobody's work.
"""

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from hsivi import layout
from hsivi.config import ROOT, SCALES, SCOPES, default_experiments, experiment_files, load_experiment
from hsivi.methods import cells, info
from hsivi.record import read_record
from hsivi.reporting import reports, selected
from reports._tables import latex
from tests.test_contributing import SOURCE as TUTORIAL_SOURCE
from tests.test_figures import BLOCK, HEAVY
from tests.warm import Warm

pytestmark = pytest.mark.slow
COPIED = ("hsivi", "baselines", "reports", "workflows", "profiles", "claims", "Snakefile", "environment.yml")


class Checkout:
    """A copy of the project in which the workflow runs; with ``warm`` its jobs start from there."""

    def __init__(self, folder: Path, warm: Warm | None = None) -> None:
        self.folder, self.warm = folder, warm
        for name in COPIED:
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__", *SCALES)
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignore)
            else:
                shutil.copy(source, folder / name)

    def snakemake(self, *arguments: str, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self._run(["snakemake", *arguments], python_path)

    def hsivi(self, *arguments: str, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "hsivi", *arguments], python_path)

    def environment(self, python_path: Path | None = None) -> dict[str, str]:
        """Return the environment of its commands; modules in ``python_path`` come before its own."""
        paths = [str(path) for path in (python_path, self.folder) if path is not None]
        places = [*([str(self.warm.folder)] if self.warm else []), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PATH": os.pathsep.join(places)}

    def _run(self, command: list[str], python_path: Path | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(python_path),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def planned(self, *experiments: str) -> dict[str, int]:
        """Return how many jobs of each rule a run would start."""
        done = self.snakemake("--dry-run", "--config", "scale=smoke", f"experiments={' '.join(experiments)}")
        assert done.returncode == 0, done.stdout + done.stderr
        text = done.stdout + done.stderr
        table = text.rpartition("Job stats:")[2].partition("total")[0]
        return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def smoke(checkout: Checkout, warm: Warm) -> Checkout:
    """The checkout after a real run at scale smoke; what is run in it later starts its processes anew."""
    checkout.warm = warm
    done = checkout.snakemake("--cores", "2", "--config", "scale=smoke")
    checkout.warm = None
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("scale", SCALES)
def test_dry_run(scale: str, scope: str, checkout: Checkout) -> None:
    settings = ["--config", f"scale={scale}", f"scope={scope}", f"experiments={' '.join(experiment_files())}"]
    done = checkout.snakemake("--dry-run", "--quiet", "all", *settings, "--forceall")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "settings"),
    [("reproduce", []), ("reproduce", ["SCALE=smoke", "EXPERIMENTS=ring mixture", "DEVICES=2"]), ("report", [])],
)
def test_the_makefiles_own_command_is_understood(target: str, settings: list[str], checkout: Checkout) -> None:
    """What ``make`` would run, taken from make itself and planned: with nothing named, too."""
    make = ["make", "-n", target, *settings]
    told = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("snakemake ")]
    command, _, report = line.partition(" --report ")
    assert bool(report) == (target == "report")
    done = checkout.snakemake(*shlex.split(command)[1:], "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    scale, names = ("smoke", ["ring", "mixture"]) if settings else ("quick", default_experiments("quick"))
    planned = re.findall(r"^data +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    expected = sum(len(load_experiment(name, scale).data.datasets) for name in names)
    assert set(map(int, planned)) == {expected}, "one job for the data of each data set"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["scale=huge"], ["'huge'", "smoke, quick, paper"]),
        (["scale=smoke", "scope=ful"], ["'ful'", "did you mean 'full'"]),
        (["scale=smoke", "experiments=toy2 digits"], ["'toy2'", "did you mean 'toy2d'"]),
        (["scale=smoke", "devices=none"], ["'none'", "whole number"]),
    ],
)
def test_a_wrong_choice_is_one_line(settings: list[str], words: list[str], checkout: Checkout) -> None:
    done = checkout.snakemake("--dry-run", "--config", *settings)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    (line,) = [line for line in output.splitlines() if "expected" in line]
    assert all(word in line for word in ["got", *words]), line
    assert "Traceback" not in output


def test_smoke_measures_every_cell(smoke: Checkout) -> None:
    table = pd.read_csv(smoke.folder / "results" / "smoke" / "metrics.csv")
    for name in default_experiments("smoke"):
        experiment = load_experiment(name, "smoke", "core")
        for cell in cells(experiment):
            folder = smoke.folder / "results" / "smoke" / name / cell.dataset / cell.label / f"nfe{cell.nfe}"
            record = read_record(folder / "record.json")
            assert record.nfe == cell.nfe, "counted, and equal to the budget"
            if (name, cell.label) == ("mixture", "laplace"):
                assert (record.status, record.measurements) == ("declined", ())
                continue
            assert record.status == "ok"
            assert {m.seed for m in record.measurements} == set(experiment.seeds)
            rows = table[
                (table.experiment == name)
                & (table.dataset == cell.dataset)
                & (table.method == cell.label)
                & (table.nfe == cell.nfe)
            ]
            assert len(rows) == len(record.measurements)
            assert {"settings", "code"} <= set(record.digests)
            for path, sha in record.digests.items():
                if path not in ("settings", "code"):
                    assert hashlib.sha256((smoke.folder / path).read_bytes()).hexdigest() == sha


def test_controls_bound_the_metrics(smoke: Checkout) -> None:
    table = pd.read_csv(smoke.folder / "results" / "smoke" / "metrics.csv")
    mean = table.groupby(["dataset", "method", "metric"]).value.mean()
    for dataset in ("checkerboard", "moons"):
        for metric in ("js_cell", "jdist_ite"):
            assert mean[dataset, "reference", metric] < mean[dataset, "prior", metric]
    assert mean["digits", "reference", "fd_digits_classifier"] < mean["digits", "prior", "fd_digits_classifier"]
    assert mean["ring", "reference", "js_cell"] < mean["ring", "base", "js_cell"]
    name = "conditioned_diffusion"
    assert mean[name, "reference", "covariance_frobenius"] < mean[name, "base", "covariance_frobenius"]


def test_page_is_self_contained_and_shows_everything(smoke: Checkout) -> None:
    folder = smoke.folder / "reports" / "smoke"
    page = (folder / "index.html").read_text()
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # libraries name their homes
    assert not re.findall(r"(?:src|href)=[\"']https?:", outside)
    assert "<script src" not in page
    shown = [load_experiment(name, "smoke", "core") for name in default_experiments("smoke")]
    scripts = [report for report in selected(shown) if not report.page]
    assert {"table1", "table4", "table_mixture", "figure2", "figure3", "figure10"} <= {r.name for r in scripts}
    for report in scripts:
        assert f'id="{report.name}"' in page
        assert f"python -m hsivi report {report.name} " in page
    assert page.count("data:image/webp;base64,") == sum(report.files[0].endswith(".png") for report in scripts)
    for file in ("figures/figure10.svg", "tables/table1.csv", "tables/table1.md", "tables/table1.tex"):
        assert (folder / file).stat().st_size > 100
    assert "torch 2" in page and "cores" in page and "minutes of work" in page


def test_tables_agree_in_all_formats(smoke: Checkout) -> None:
    folder = smoke.folder / "reports" / "smoke" / "tables"
    for name in ("table1", "table4", "table_mixture", "table_truth", "margins", "table_digits"):
        from_csv = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        markdown = [line.strip("| ").split(" | ") for line in (folder / f"{name}.md").read_text().splitlines()]
        assert markdown[0] == list(from_csv.columns)
        assert markdown[2:] == from_csv.to_numpy().tolist()
        tex = (folder / f"{name}.tex").read_text()
        for value in from_csv.to_numpy().ravel():
            assert latex(str(value)) in tex
        assert tex.isascii(), "pdflatex reads it as it is"


def test_snakemakes_report_carries_the_figures_offline(smoke: Checkout, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(names=set()))
    target = f"{layout.reports('smoke')}/snakemake-report.html"
    done = smoke.snakemake("--config", "scale=smoke", "--report", target, python_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (smoke.folder / target).read_text()
    assert not re.findall(r"(?:src|href)=[\"']https?://[^\"']*\.(?:js|css)", text), "nothing is loaded from elsewhere"
    shown = [load_experiment(name, "smoke", "core") for name in default_experiments("smoke")]
    for report in selected(shown):
        for file in report.files:
            assert (f'"{Path(file).name}"' in text) == file.endswith((".png", ".csv", ".html")), file
        assert json.dumps(report.title)[1:-1] in text
    # The same pictures, byte by byte.
    picture = (smoke.folder / layout.reports("smoke") / "figures" / "figure2.png").read_bytes()
    assert base64.b64encode(picture).decode() in text


def test_figures_drawn_from_published_results_are_the_same(smoke: Checkout, tmp_path: Path) -> None:
    """A real run is published (which compares all pictures) and drawn again without torch."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(names=set(HEAVY)))
    names = ["conditioned_diffusion"]
    of_all = {report.name for report in reports() if report.experiments is None}
    for command in ("publish", "figures"):
        done = smoke.hsivi(command, "--scale", "smoke", "--experiments", *names, python_path=tmp_path)
        assert done.returncode == 0, done.stderr
    for folder in ("figures", "tables"):
        drawn = sorted((smoke.folder / "reports" / "reference" / "smoke" / folder).iterdir())
        assert len(drawn) >= 6
        for path in drawn:
            if path.stem not in of_all:  # which show all experiments of a run
                assert path.read_bytes() == (smoke.folder / "reports" / "smoke" / folder / path.name).read_bytes(), path


def test_a_second_run_does_nothing_in_seconds(smoke: Checkout) -> None:
    begin = time.monotonic()
    done = smoke.snakemake("--config", "scale=smoke")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr
    assert time.monotonic() - begin < 30


def test_editing_a_report_trains_nothing(smoke: Checkout) -> None:
    with appended(smoke.folder / "reports" / "figure10.py", "# edited\n"):
        assert smoke.planned() == {"report_figure10": 1, "report_index": 1, "all": 1}


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("reports/page/page.html.jinja", {"report_index"}),
        ("claims/claims.csv", {"report_table1", "report_index"}),
        ("hsivi/tidy.py", {"collect"}),
    ],
)
def test_editing_what_a_report_reads_renders_it_again(smoke: Checkout, file: str, again: set[str]) -> None:
    with appended(smoke.folder / file, "\n"):
        planned = set(smoke.planned())
    assert again <= planned
    assert not {"data", "pretrain", "reference", "fit", "sample", "measure"} & planned


def test_editing_a_baseline_runs_its_own_cells_only(smoke: Checkout) -> None:
    with appended(smoke.folder / "baselines" / "ddim.py", "# edited\n"):
        planned = smoke.planned()
    core = [load_experiment(name, "smoke", "core") for name in ("toy2d", "digits", "ring")]
    own = [cell for e in core for cell in cells(e) if info(e, cell.label).name == "ddim"]
    assert planned["sample"] == planned["measure"] == len(own) == 5
    assert not {"data", "pretrain", "reference", "fit"} & set(planned)


def test_a_new_file_is_a_new_row(smoke: Checkout) -> None:
    """The tutorial's file, and no other edit."""
    euler = smoke.folder / "baselines" / "euler.py"
    euler.write_text(TUTORIAL_SOURCE)
    try:
        planned = smoke.planned()
    finally:
        euler.unlink()
    assert planned["sample"] == planned["measure"] == 4
    assert not {"data", "pretrain", "reference", "fit"} & set(planned)


def test_every_row_of_scope_full_runs(tmp_path: Path, warm: Warm) -> None:
    """Where scores are exact and nothing is trained; a network to start from is the one thing that is missing."""
    checkout = Checkout(tmp_path, warm)
    settings = ["--config", "scale=smoke", "scope=full", "experiments=ring"]
    done = checkout.snakemake("--cores", "2", *settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for cell in cells(load_experiment("ring", "smoke", "full")):
        record = read_record(tmp_path / layout.CellFiles(cell).record)
        assert record.status == ("declined" if cell.label == "hsivi_sm" else "ok"), record.reason
        assert len(record.levels) == (cell.nfe + 1 if cell.nfe and record.status == "ok" else 0)
        assert record.protocol == ("as_published" if "as published" in record.title else "common")


def test_a_lost_record_is_measured_again_and_equal(smoke: Checkout) -> None:
    record = smoke.folder / "results" / "smoke" / "toy2d" / "moons" / "ddim" / "nfe5" / "record.json"
    before = read_record(record)
    record.unlink()
    planned = smoke.planned()
    assert planned["measure"] == 1
    assert not {"data", "pretrain", "reference", "fit", "sample"} & set(planned)
    done = smoke.snakemake("--config", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_record(record).measurements == before.measurements


def test_two_halves_of_a_run_merge_and_nothing_is_computed_again(smoke: Checkout, tmp_path: Path) -> None:
    """Two machines share out the cells; one has lost a data set, and what Snakemake noted there is of another time."""
    there, place = tmp_path / "there" / "smoke", Path("results", "smoke")
    shutil.copytree(smoke.folder / place, there)
    here = Checkout(tmp_path)
    for name in ("results", ".snakemake"):
        shutil.copytree(smoke.folder / name, here.folder / name)
    shutil.rmtree(here.folder / place / "toy2d" / "moons")
    (here.folder / place / "metrics.csv").unlink()
    for number, record in enumerate(sorted(path.relative_to(there) for path in there.rglob("record.json"))):
        if number % 2:
            shutil.rmtree((here.folder / place / record).parent, ignore_errors=True)
        elif record.parts[1] != "moons":
            shutil.rmtree((there / record).parent)
    # A job of such a cell was killed here.
    unfinished = base64.b64encode(str(place / "toy2d/moons/ddim/nfe5/samples.safetensors").encode()).decode()
    (here.folder / ".snakemake" / "incomplete").mkdir(exist_ok=True)
    (here.folder / ".snakemake" / "incomplete" / unfinished).touch()
    assert {"sample", "measure"} <= set(here.planned())
    done = here.hsivi("merge", str(there))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name in here.planned() if not name.startswith("report_")} == {"collect", "all"}
    records = [str(path.relative_to(here.folder)) for path in (here.folder / place).rglob("record.json")]
    done = here.snakemake("--dry-run", "--config", "scale=smoke", "--", *records)
    assert "Nothing to be done" in done.stdout + done.stderr


class appended:  # noqa: N801
    """Append text to a file for the length of a block."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.before = path, text, path.read_text()

    def __enter__(self) -> None:
        self.path.write_text(self.before + self.text)

    def __exit__(self, *_: object) -> None:
        self.path.write_text(self.before)
