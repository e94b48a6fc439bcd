"""A gateway for scorers' clients that POST pickles: UNSAFE by nature, and never on by itself.

Some trainers (Flow-GRPO, DDPO, verl-omni) send images to a scorer as a pickle, and read a pickle.
A pickle is a program. This gateway has each one read by a process of its own, without secrets
(`pickle_reader.py`), and asks a `librehps serve` for the scores. The gateway itself, which has the
token of the server, reads no pickle. Use an adapter beside this file if you can change the trainer.

    python pickle_gateway.py --unsafe-pickle --port 18085

Request: {"images": [encoded bytes or (H, W, 3) arrays], "prompts": [texts], ..}. Answer:
{"outputs": [rewards], "scores": [rewards]}. For DDPO's LLaVA-BERTScore client, whose prompts are
`answers`, the reward is the `recall`. An error is {"error": reason}, with status 500 if a later try
may succeed. Clients of such protocols send no token: leave the address on loopback.
"""

import argparse
import ctypes
import json
import logging
import math
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from librehps.errors import LibreHPSError, RewardServerError
from librehps.rewards import RewardClient, ddpo_reward

READER = Path(__file__).with_name("pickle_reader.py").resolve()
READ_TIMEOUT_S, IDLE_TIMEOUT_S = 30.0, 300.0
# Memory of the reading process: its own, and some copies of the body.
READER_BYTES, READER_COPIES = 256 << 20, 6
HEADER_BYTES, BLOCK_BYTES = 16 << 20, 1 << 16
# Requests of the largest size that are in memory at a time; smaller ones may be more.
HELD_REQUESTS = 8
PR_SET_DUMPABLE = 4


class RefusedError(Exception):
    """A request that cannot be read or scored; `status` is that of the answer."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def read_request(body: bytes) -> tuple[list[Any], list[str], bool]:
    """Return (images, prompts, whether these were answers) as a confined process read them."""
    memory = READER_BYTES + READER_COPIES * len(body)
    try:
        reader = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(READER), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        raise RefusedError(f"no process to read the request: {error}", 500) from error
    stdin, stdout = cast("IO[bytes]", reader.stdin), cast("IO[bytes]", reader.stdout)
    timer = threading.Timer(READ_TIMEOUT_S, reader.kill)
    writer = threading.Thread(target=_feed, args=(stdin, body))
    timer.start()
    writer.start()
    try:
        # A pickle can name one image a thousand times: no more is taken than was sent.
        return _parsed(stdout.read(len(body) + HEADER_BYTES))
    finally:
        timer.cancel()
        reader.kill()
        reader.wait()
        writer.join()
        stdout.close()


def _feed(pipe: IO[bytes], body: bytes) -> None:
    # The reader may have ended.
    with suppress(BrokenPipeError), pipe:
        pipe.write(body)


def _parsed(output: bytes) -> tuple[list[Any], list[str], bool]:
    """Return the request in the reader's output, of which nothing is taken on trust."""
    try:
        start = 8 + struct.unpack("<Q", output[:8])[0]
        header = json.loads(output[8:start])
        if "error" in header:
            raise RefusedError(str(header["error"]))
        images: list[Any] = []
        for told in header["images"]:
            data = output[start : start + int(told["size"])]
            start += len(data)
            shape = told["shape"]
            images.append(data if shape is None else np.frombuffer(data, np.uint8).reshape(shape))
            if len(data) != told["size"]:
                raise ValueError("cut off")
        return images, [str(prompt) for prompt in header["prompts"]], bool(header["has_answers"])
    except (struct.error, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise RefusedError("the pickle cannot be read, or is too large") from error


class Gateway(ThreadingHTTPServer):
    """The gateway's HTTP server; `reward(images, prompts)` gives rewards, NaN without a score."""

    daemon_threads = True
    # All ranks of a trainer connect at the same time.
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], reward: Any, options: argparse.Namespace) -> None:
        super().__init__(address, Handler)
        self.reward, self.unscored = reward, options.unscored
        self.max_bytes = options.max_body_mb << 20
        self.readers = threading.Semaphore(os.cpu_count() or 1)
        self.room, self.held_bytes = threading.Condition(), 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Wait until there is memory for a request of `size` bytes; raises RefusedError."""
        limit = HELD_REQUESTS * self.max_bytes
        with self.room:
            if not self.room.wait_for(lambda: self.held_bytes + size <= limit, READ_TIMEOUT_S):
                raise RefusedError("too many large requests at a time: try again", 500)
            self.held_bytes += size
        try:
            yield
        finally:
            with self.room:
                self.held_bytes -= size
                self.room.notify_all()

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the answer to a request; raises RefusedError."""
        with self.readers:
            images, prompts, has_answers = read_request(body)
        try:
            rewards = [float(reward) for reward in self.reward(images, prompts)[0]]
        except RewardServerError as error:
            raise RefusedError(str(error), 500) from error
        except LibreHPSError as error:
            raise RefusedError(str(error)) from error
        if self.unscored is None and any(map(math.isnan, rewards)):
            raise RefusedError("an image cannot be scored: see the gateway's log, or --unscored")
        rewards = [self.unscored if math.isnan(reward) else reward for reward in rewards]
        if has_answers:
            columns = [[reward] for reward in rewards]
            texts = [[f"reward {reward:.4g}"] for reward in rewards]
            return {"recall": columns, "precision": columns, "f1": columns, "outputs": texts}
        return {"outputs": rewards, "scores": rewards}


