"""What jobs ask of a cluster, and the profiles that hand it on."""

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from hsivi import layout, methods
from hsivi.config import ROOT, SCALES, experiment_files, load_experiment
from hsivi.experiment import Experiment
from hsivi.methods import Cell
from hsivi.planning import resources
from hsivi.planning.resources import Need, Stage, of_job, of_report
from hsivi.record import read_json, read_record

REFERENCE = ROOT / "results" / "reference"
PROFILES = sorted((ROOT / "profiles").glob("*/profile.yaml"))
PLUGINS = {"slurm": "snakemake_executor_plugin_slurm", "kubernetes": "snakemake_executor_plugin_kubernetes"}
PUBLISHED = {"cifar10", "celeba", "imagenet64"}


class Job(NamedTuple):
    stage: Stage
    experiment: Experiment
    cell: Cell | None

    def need(self, devices: int = 1, attempt: int = 1) -> Need:
        return of_job(self.stage, self.experiment, self.cell, devices, attempt)


def jobs(name: str, scale: str) -> Iterator[Job]:
    """Yield a job for every stage and cell of an experiment."""
    experiment = load_experiment(name, scale, "full")
    yield Job("data", experiment, None)
    yield Job("reference", experiment, None)
    if experiment.pretrains:
        yield Job("pretrain", experiment, None)
    for cell in methods.cells(experiment):
        if methods.info(experiment, cell.label).needs_fit:
            yield Job("fit", experiment, cell)
        yield Job("sample", experiment, cell)
        yield Job("measure", experiment, cell)
    for cell in methods.timed_cells(experiment):
        yield Job("time", experiment, cell)


def finished() -> Iterator[tuple[Job, float]]:
    """Yield the jobs behind the published results, with the seconds they took."""
    for folder in REFERENCE.glob("*/*/"):
        scale, name = folder.parts[-2:]
        if name not in experiment_files():
            continue
        with layout.folders(REFERENCE, Path("reports")):
            for job in jobs(name, scale):
                taken = seconds(job)
                if taken is not None:
                    yield job, taken


def seconds(job: Job) -> float | None:
    """Return how long a published job took on a processor, from record or note; of several data sets, the longest."""
    if job.cell is None:
        name = {"data": "data.json", "reference": "reference.json", "pretrain": "score_model.json"}[job.stage]
        scale, experiment = job.experiment.scale, job.experiment.name
        folders = [layout.DatasetFiles(scale, experiment, dataset).folder for dataset in job.experiment.data.datasets]
        notes = [folder / name for folder in folders if (folder / name).is_file()]
        return max((taken for note in notes if (taken := _seconds(note)) is not None), default=None)
    if job.stage == "measure":
        record = layout.CellFiles(job.cell).record
        return read_record(record).seconds["measure"] if record.is_file() else None
    note = layout.CellFiles(job.cell).folder / {"fit": "fit.json", "sample": "samples.json"}.get(job.stage, "none")
    return _seconds(note) if note.is_file() else None


def _seconds(note: Path) -> float | None:
    made = read_json(note)  # of a training that was interrupted, ``seconds`` are those of its last part
    if str(made.get("device")).startswith("cuda"):
        return None
    return max(float(made["seconds"]), float(made.get("training_seconds", 0.0)))


FINISHED = list(finished())


@pytest.mark.parametrize("scale", SCALES)
def test_every_job_asks_for_memory_and_minutes(scale: str) -> None:
    for name in experiment_files():
        for job in jobs(name, scale):
            need = job.need()
            assert 1000 <= need.mem_mb <= 64_000 and 10 <= need.runtime <= resources.LONGEST_MINUTES, job


def test_finished_jobs_would_have_had_time_three_times_over() -> None:
    assert len(FINISHED) > 200
    for job, taken in FINISHED:
        assert 60 * job.need().runtime >= 3 * taken, (job.stage, job.cell or job.experiment.name, taken)


def test_limits_of_long_jobs_are_no_blank_cheque() -> None:
    """What takes more than a minute asks for less than the overhead and 25 times as long: rates are the slowest."""
    for job, taken in FINISHED:
        if taken > 60:
            assert 60 * job.need().runtime < resources.OVERHEAD + 25 * taken, (job, taken)


def test_more_work_takes_longer() -> None:
    """Limits follow the budgets of the experiment, also where nothing has been measured."""
    toy = {scale: load_experiment("toy2d", scale) for scale in SCALES}
    minutes = [of_job("pretrain", toy[scale]).runtime for scale in SCALES]
    assert minutes == sorted(set(minutes))
    cells = [Cell("paper", "toy2d", "moons", "hsivi_sm", nfe) for nfe in (5, 10)]
    short, long = (of_job("fit", toy["paper"], cell).runtime - resources.OVERHEAD / 60 for cell in cells)
    assert long == pytest.approx(2 * short, rel=0.1)


