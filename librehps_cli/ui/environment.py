"""Environment variables for every flag of a command."""

import inspect
import os
import re
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Annotated, get_args

import typer
from typer.models import OptionInfo


def from_environment(prefix: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that lets each flag be given by a variable: `PREFIX_MAX_ITEMS`.

    A flag on the command line has priority. A repeatable flag takes several values, separated by
    whitespace or commas. An empty variable counts as unset.
    """

    def attach(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        parameters = [_with_variable(each, prefix) for each in signature.parameters.values()]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return attach


def unknown_variables(command: Callable[..., None], prefix: str) -> list[str]:
    """Return the variables in the environment that start like those of flags, but are none."""
    parameters = inspect.signature(command).parameters.values()
    known = {f"{prefix}_{each.name.upper()}" for each in parameters if _is_flag(each)}
    return sorted(
        name for name in os.environ if name.startswith(f"{prefix}_") and name not in known
    )


def name_variables(context: typer.Context, prefix: str, message: str) -> str:
    """Return a message of an error in which flags that were given by variables name them."""

    def named(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        variable = f"{prefix}_{name.upper()}"
        # A repeatable flag takes its variable as a default.
        source = context.get_parameter_source(name)
        is_typed = source is not None and source.name == "COMMANDLINE"
        is_variable = bool(os.environ.get(variable)) and not is_typed
        return f"{flag[0]} (from {variable})" if is_variable else flag[0]

    return re.sub(r"--([a-z][a-z-]*[a-z])", named, message)


def _is_flag(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is not typer.Context


def _with_variable(parameter: inspect.Parameter, prefix: str) -> inspect.Parameter:
    if not _is_flag(parameter):
        return parameter
    kind, *extras = get_args(parameter.annotation) or (parameter.annotation,)
    [option] = [copy(extra) for extra in extras if isinstance(extra, OptionInfo)]
    variable = f"{prefix}_{parameter.name.upper()}"
    option.show_envvar = False
    if "list[" in str(kind):
        # Click would split at whitespace alone.
        option.default_factory = partial(_values, variable)
        parameter = parameter.replace(default=inspect.Parameter.empty)
    else:
        known = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
        # The variable of the command has priority over that of all commands.
        option.envvar = [variable, *known]
    return parameter.replace(annotation=Annotated[kind, option])


def _values(variable: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", os.environ.get(variable, "")) if word]
