"""Runs the command line with `--engine ray`, in which processes die at the moments that are named.

    python tests/support/ray_killer.py FOLDER MOMENTS ARGS...

Each comes once in the life of FOLDER, which keeps a file named after it from then on. Of MOMENTS,
joined by commas: an actor kills itself while it decodes (`decoding`) or writes a part (`writing`);
`driver` does once a part is written; `interrupt` sends itself SIGINT then; `node` kills the process
NODE_PID, which is a node's; with `head` the run kills HEAD_PID, Ray's head, between two looks at it
once an actor loads the model, and none scores a row.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from librehps.runs.parts_job import PartsJob
from librehps.runs.ray import connection, engine, run
from librehps.runs.request import RunRequest
from librehps.scores.parts import Parts
from librehps_cli.main import main


@dataclass(frozen=True)
class Moments:
    """The named moments to act on, and the folder that records them."""

    folder: Path
    names: tuple[str, ...]
    head: int

    def comes(self, name: str) -> bool:
        """Return True if the moment `name` happens now: once, in the first process that asks."""
        if name not in self.names:
            return False
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


# What lies in this module travels by value, so that Ray's processes need not import it.
@dataclass(frozen=True)
class FindPrompt:
    """The run's own, in the middle of decoding."""

    moments: Moments
    find: Callable[..., Any]

    def __call__(self, item: Any, content: Any) -> Any:
        if self.moments.comes("decoding"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.find(item, content)

    @property
    def scored_prompt(self) -> str | None:
        return self.find.scored_prompt  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Load:
    """Loads the model into an actor that dies while it writes."""

    moments: Moments
    load: Callable[[], Any]

    def __call__(self) -> Any:
        write = Parts.write

        def write_or_die(self_: Parts, first: int, table: Any, errors: int) -> None:
            if self.moments.comes("writing"):
                self_.path(first).with_name(f"{self_.path(first).name}.partial").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            write(self_, first, table, errors)

        Parts.write = write_or_die  # type: ignore[method-assign]
        if "head" in self.moments.names:
            self.moments.comes("head")
            threading.Event().wait()
        return self.load()


def arm(moments: Moments) -> None:
    prompt_finder, made, parts = RunRequest.prompt_finder, run.RayRun._scoring, PartsJob.run_parts

    def find_deadly(self: RunRequest, has_prompts: bool) -> Any:
        return FindPrompt(moments, prompt_finder(self, has_prompts))

    def make_deadly(self: run.RayRun, settings: Any, has_prompts: bool) -> Any:
        found = made(self, settings, has_prompts)
        return replace(found, load=Load(moments, found.load))

    def watched(self: PartsJob, score: Any) -> Iterator[Any]:
        for result in parts(self, score):
            yield result
            if moments.comes("driver"):
                os.kill(os.getpid(), signal.SIGKILL)
            if moments.comes("node"):
                os.kill(int(os.environ["NODE_PID"]), signal.SIGKILL)
            if moments.comes("interrupt"):
                signal.raise_signal(signal.SIGINT)

    RunRequest.prompt_finder = find_deadly  # type: ignore[method-assign]
    run.RayRun._scoring = make_deadly  # type: ignore[method-assign]
    PartsJob.run_parts = watched  # type: ignore[assignment,method-assign]
    if "head" in moments.names:
        connection.HEAD_TIMEOUT_S = connection.HEAD_PROBE_INTERVAL_S = 1
        step = engine.RayEngine._step

        def step_without_head(self: engine.RayEngine, shares: Any) -> Iterator[Any]:
            # Here, since a call of Ray to a head that dies meanwhile would block.
            if (moments.folder / "head").exists():
                kill_head(moments.head, self.head)
            return step(self, shares)

        engine.RayEngine._step = step_without_head  # type: ignore[method-assign]


def kill_head(pid: int, head: connection.Head) -> None:
    """Kill the head, unless it is gone; return once it answers no longer."""
    with suppress(OSError):
        while True:
            connection._probe(head.host, head.port)
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    folder, names, *arguments = sys.argv[1:]
    head = int(os.environ.get("HEAD_PID", "0"))
    arm(Moments(Path(folder), tuple(names.split(",")), head))
    sys.argv = ["librehps", *arguments]
    main()
