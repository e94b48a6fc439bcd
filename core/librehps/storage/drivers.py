"""Files at URLs of other schemes (s3, gs, az, hf, memory), by the installed fsspec drivers."""

import inspect
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from librehps.errors import StorageError
from librehps.storage.faults import fault, network_fault
from librehps.storage.limits import Limits, limits
from librehps.storage.outcome import Outcome
from librehps.storage.places import shown

# Packages of the extra `remote`, by scheme.
PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip

# The cause of the error of a URL whose package is not installed, or whose scheme no package has.
NO_DRIVER = "no driver"

T = TypeVar("T")

# Held while a driver starts: threads that need the same one must not start one each.
_starting = threading.Lock()


def call(place: str, seconds: float, task: Callable[[Any, str], T]) -> T:
    """Return `task(file system, path)`; raises StorageError, also after `seconds`.

    The task runs in a thread of its own, which is given up when it never ends.
    """
    outcome: Outcome[T] = Outcome()

    def run() -> None:
        with outcome:
            outcome.value = task(*system_of(place))

    thread = threading.Thread(target=run, name="storage", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise network_fault(place, "timeout", f"no answer in {seconds:.0f} s")
    if isinstance(outcome.error, ImportError):
        raise _driver_missing(place, outcome.error) from outcome.error
    if outcome.error is not None:
        raise fault(place, outcome.error) from outcome.error
    return outcome.value


def system_of(place: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, which all threads share, and the path in it."""
    import fsspec

    if "::" in place:
        system, path = fsspec.core.url_to_fs(place)
        return system, path
    scheme = place.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise StorageError(
            f"{shown(place)} cannot be read: no driver for {scheme}://", cause=NO_DRIVER
        )
    kind = fsspec.get_filesystem_class(scheme)
    options = tuple(sorted(kind._get_kwargs_from_urls(place).items()))
    with _starting:
        system = _system(os.getpid(), scheme, options, limits())
    return system, kind._strip_protocol(place)


def whole(system: Any, path: str) -> bytes:
    """Return the content of a file, by one request."""
    # s3fs otherwise asks for the size of each file first, to read a large one by several requests.
    is_s3 = "s3" in system.protocol and "max_concurrency" in _parameters("s3")
    return bytes(system.cat_file(path, **({"max_concurrency": 1} if is_s3 else {})))


@lru_cache(maxsize=1)
def _parameters(scheme: str) -> frozenset[str]:
    """Return the names of the parameters of a driver's function that reads a file."""
    import fsspec

    return frozenset(inspect.signature(fsspec.get_filesystem_class(scheme)._cat_file).parameters)


@lru_cache(maxsize=64)
def _system(process: int, scheme: str, options: tuple[tuple[str, Any], ...], bounds: Limits) -> Any:
    import fsspec

    given = {**_bounded(scheme, bounds), **dict(options)}
    # One of our own: fsspec keeps one a thread, and the user's must not get our timeouts.
    system = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **given)
    if scheme in ("s3", "s3a"):
        # Retries of retries would multiply.
        system.retries = 1
    return system


def _bounded(scheme: str, bounds: Limits) -> dict[str, Any]:
    """Return a driver's options for timeouts, in addition to those in the user's fsspec config."""
    import fsspec

    user: dict[str, Any] = fsspec.config.conf.get(scheme, {})
    connect, wait = bounds.connect_s, bounds.timeout_s
    if scheme in ("s3", "s3a"):
        usual = {
            "connect_timeout": connect,
            "read_timeout": wait,
            "retries": {"mode": "standard", "total_max_attempts": 1},
        }
        return {"config_kwargs": {**usual, **user.get("config_kwargs", {})}}
    if scheme in ("gs", "gcs"):
        return {} if "requests_timeout" in user else {"requests_timeout": wait}
    if scheme in ("az", "abfs", "abfss"):
        usual = {"connection_timeout": round(connect), "read_timeout": round(wait)}
        return {name: value for name, value in usual.items() if name not in user}
    if scheme in ("http", "https") and "client_kwargs" not in user:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, connect=connect, sock_read=wait)
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    return {}


def _driver_missing(place: str, error: ImportError) -> StorageError:
    package = PACKAGES.get(place.partition("://")[0])
    if package is None:
        return StorageError(f"{shown(place)} cannot be read: {error}", cause=NO_DRIVER)
    return StorageError(
        f"{shown(place)} needs {package}: pip install 'librehps[remote]'", cause=NO_DRIVER
    )
