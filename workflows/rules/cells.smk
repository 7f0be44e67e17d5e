# One cell of the comparison: what a method learns, draws, and scores.


def baseline_file(wildcards):
    return methods.info(EXPERIMENTS[wildcards.experiment], wildcards.label).path


def cell_of(wildcards):
    return methods.Cell(SCALE, wildcards.experiment, wildcards.dataset, wildcards.label, int(wildcards.nfe))


def fitted(wildcards):
    needs_fit = methods.info(EXPERIMENTS[wildcards.experiment], wildcards.label).needs_fit
    return [layout.CellFiles(cell_of(wildcards)).fit] if needs_fit else []


rule fit:
    input:
        DATASET.data,
        DATASET.score_model,
    output:
        CELL.fit,
        layout.note(CELL.fit),
    params:
        code=lambda w: provenance.code_digest(provenance.stage_file("fit"), baseline_file(w)),
        settings=lambda w: settings.of_cell(EXPERIMENTS[w.experiment], cell_of(w)),
    log:
        f"{LOGS}/fit/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    priority: 10
    shell:
        "python -m hsivi fit --scale {SCALE} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"


rule sample:
    input:
        DATASET.data,
        DATASET.score_model,
        fitted,
    output:
        CELL.samples,
        layout.note(CELL.samples),
    params:
        code=lambda w: provenance.code_digest(provenance.stage_file("sample"), baseline_file(w)),
        settings=lambda w: settings.of_cell(EXPERIMENTS[w.experiment], cell_of(w)),
    log:
        f"{LOGS}/sample/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m hsivi sample --scale {SCALE} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"


rule measure:
    input:
        DATASET.data,
        DATASET.reference,
        CELL.samples,
        layout.note(CELL.samples),
    output:
        CELL.record,
    params:
        code=provenance.code_digest(provenance.stage_file("measure")),
        settings=lambda w: settings.of_measure(EXPERIMENTS[w.experiment]),
    log:
        f"{LOGS}/measure/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m hsivi measure --scale {SCALE} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"
