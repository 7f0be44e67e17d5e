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
    resources:
        mem_mb=report_asks("mem_mb"),
        runtime=report_asks("runtime"),
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("collect")),
        scope=SCOPE,
        experiments=" ".join(NAMES),
    shell:
        "python -m hsivi collect --scale {params.scale} --scope {params.scope} --experiments {params.experiments} 2>&1 | tee {log}"


for script in REPORTS:

    rule:
        name:
            f"report_{script.name}"
        input:
            inputs_of(script),
        output:
            [marked(script, path) for path in script.outputs(SCALE)],
        log:
            f"{LOGS}/report_{script.name}.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=report_asks("mem_mb"),
            runtime=report_asks("runtime"),
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
