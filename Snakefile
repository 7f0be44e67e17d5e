# The whole suite as one graph: data -> score model -> fit -> samples -> record -> table -> reports.
# Rules are command lines of the package; no science lives here.  Choose with
#   snakemake --config scale=smoke|quick|paper scope=core|full experiments="toy2d digits" devices=1

import sys

from snakemake.utils import min_version

from hsivi import layout, methods, overall, provenance, reporting, run_lock
from hsivi.planning import resources
from hsivi.config import ROOT, ConfigError, default_experiments, load_experiment
from hsivi.stages import common, settings

min_version("9.20")

SCALE = config.get("scale", "quick")
SCOPE = config.get("scope", "core")

try:
    # Snakemake hands on "experiments=" as None.
    asked = str(config.get("experiments") or "").replace(",", " ").split()
    NAMES = asked or default_experiments(SCALE)
    DEVICES = str(config.get("devices", 1))
    if not DEVICES.isdecimal() or DEVICES == "0":
        raise ConfigError(
            f"devices: got {DEVICES!r}, expected the number of processes that train one network; give a whole number"
        )
    EXPERIMENTS = {name: load_experiment(name, SCALE, SCOPE) for name in NAMES}
    for experiment in EXPERIMENTS.values():
        methods.check(experiment)
    CELLS = [
        cell
        for experiment in EXPERIMENTS.values()
        for cell in methods.cells(experiment)
    ]
    TIMED = [
        cell
        for experiment in EXPERIMENTS.values()
        for cell in methods.timed_cells(experiment)
    ]
    REPORTS = reporting.selected(EXPERIMENTS.values())
except ConfigError as error:
    # One line; a WorkflowError would add where in this file it was raised, which is not where the mistake is.
    sys.exit(f"snakemake: {error}")

# A run that was killed leaves Snakemake's lock behind.  On a cluster, jobs read this file as well.
if workflow.is_main_process and (busy := run_lock.look(SCALE)):
    print(f"snakemake: {busy}", file=sys.stderr)


onstart:
    try:
        # Where results are in a storage, nothing is written here.
        if workflow.is_main_process and not storage_name:
            run_lock.take(SCALE)
    except ConfigError as error:
        sys.exit(f"snakemake: {error}")


onerror:
    if workflow.is_main_process:
        print(
            "The run is not finished. What is done stays; the same command goes on where it was.",
            file=sys.stderr,
        )


# Jobs run elsewhere: this is the process that submits them, which counts jobs and no cores, or such a job's own.
ON_CLUSTER = workflow.remote_exec or workflow.resource_settings.cores is None

# Lets every job say how far the whole run is.
# The number of devices is no parameter of a rule: what is learned does not depend on it.
# A job on a cluster has been told by the process that submitted it.
if not (workflow.remote_exec and overall.announced()):
    at_once = workflow.nodes if ON_CLUSTER else workflow.cores
    overall.announce(NAMES, SCOPE, at_once or 1, DEVICES)

# Where jobs share no files, Snakemake keeps results in a storage, and a job has copies of what its rule names in another
# folder.  The page shows whatever there is, which no rule names: it is drawn afterwards.
if storage_name := workflow.storage_settings.default_storage_provider:
    prefix = workflow.storage_settings.default_storage_prefix.rstrip("/")
    copies = workflow.storage_settings.local_storage_prefix / storage_name
    copies /= prefix.partition("://")[2] or prefix.removeprefix("/")
    shell.prefix(
        f"set -euo pipefail; export {layout.RESULTS}={copies / layout.results_folder()}"
        f" {layout.REPORTS}={copies / layout.reports_folder()}; "
    )
    REPORTS = [script for script in REPORTS if not script.page]

LOGS = layout.logs(SCALE)
DATASET = layout.DatasetFiles(SCALE, "{experiment}", "{dataset}")
CELL = layout.CellFiles(
    methods.Cell(SCALE, "{experiment}", "{dataset}", "{label}", "{nfe}")
)


wildcard_constraints:
    experiment="[a-z0-9_]+",
    dataset="[a-z0-9_]+",
    label="[a-z0-9_-]+",
    nfe="[0-9]+",


localrules:
    all,


rule all:
    input:
        # Records are asked for by name, so that a lost one is made again although the table behind it is there.
        [layout.CellFiles(cell).record for cell in CELLS],
        [layout.CellFiles(cell).timing for cell in TIMED],
        layout.metrics_table(SCALE),
        [path for script in REPORTS for path in script.outputs(SCALE)],


include: "workflows/rules/common.smk"
include: "workflows/rules/prepare.smk"
include: "workflows/rules/cells.smk"
include: "workflows/rules/timing.smk"
include: "workflows/rules/report.smk"
