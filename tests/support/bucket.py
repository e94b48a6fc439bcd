"""A bucket on a server of this machine (moto), with what a local folder holds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAME = "bucket"


@contextmanager
def bucket() -> Iterator[str]:
    """Yield the URL of an empty bucket; the environment of the process leads to its server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            system().mkdir(NAME)
            yield f"s3://{NAME}"
        finally:
            server.stop()


def system():
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


def upload(folder: Path, url: str) -> None:
    """Copy every file below a folder to a URL of the bucket."""
    target = system()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            target.pipe_file(f"{url}/{name}", file.read_bytes())
