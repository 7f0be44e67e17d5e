# What people read.  Every script in reports/ is found by its path and becomes a rule.


rule collect:
    input:
        [layout.CellFiles(cell).record for cell in CELLS],
    output:
        layout.metrics_table(SCALE),
    params:
        code=provenance.code_digest(provenance.stage_file("collect")),
        experiments=" ".join(NAMES),
    log:
        f"{LOGS}/collect.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m hsivi collect --scale {SCALE} --experiments {params.experiments} 2>&1 | tee {log}"


for report in REPORTS:

    rule:
        name:
            f"report_{report.name}"
        input:
            report.inputs(SCALE, EXPERIMENTS, REPORTS),
        output:
            report.outputs(SCALE),
        params:
            code=provenance.code_digest(report.path),
            name=report.name,
            experiments=" ".join(NAMES),
        log:
            f"{LOGS}/report_{report.name}.log",
        conda:
            "../../environment.yml"
        shell:
            "python -m hsivi report {params.name} --scale {SCALE} --experiments {params.experiments} 2>&1 | tee {log}"
