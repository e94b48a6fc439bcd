"""Errors for an output that cannot be resumed."""

from collections.abc import Sequence

from librehps.errors import UsageError
from librehps.storage.url_path import AnyPath

SAME_COLUMNS_HINT = "Use the same --columns, another -o, or --overwrite to start over."


def lacking_columns(output: AnyPath, lacking: Sequence[str], verb: str = "resume") -> UsageError:
    """Return the error for an output to continue that has not all columns of the run."""
    return UsageError(
        f"cannot {verb} {output}: columns not found: {', '.join(lacking)}", hint=SAME_COLUMNS_HINT
    )


def other_columns(output: AnyPath, names: Sequence[str]) -> UsageError:
    """Return the error for an output to resume whose columns have other types than the run's."""
    return UsageError(
        f"cannot resume {output}: columns differ in type: {', '.join(names)}",
        hint=SAME_COLUMNS_HINT,
    )


def changed_source(output: AnyPath, found: str | None, expected: str | None) -> UsageError:
    """Return the error for a row of the output whose id is not that of the source's item."""
    row = "no row" if found is None else repr(found)
    item = "no item" if expected is None else repr(expected)
    return UsageError(
        f"the source has changed: {output} has {row} where the source has {item}",
        hint="Restore the source for --retry-errors, or use --overwrite to start over.",
    )


def changed_output(output: AnyPath, found: str, expected: str) -> UsageError:
    """Return the error for an output that has changed since `--retry-errors` was interrupted."""
    return UsageError(
        f"cannot resume {output}: the file has changed ({found}; expected {expected})",
        hint="Restore the file, or use --overwrite to start over.",
    )


def unfinished_update(output: AnyPath) -> UsageError:
    """Return the error for an interrupted update that is to be resumed as a plain run."""
    return UsageError(
        f"cannot resume {output}: the unfinished run is an update",
        hint="Continue with --update, or use --overwrite to start over.",
    )


def just_finished(output: AnyPath) -> UsageError:
    """Return the error for an output that another process has written since this one started."""
    return UsageError(f"another process has just finished the run of {output}")
