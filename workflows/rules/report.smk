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


for report in REPORTS:

    rule:
        name:
            f"report_{report.name}"
        input:
            report.inputs(SCALE, EXPERIMENTS, REPORTS),
        output:
            report.outputs(SCALE),
        log:
            f"{LOGS}/report_{report.name}.log",
        conda:
            "../../environment.yml"
        params:
            scale=SCALE,
            code=provenance.code_digest(report.path),
            name=report.name,
            scope=SCOPE,
            experiments=" ".join(NAMES),
        shell:
            "python -m hsivi report {params.name} --scale {params.scale} --scope {params.scope}"
            " --experiments {params.experiments} 2>&1 | tee {log}"
