# What people read.  Every script in reports/ is found by its path and becomes a rule.


rule collect:
    input:
        [layout.CellFiles(cell).record for cell in CELLS],
    output:
        layout.metrics_table(SCALE),
    log:
        f"{LOGS}/collect.log",
    conda:
        "../../environment.yml"
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("collect")),
        scope=SCOPE,
        experiments=" ".join(NAMES),
    shell:
        "python -m hsivi collect --scale {params.scale} --scope {params.scope} --experiments {params.experiments} 2>&1 | tee {log}"


KINDS = {".html": "Page", ".csv": "Tables", ".png": "Figures"}


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


for script in REPORTS:

    rule:
        name:
            f"report_{script.name}"
        input:
            script.inputs(SCALE, EXPERIMENTS, REPORTS),
        output:
            [marked(script, path) for path in script.outputs(SCALE)],
        log:
            f"{LOGS}/report_{script.name}.log",
        conda:
            "../../environment.yml"
        params:
            scale=SCALE,
            code=provenance.code_digest(script.path),
            name=script.name,
            scope=SCOPE,
            experiments=" ".join(NAMES),
            about=script.rst,
        shell:
            "python -m hsivi report {params.name} --scale {params.scale} --scope {params.scope}"
            " --experiments {params.experiments} 2>&1 | tee {log}"
