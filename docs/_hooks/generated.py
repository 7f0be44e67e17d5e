"""Parts of pages that are made from the code, so that they cannot go stale.

A page holds ``<!-- generated: NAME ARGUMENT -->`` where such a part belongs; the argument is optional.
"""

import re
from collections.abc import Callable

from docs._hooks.commands import commands
from docs._hooks.experiments import budgets, grids, overview
from docs._hooks.methods import methods

PLACE = re.compile(r"^<!-- generated: (\w+) ?(\w*) -->$", re.MULTILINE)
PARTS: dict[str, Callable[..., str]] = {
    "budgets": budgets,
    "commands": commands,
    "grids": grids,
    "methods": methods,
    "overview": overview,
}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the generated parts of a page; an event of mkdocs.

    Raises:
        KeyError: a page asks for a part that there is not.
    """
    return PLACE.sub(lambda found: PARTS[found.group(1)](*filter(None, [found.group(2)])), markdown)
