"""Texts that harm nobody who opens a file: whatever a name or a note holds, it stays words."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

FORMULA = re.compile(r"[\t\r]|\s*[=@]|\s*[+-](?!$|([\d.]+(e[+-]?\d+)?|inf|nan)(\s(?!.*\w\()[^|!=@]*)?$)")
"""A cell that a spreadsheet would compute; a number with its sign, and a deviation or words after it, is none."""
TAG = re.compile(r"<(?=[A-Za-z/!?])")
PLAIN = re.compile(r"[ -~\n\t]*")
"""What most texts are; pictures are too long to look at a character at a time in Python."""


def csv_cell(text: str) -> str:
    """Return a cell of a CSV file that stays one, and that spreadsheets take for words or a number, never a formula."""
    text = " ".join(text.splitlines())  # csv writes a lone carriage return as it is, which ends a row for who reads it
    return f"'{text}" if FORMULA.match(text) else text


def markdown_cell(text: str) -> str:
    """Return a cell of a Markdown table that stays one cell and is no HTML."""
    return TAG.sub(r"\\<", " ".join(text.splitlines())).replace("|", r"\|")


def visible(value: Any) -> Any:
    """Return a value whose texts, at any depth, have no characters that hide or turn round what is beside them."""
    if isinstance(value, str) and not isinstance(value, Markup):
        if PLAIN.fullmatch(value):
            return value
        return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf") else _spelt(c) for c in value)
    if isinstance(value, Mapping):
        return {visible(key): visible(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(visible, value))
    return value


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode()
