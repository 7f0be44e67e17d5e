# One cell of the comparison: what a method learns, draws, and scores.


rule fit:
    input:
        needed,
        starts_from,
    output:
        CELL.fit,
        layout.note(CELL.fit),
    log:
        f"{LOGS}/fit/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    priority: 10
    conda:
        "../../environment.yml"
    resources:
        mem_mb=asks("fit", "mem_mb"),
        runtime=asks("fit", "runtime"),
        gpu=asks("fit", "gpu"),
    params:
        scale=SCALE,
        code=lambda w: provenance.code_digest(
            provenance.stage_file("fit"), baseline_file(w)
        ),
        settings=lambda w: settings.of_fit(EXPERIMENTS[w.experiment], cell_of(w)),
    shell:
        "python -m hsivi fit --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"


rule sample:
    input:
        needed,
        fitted,
    output:
        CELL.samples,
        layout.note(CELL.samples),
    log:
        f"{LOGS}/sample/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=asks("sample", "mem_mb"),
        runtime=asks("sample", "runtime"),
        gpu=asks("sample", "gpu"),
    params:
        scale=SCALE,
        code=lambda w: provenance.code_digest(
            provenance.stage_file("sample"), baseline_file(w)
        ),
        settings=lambda w: settings.of_sample(EXPERIMENTS[w.experiment], cell_of(w)),
    shell:
        "python -m hsivi sample --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"


rule measure:
    input:
        needed,
        DATASET.reference,
        CELL.samples,
        layout.note(CELL.samples),
        fitted,
    output:
        CELL.record,
    log:
        f"{LOGS}/measure/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=asks("measure", "mem_mb"),
        runtime=asks("measure", "runtime"),
        gpu=asks("measure", "gpu"),
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("measure")),
        settings=lambda w: settings.of_measure(EXPERIMENTS[w.experiment]),
    shell:
        "python -m hsivi measure --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"
