"""The choice of the sink for an output file, and checks of the file name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from librehps.errors import UsageError
from librehps.files import PARTIAL, check_file, check_free
from librehps.scores.jsonl import JsonlSink
from librehps.scores.markers import JOURNAL_SUFFIX, SETTINGS_SUFFIX
from librehps.scores.sink import Sink
from librehps.settings import Settings
from librehps.storage.url_path import AnyPath

PARQUET, JSONL = ".parquet", ".jsonl"
FORMATS = "use .parquet, .jsonl, or - for stdout"


def check_output(output: AnyPath, overwrite: bool) -> None:
    """Raise UsageError for a file that exists, or that cannot be an output file."""
    if isinstance(output, Path):
        check_suffix(output)
    else:
        check_url_suffix(output)
    check_free(output, overwrite)


def check_url_suffix(output: AnyPath) -> None:
    """Raise UsageError for a URL that cannot be that of a scored file."""
    suffix = output.suffix.lower()
    if suffix not in (PARQUET, JSONL):
        raise UsageError(f"{output}: unsupported output format {suffix!r}: {FORMATS}")


def check_suffix(output: Path) -> None:
    """Raise UsageError for a path that cannot be a scored file, or have its journal next to it."""
    companions = (SETTINGS_SUFFIX + PARTIAL, JOURNAL_SUFFIX)
    check_file(output, (PARQUET, JSONL), FORMATS, companions)


def open_sink(
    output: Path,
    settings: Settings,
    columns: Mapping[str, str] | None = None,
    request: Mapping[str, Any] | None = None,
    home: AnyPath | None = None,
) -> Sink:
    """Return the sink for the file's suffix, a context manager; the file stores `request`.

    `home` is the URL that the file is moved to.
    """
    if output.suffix.lower() == JSONL:
        return JsonlSink(output, settings, columns, request, home)
    # Imported here: a row on stdout needs no pyarrow.
    from librehps.scores.parquet import ParquetSink

    return ParquetSink(output, settings, columns, request, home)
