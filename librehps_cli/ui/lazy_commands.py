"""Commands whose modules are imported only when the command is called."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

from librehps_cli.ui.help import HelpCommand, epilog, help_page


@dataclass(frozen=True)
class LazyCommand:
    """A command's name, its function (`module:function`) and its help in one line."""

    name: str
    function: str
    help: str

    def load(self) -> Callable[..., None]:
        """Import the command's module and return its function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., None] = getattr(import_module(module), name)
        return function


class LazyGroup(TyperGroup):
    """A group that lists commands by name and help, and imports only the resolved command.

    Calls, `COMMAND --help` and shell completion all pass through `resolve_command`; the list of
    commands does not.
    """

    lazy: ClassVar[dict[str, LazyCommand]] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return (name, loaded command, remaining arguments); an unknown name imports nothing."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name not in self.lazy:
            return name, listed, rest
        return name, _loaded(self.lazy[name]), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page, with the name and help of each command."""
        commands = [(command.name, command.help) for command in self.lazy.values()]
        formatter.write(help_page(self, ctx, commands))


def add_lazily(app: typer.Typer, commands: list[LazyCommand]) -> None:
    """Register each command by name and help alone; the app's class must be LazyGroup."""
    LazyGroup.lazy = {command.name: command for command in commands}
    for command in commands:
        app.command(command.name, help=command.help)(_not_loaded)


def add_loaded(app: typer.Typer, command: LazyCommand) -> None:
    """Import the command's module and register its function, with the examples of its help."""
    function = command.load()
    text = epilog(getattr(function, "examples", ()))
    app.command(command.name, cls=HelpCommand, epilog=text)(function)


def _not_loaded() -> None:
    raise AssertionError("a listed command is called only once it is loaded")


def _loaded(command: LazyCommand) -> Any:
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    add_loaded(alone, command)
    return get_command(alone)
