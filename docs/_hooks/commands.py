"""The command line as its parser describes it."""

import argparse
import html

from hsivi.__main__ import _parser

WIDTH = 88


def commands() -> str:
    """Return a section for every command: what it does, how it is called, its arguments."""
    return "\n".join(_section(name, command, text) for name, command, text in subcommands())


def subcommands() -> list[tuple[str, argparse.ArgumentParser, str]]:
    """Return name, parser and description of every command, in the parser's order."""
    (action,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return [(name, command, command.description or "") for name, command in action.choices.items()]


def _section(name: str, command: argparse.ArgumentParser, text: str) -> str:
    command.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
    usage = command.format_usage().removeprefix("usage: ").replace("\n       ", "\n")
    lines = [f"### hsivi {name} {{ #{name} }}", "", f"{_sentence(text)}", "", "```text", usage.rstrip(), "```", ""]
    own = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    if own:
        lines += ["| argument | | meaning |", "| --- | --- | --- |", *map(_row, own), ""]
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings or [action.metavar or action.dest])
    kind = "required" if action.required and action.option_strings else "positional" if action.required else "optional"
    meaning = html.escape(action.help or "").replace("|", r"\|")
    return f"| {names} | {kind} | {meaning} |"


def _sentence(text: str) -> str:
    """Return a description as a sentence, with what HTML would read otherwise escaped."""
    escaped = html.escape(text[:1].upper() + text[1:], quote=False)
    return escaped if escaped.endswith(".") else f"{escaped}."
