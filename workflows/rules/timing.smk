# How long sampling takes, for experiments with a section "timing".  It needs neither data nor anything trained.
# A duration counts only if nothing else runs meanwhile, so a job takes all cores.


rule time:
    output:
        CELL.timing,
    log:
        f"{LOGS}/time/{{experiment}}/{{dataset}}/{{label}}-nfe{{nfe}}.log",
    conda:
        "../../environment.yml"
    threads: lambda w: cores_of_a_job()
    resources:
        mem_mb=asks("time", "mem_mb"),
        runtime=asks("time", "runtime"),
        gpu=asks("time", "gpu"),
        # Alone on its node, as on this machine, where it takes all cores.
        slurm_extra="--exclusive",
    params:
        scale=SCALE,
        code=lambda w: provenance.code_digest(
            provenance.stage_file("time"), baseline_file(w)
        ),
        settings=lambda w: settings.of_time(EXPERIMENTS[w.experiment], cell_of(w)),
    shell:
        "python -m hsivi time --scale {params.scale} --experiment {wildcards.experiment} --dataset {wildcards.dataset}"
        " --method {wildcards.label} --nfe {wildcards.nfe} --threads {threads} 2>&1 | tee {log}"
