"""Stands for the process that the fork server forks for it; see forks.py. Standard library alone.

Sends its streams, arguments, folder and environment; then every signal that it gets. It stops where
that process stops, and ends as it ends; where it is killed itself, the server kills the other.
"""

import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCONT)


def main() -> None:
    link = socket.socket(socket.AF_UNIX)
    link.connect(sys.argv[1])
    for number in FORWARDED:
        signal.signal(number, lambda number, _: link.send(bytes([number])))
    # Of `python -I -S fork_client.py SOCKET ARGUMENTS`; the interpreter took what stood before.
    said = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    body = json.dumps(said).encode()
    socket.send_fds(link, [len(body).to_bytes(8, "big")], [0, 1, 2])
    link.sendall(body)
    for stream in (0, 1, 2):
        os.close(stream)
    while os.WIFSTOPPED(status := int.from_bytes(link.recv(4), "big")):
        os.kill(os.getpid(), signal.SIGSTOP)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) in FORWARDED:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


main()
