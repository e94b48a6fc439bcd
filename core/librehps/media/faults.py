"""The error of an item whose media could not be read from a path or URL."""

from collections.abc import Iterator
from contextlib import contextmanager

from librehps.errors import (
    MediaDeniedError,
    MediaError,
    MediaNotFoundError,
    NetworkError,
    StorageDeniedError,
    StorageError,
    StorageNetworkError,
    StorageNotFoundError,
)


def media_error(error: StorageError) -> MediaError:
    """Return the error of the item whose media a StorageError kept from being read."""
    text = str(error)
    if isinstance(error, StorageNotFoundError):
        return MediaNotFoundError(text)
    if isinstance(error, StorageDeniedError):
        return MediaDeniedError(text, error.hint, error.cause, error.host)
    if isinstance(error, StorageNetworkError):
        return NetworkError(text, error.hint, error.cause, error.host)
    return MediaError(text, error.hint)


@contextmanager
def reading() -> Iterator[None]:
    """Raise the MediaError of a StorageError of the block."""
    try:
        yield
    except StorageError as error:
        raise media_error(error) from error