class Handler(BaseHTTPRequestHandler):
    """The handler of one connection."""

    server: Gateway
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        self._say(200, b"ok")

    def do_POST(self) -> None:
        self.unread = 0
        try:
            self.unread = size = self._size()
            with self.server.holding(size):
                body, self.unread = self.rfile.read(size), 0
                answer = pickle.dumps(self.server.answer(body))
        except RefusedError as error:
            self.log_error("refused: %s", error)
            self._skip_unread()
            self._say(error.status, pickle.dumps({"error": str(error)}))
        else:
            self._say(200, answer)

    def _size(self) -> int:
        """Return the number of bytes of the body, which are not yet read; raises RefusedError."""
        length = self.headers.get("Content-Length", "")
        self.close_connection = True
        if "Origin" in self.headers:
            raise RefusedError("not for browsers", 403)
        if not length.isdecimal():
            raise RefusedError("no Content-Length", 411)
        if int(length) > self.server.max_bytes:
            self.unread = int(length)
            raise RefusedError("the request is too large: see --max-body-mb", 413)
        self.close_connection = False
        return int(length)

    def _skip_unread(self) -> None:
        """Read the rest of a refused body: a client that still sends does not read the answer."""
        while self.unread and (block := self.rfile.read(min(self.unread, BLOCK_BYTES))):
            self.unread -= len(block)

    def _say(self, status: int, body: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--unsafe-pickle",
        action="store_true",
        required=True,
        help="I know that a pickle from an untrusted client may do harm",
    )
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="the reward server")
    parser.add_argument("--token-file", type=Path, help="a file with the server's token")
    parser.add_argument("--host", default="127.0.0.1", help="anyone who reaches it can use it")
    parser.add_argument("--port", type=int, default=18085)
    parser.add_argument("--axis", default="overall")
    parser.add_argument("--scale", choices=("mu", "mean"), default="mu")
    parser.add_argument("--unscored", type=float, help="the reward of an image without a score")
    parser.add_argument("--max-body-mb", type=int, default=64)
    return parser.parse_args(arguments)


def gateway(options: argparse.Namespace) -> Gateway:
    """Return a gateway that listens."""
    token = options.token_file.read_text() if options.token_file else None
    client = RewardClient(options.server, token, retries=2)
    reward = ddpo_reward(client, missing="nan", axis=options.axis, scale=options.scale)()
    return Gateway((options.host, options.port), reward, options)


def main() -> None:
    options = parse()
    logging.basicConfig(format="%(message)s")
    if sys.platform == "linux":
        # Then no process of the same user reads the token in this one's memory.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    server = gateway(options)
    if options.host not in ("127.0.0.1", "::1", "localhost"):
        logging.warning("%s: anyone who reaches this address can send pickles", options.host)
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        logging.warning(
            "pickles are read by processes of this user, who can change this user's files if they "
            "break out: run the gateway as a user of its own, or as root, which they give up"
        )
    logging.warning("pickles are read at http://%s:%d", options.host, server.server_port)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
