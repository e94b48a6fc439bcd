"""Imports what the command line imports, and forks a process for each client; see forks.py."""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import types
from pathlib import Path
from typing import Any

# What most commands import, at once or later; pyarrow imports pandas with the first table that it
# makes of rows. Nothing here may compute, since threads do not survive a fork.
IMPORTED = (
    "librehps_cli.main", "librehps_cli.commands.score", "librehps_cli.commands.serve",
    "librehps.runs.run", "librehps.runs.local", "librehps.runs.local_parts", "librehps.scorer",
    "librehps.serve.server", "pandas", "pyarrow.parquet", "tokenizers",
)  # fmt: skip
for imported in (*IMPORTED, *os.environ.get("FORKS_IMPORT", "").split()):
    importlib.import_module(imported)


def serve() -> dict[str, Any]:
    """Returns in each forked process alone: what is to be run there."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    os.write(1, b"ready\n")
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if listener not in readable:
            os._exit(0)
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return keep(link)
        link.close()


def keep(link: socket.socket) -> dict[str, Any]:
    """Fork the process and forward signals to it, and its stops and end to the client."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(link, 8, 3)
    body = b""
    while len(body) < int.from_bytes(size, "big"):
        body += link.recv(1 << 16)
    child = os.fork()
    if child == 0:
        link.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return json.loads(body)
    for number in (0, 1, 2, *streams):
        os.close(number)

    def pass_on() -> None:
        while number := link.recv(1):
            os.kill(child, number[0])
        os.kill(child, signal.SIGKILL)

    threading.Thread(target=pass_on, daemon=True).start()
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        link.send(status.to_bytes(4, "big"))
        if not os.WIFSTOPPED(status):
            os._exit(0)


def become(said: dict[str, Any]) -> None:
    """Set what the interpreter sets when it starts."""
    os.setsid()
    os.chdir(said["folder"])
    os.environ.clear()
    os.environ.update(said["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # `nohup make test` ignores it, and processes inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    unbuffered = "PYTHONUNBUFFERED" in os.environ
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        standard = getattr(sys, name)
        stream = open(  # noqa: SIM115 - lives as long as the process
            number,
            "r" if number == 0 else "w",
            encoding=standard.encoding,
            errors=standard.errors,
            closefd=False,
        )
        if number:
            by_line = number == 2 or stream.isatty()
            stream.reconfigure(line_buffering=by_line, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def run(arguments: list[str]) -> None:
    """`-m MODULE`, `-c CODE` or a script, each with its arguments."""
    kind, *rest = arguments
    if kind == "-m":
        sys.argv, sys.path[0] = rest, str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-c":
        name, code = "<string>", rest.pop(0)
        sys.argv, sys.path[0] = ["-c", *rest], ""
    else:
        name, code = kind, Path(kind).read_text()
        main.__file__ = name
        sys.argv, sys.path[0] = arguments, str(Path(kind).resolve().parent)
    exec(compile(code, name, "exec"), main.__dict__)  # noqa: S102 - as the interpreter does


if __name__ == "__main__":
    wanted = serve()
    become(wanted)
    run(wanted["arguments"])
