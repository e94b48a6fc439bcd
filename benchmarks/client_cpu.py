"""Processor time that a client spends on an item, and bytes on the wire, by form of the request.

    python benchmarks/client_cpu.py [--size 1024] [--file-mb 2.6] [--rounds 20]

The server is a stand-in process that reads each body and answers at once, so that only the client's
work is measured: all threads of this process, from the item to its row.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from PIL import Image

from librehps import Item
from librehps.rewards import RewardClient
from librehps.rewards.balance import Server
from librehps.rewards.encoding import binary_body, entry_of, json_body
from librehps.rewards.exchange import Ask
from librehps.rewards.transport import Connections

ROW = {"id": "0", "status": "ok", "overall": 0.5, "overall_mu": 0.0}
ANSWER = json.dumps({"items": [ROW], "settings": "0123456789ab"}).encode()


class Reader(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any) -> None:
        pass


def listen(said: Connection) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Reader) as server:
        said.send(server.server_port)
        server.serve_forever()


def cases(size: int, file_mb: float) -> dict[str, Any]:
    """The media of each case, of noise: no form can be compressed."""
    floats = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = (floats * 255).round().to(torch.uint8)
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return {
        "float tensor": floats,
        "uint8 tensor": pixels,
        "uint8 array": array,
        "Pillow image": Image.fromarray(array),
        "clip of 8 frames": np.stack([array] * 8),
        f"file of {file_mb:g} MB": b"\x89PNG\r\n\x1a\n" + os.urandom(int(file_mb * 1e6)),
    }


def milliseconds(call: Any, rounds: int) -> float:
    """Processor time of a call, the median of the rounds."""
    call()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return 1000 * statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--file-mb", type=float, default=2.6)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    heard, said = multiprocessing.Pipe(False)
    process = multiprocessing.get_context("spawn").Process(target=listen, args=(said,), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{heard.recv()}"
    client, connections = RewardClient(url, timeout=600), Connections(None)
    for name, media in cases(options.size, options.file_mb).items():
        item = Item("0", media, "a lighthouse on a cliff at dusk, waves below")

        def as_binary(item: Item = item) -> None:
            assert client.score([item]) != [None]

        def as_json(item: Item = item) -> None:
            ask = Ask(Server(url), "/score", 600.0, json_body([entry_of(0, item)]))
            assert connections.ask(ask).is_ok  # type: ignore[union-attr]

        times = [milliseconds(call, options.rounds) for call in (as_binary, as_json)]
        sizes = [body([entry_of(0, item)]).size for body in (binary_body, json_body)]
        print(f"{name:18} binary {times[0]:7.2f} ms {sizes[0]:>11,} bytes"
              f"   JSON {times[1]:8.2f} ms {sizes[1]:>11,} bytes")  # fmt: skip
    process.terminate()


if __name__ == "__main__":
    main()
