r"""Formulas of the documentation as MathML, which browsers draw without a script or a font of ours.

A page writes TeX, ``$...$`` in a line and ``$$...$$`` on its own; arithmatex marks it, and here it becomes MathML.
"""

import html
import re

from latex2mathml.converter import convert

MARKED = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Replace every formula of a page; an event of mkdocs."""
    return MARKED.sub(_formula, content)


def _formula(found: re.Match[str]) -> str:
    kind, tex = found.group(1), html.unescape(found.group(2)).strip()
    mathml = convert(tex, display="block" if kind == "div" else "inline")
    # A wide formula scrolls by itself on a phone, not the page.
    return mathml if kind == "span" else f'<div class="formula" tabindex="0">{mathml}</div>'
