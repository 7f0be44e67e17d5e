# What all cells of a data set share: the data, the score model, what the metrics know about the target.


rule data:
    output:
        DATASET.data,
        layout.note(DATASET.data),
    log:
        f"{LOGS}/data/{{experiment}}/{{dataset}}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=asks("data", "mem_mb"),
        runtime=asks("data", "runtime"),
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("data")),
        settings=lambda w: settings.of_data(EXPERIMENTS[w.experiment]),
    shell:
        "python -m hsivi data --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --threads {threads} 2>&1 | tee {log}"


rule pretrain:
    input:
        DATASET.data,
    output:
        DATASET.score_model,
        layout.note(DATASET.score_model),
    log:
        f"{LOGS}/pretrain/{{experiment}}/{{dataset}}.log",
    priority: 20
    conda:
        "../../environment.yml"
    resources:
        mem_mb=asks("pretrain", "mem_mb"),
        runtime=asks("pretrain", "runtime"),
        gpu=asks("pretrain", "gpu"),
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("pretrain")),
        settings=lambda w: settings.of_score_model(EXPERIMENTS[w.experiment]),
    shell:
        "python -m hsivi pretrain --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --threads {threads} 2>&1 | tee {log}"


rule reference:
    input:
        DATASET.data,
    output:
        DATASET.reference,
        layout.note(DATASET.reference),
    log:
        f"{LOGS}/reference/{{experiment}}/{{dataset}}.log",
    conda:
        "../../environment.yml"
    threads: reference_threads
    resources:
        mem_mb=asks("reference", "mem_mb"),
        runtime=asks("reference", "runtime"),
        gpu=asks("reference", "gpu"),
    params:
        scale=SCALE,
        code=provenance.code_digest(provenance.stage_file("reference")),
        settings=lambda w: settings.of_reference(EXPERIMENTS[w.experiment]),
    shell:
        "python -m hsivi reference --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --threads {threads} 2>&1 | tee {log}"
