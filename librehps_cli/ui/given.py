"""Flags that were given on the command line."""

from collections.abc import Callable

import typer

from librehps.errors import UsageError


def refuse_given(context: typer.Context, is_refused: Callable[[str], bool], problem: str) -> None:
    """Raise UsageError for a given flag whose parameter's name is refused."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE"
        if is_given and is_refused(name):
            flag = parameter.opts[0]
            raise UsageError(f"{flag}: {problem}", hint=f"Leave out {flag}.")
