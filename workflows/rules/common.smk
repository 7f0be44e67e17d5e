# What rules ask about the cell, or the report, that they are about.

KINDS = {".html": "Page", ".csv": "Tables", ".png": "Figures"}


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
    return workflow.cores if parallel else 1


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
