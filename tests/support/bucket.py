"""A bucket on a server of this machine (moto) that can fail, filled from a local folder."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from librehps.storage import drivers

NAME = "bucket"
THING = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING")


@dataclass
class Bucket:
    """A bucket at `url`, on a server that counts the `requests`.

    `fail(n)` tells how the n-th request (from 1) goes wrong: None, 503, `short` (half of the
    answer, then the connection is closed), or `lost` (done, but answered by 500). `fail_one(n)`
    tells it of the n-th request for one thing.
    """

    url: str = f"s3://{NAME}"
    requests: int = 0
    fail: Callable[[int], object] = lambda n: None
    fail_one: Callable[[int], object] = lambda n: None
    things: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def around(self, app: Any) -> Any:
        """Return the WSGI application of the server, with failures."""

        def answer(environ: Any, start: Any) -> Any:
            with self.lock:
                self.requests += 1
                thing = " ".join(environ[name] for name in THING)
                self.things[thing] += 1
                problem = self.fail(self.requests) or self.fail_one(self.things[thing])
            if problem == 503:
                start("503 Slow Down", [("Content-Length", "0")])
                return []
            if problem == "lost":
                b"".join(app(environ, lambda *_: None))
                start("500 Internal Server Error", [("Content-Length", "0")])
                return []
            body = b"".join(app(environ, start))
            return [body[: len(body) // 2] if problem == "short" else body]

        return answer


@contextmanager
def bucket() -> Iterator[Bucket]:
    """Yield an empty bucket; the environment of the process leads to its server."""
    from moto.core.base_backend import BackendDict
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from s3fs import S3FileSystem
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    made = Bucket()
    app = made.around(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            system().mkdir(NAME)
            yield made
        finally:
            server.shutdown()
            server.server_close()
            # Moto keeps its buckets, and drivers the address, when the server has ended.
            BackendDict.reset()
            drivers._system.cache_clear()
            S3FileSystem.clear_instance_cache()


def system() -> Any:
    from s3fs import S3FileSystem

    return S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def upload(folder: Path, url: str) -> None:
    """Copy every file below a folder to a URL of the bucket."""
    target = system()
    files = [file for file in folder.rglob("*") if file.is_file()]
    target.pipe({f"{url}/{f.relative_to(folder).as_posix()}": f.read_bytes() for f in files})