@pytest.mark.parametrize("attempt", [2, 3])
def test_another_attempt_gets_more(attempt: int) -> None:
    job = Job("measure", load_experiment("toy2d", "quick"), Cell("quick", "toy2d", "moons", "ddim", 5))
    first, later = job.need(), job.need(attempt=attempt)
    assert later == Need(first.mem_mb * 2 ** (attempt - 1), first.runtime * 2 ** (attempt - 1))
    assert of_report(attempt) == Need(of_report().mem_mb * attempt, of_report().runtime * attempt)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", experiment_files())
def test_networks_of_the_published_sizes_need_a_gpu(name: str, scale: str) -> None:
    """At scale smoke nothing does; MNIST's does at scale paper only."""
    expected = scale != "smoke" and (name in PUBLISHED or (name in ("mnist", "fashion_mnist") and scale == "paper"))
    for job in jobs(name, scale):
        uses = expected and job.stage != "data"
        assert job.need().gpu == (1 if uses else None)
        assert job.need(devices=4).gpu == ((4 if job.stage in ("pretrain", "fit", "sample") else 1) if uses else None)


def test_every_rule_says_what_it_asks_for() -> None:
    """And each asks about its own stage."""
    for path in (ROOT / "workflows" / "rules").glob("*.smk"):
        for rule in re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]:
            stage = rule.split(":", 1)[0].strip()
            asked = f'asks("{stage}", ' if stage in resources.FLAT else "report_asks("
            for what in ("mem_mb", "runtime"):
                assert f'{what}={asked}"{what}")' in rule, (path.name, stage, what)
            if stage in resources.GPU_MINUTES:
                assert f'gpu={asked}"gpu")' in rule
            assert ('slurm_extra="--exclusive"' in rule) == (stage == "time")


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.parent.name)
def test_snakemake_understands_every_line_of_a_profile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = path.parent.name
    if name in PLUGINS and importlib.util.find_spec(PLUGINS[name]) is None:
        pytest.skip(f"got no {PLUGINS[name]}, expected the extra 'dev'; run make environment")
    from snakemake.cli import parse_args

    monkeypatch.chdir(ROOT)
    _, found = parse_args(["--workflow-profile", f"profiles/{name}"])
    told = yaml.safe_load(path.read_text())
    known = vars(found)
    for key, value in told.items():
        assert key.replace("-", "_") in known, f"{key} is no option of Snakemake"
        got = known[key.replace("-", "_")]
        if isinstance(value, (bool, int)):
            assert got == value, key
    if name == "default":
        assert found.executor is None and "default-resources" not in told, "a local run has no limits"
    else:
        assert found.executor == name and found.retries >= 1
        assert {"mem_mb", "runtime"} <= set(told["default-resources"])
        assert all(isinstance(value, int) for key, value in told["default-resources"].items() if key in Need._fields)


def test_a_plan_for_slurm_carries_what_jobs_ask_for(tmp_path: Path) -> None:
    """Through the rules, without a cluster: the plan of an experiment with all stages, at a scale that needs a GPU."""
    if importlib.util.find_spec(PLUGINS["slurm"]) is None:
        pytest.skip("got no executor plugin, expected the extra 'dev'; run make environment")
    from tests.test_workflow import Checkout

    checkout = Checkout(tmp_path)
    arguments = ["--workflow-profile", "profiles/slurm", "--quiet", "host", "--dry-run"]
    done = checkout.snakemake(*arguments, "--config", "scale=quick", "experiments=cifar10", "devices=2")
    assert done.returncode == 0, done.stdout + done.stderr
    planned: dict[str, str] = {}
    for rule, block in re.findall(r"^(?:local)?rule (\w+):\n((?: .*\n)+)", done.stdout + done.stderr, re.MULTILINE):
        planned.setdefault(rule, block)
    assert {*resources.FLAT, "collect", "report_table2"} <= set(planned)
    for rule, block in planned.items():
        if rule == "all":
            continue
        (asked,) = re.findall(r"resources: (.*)", block)
        assert re.search(r"mem_mb=\d+", asked) and re.search(r"runtime=\d+", asked), rule
        gpus = re.findall(r"\bgpu=(\d+)", asked)
        shared = rule in ("pretrain", "fit", "sample")
        assert gpus == (["2"] if shared else ["1"] if rule in resources.GPU_MINUTES else []), rule
    assert "--exclusive" in planned["time"]


def test_limits_are_whole_minutes_above_the_estimate() -> None:
    experiment = load_experiment("toy2d", "paper")
    need = of_job("pretrain", experiment)
    estimate = resources.seconds("pretrain", experiment)
    assert need.runtime == math.ceil((resources.OVERHEAD + resources.MARGIN * estimate) / 60)
