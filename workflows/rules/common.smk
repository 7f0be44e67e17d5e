# What rules ask about the cell, or the report, that they are about.

# The cores that a job of many threads asks of a cluster; --set-threads changes it for one rule.
NODE_CORES = 8
KINDS = {".html": "Page", ".csv": "Tables", ".png": "Figures"}


def asks(stage, what):
    """Return what Snakemake evaluates for a resource of a stage's rule."""

    def resource(wildcards, attempt):
        experiment = EXPERIMENTS[wildcards.experiment]
        cell = cell_of(wildcards) if hasattr(wildcards, "nfe") else None
        need = resources.of_job(stage, experiment, cell, int(DEVICES), attempt)
        return getattr(need, what)

    return resource


def report_asks(what):
    return lambda wildcards, attempt: getattr(resources.of_report(attempt), what)


def cores_of_a_job():
    """Return the cores that a job of many threads takes: all of this machine, or some of a node."""
    return NODE_CORES if ON_CLUSTER else workflow.cores or 1


def baseline_file(wildcards):
    return methods.info(EXPERIMENTS[wildcards.experiment], wildcards.label).path


def cell_of(wildcards):
    return methods.Cell(
        SCALE,
        wildcards.experiment,
        wildcards.dataset,
        wildcards.label,
        int(wildcards.nfe),
    )


def fitted(wildcards):
    needs_fit = methods.info(
        EXPERIMENTS[wildcards.experiment], wildcards.label
    ).needs_fit
    return [layout.CellFiles(cell_of(wildcards)).fit] if needs_fit else []


def needed(wildcards):
    return common.needed(EXPERIMENTS[wildcards.experiment], wildcards.dataset)


def starts_from(wildcards):
    experiment = EXPERIMENTS[wildcards.experiment]
    return [
        layout.CellFiles(other).fit
        for other in methods.starts_from(experiment, cell_of(wildcards))
    ]


def reference_threads(wildcards):
    # Only the chains of a posterior run in parallel; results do not depend on how many threads there are.
    parallel = EXPERIMENTS[wildcards.experiment].data.kind == "posterior"
    return cores_of_a_job() if parallel else 1


def inputs_of(script):
    """Return what a report reads; what belongs to the checkout, such as claims, is in no storage."""
    own = {ROOT / file for file in script.reads}
    read = script.inputs(SCALE, EXPERIMENTS, REPORTS)
    return [local(path) if path in own else path for path in read]


def marked(script, path):
    """Mark what Snakemake's own report shows: the page, a table's CSV and a figure's PNG."""
    if path.suffix not in KINDS:
        return path
    shown = script.shown(EXPERIMENTS)
    return report(
        path,
        caption="../report/caption.rst",
        category=EXPERIMENTS[shown[0]].title if shown else "All experiments",
        subcategory=KINDS[path.suffix],
        labels={"what": script.title, "script": f"reports/{script.name}.py"},
    )
