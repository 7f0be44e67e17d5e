"""The methods: what every file in baselines/ says of itself, with the full reference from references.bib."""

import html

from pybtex.database import parse_file
from pybtex.plugin import find_plugin

from hsivi.baseline_file import MethodInfo
from hsivi.config import ROOT
from hsivi.experiment import TASKS
from hsivi.methods import describe, method_files

HEADINGS = {
    "diffusion": ("Samplers of diffusion models", "They are given a score model and a time grid."),
    "inference": ("Methods of variational inference", "They are given a density and the bridge's base."),
    "both": ("Methods of both kinds", "They take part in every experiment that does not switch them off."),
}


def methods() -> str:
    """Return a section for every kind of method, and in it one for every file."""
    known, cited = [describe(path) for path in method_files().values()], references()
    lines = []
    for kind, (heading, sentence) in HEADINGS.items():
        own = [method for method in known if _kind(method) == kind]
        if own:
            lines += [f"## {heading}", "", sentence, "", *(_section(method, cited) for method in own)]
    return "\n".join(lines)


def references() -> dict[str, str]:
    """Return every entry of references.bib by its key, as HTML for people."""
    style = find_plugin("pybtex.style.formatting", "unsrt")()
    backend = find_plugin("pybtex.backends", "html")()
    entries = parse_file(str(ROOT / "references.bib"), "bibtex").entries.values()
    return {entry.key: " ".join(entry.text.render(backend).split()) for entry in style.format_entries(entries)}


def _kind(method: MethodInfo) -> str:
    return "both" if set(method.tasks) == set(TASKS) else method.tasks[0]


def _section(method: MethodInfo, cited: dict[str, str]) -> str:
    budgets = "the experiment's" if method.nfe is None else ", ".join(map(str, method.nfe))
    settings = ", ".join(f"`{name}`" for name in method.config_fields) or "none"
    facts = {
        "learns": "yes, in the stage `fit`" if method.needs_fit else "nothing",
        "evaluations": budgets,
        "settings": settings,
        "reference": cited[method.citation],
    }
    lines = [
        f"### {method.title} {{ #{method.name} }}",
        "",
        html.escape(method.summary, quote=False),
        "",
        f"| file | `baselines/{method.name}.py` |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
    ]
    return "\n".join(lines)
