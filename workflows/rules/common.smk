# What rules ask about the cell they are about.


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
