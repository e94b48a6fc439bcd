"""A model on several devices of this machine: one process for each, and batches for any of them."""

import os
import socket
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from librehps.engine.devices.child import Answer, Child, ProcessDiedError
from librehps.engine.devices.link import Message
from librehps.engine.devices.worker import Hardware, Shared, Worker, check_same
from librehps.engine.lanes import lanes_of, threads_of_each
from librehps.errors import EngineError, ItemError, UsageError, WorkerDiedError
from librehps.models.base import Checkpoint, Loaded, LoadOptions, Model, Prepared, RawScore
from librehps.models.device import choose_device
from librehps.models.device_list import DeviceName, DeviceRequest, devices_of
from librehps.models.freed_memory import keep_freed_memory

# Attempts of a batch whose processes die, and then of each of its items alone in a process.
BATCH_ATTEMPTS, ITEM_ATTEMPTS = 2, 2


class BatchTimes(Protocol):
    """The times of batches, by their number of tokens."""

    def batch_timeout(self, cost: int, answered: int) -> float:
        """Return the seconds after which a batch hangs; its process has `answered` some."""

    def batch_took(self, cost: int, seconds: float) -> None:
        """Note how long a batch took."""


class DevicePool:
    """A `Model` whose batches are scored by the processes of several devices, of one type.

    A batch goes to the process with the most free slots. A batch whose process dies is scored
    again, and after two deaths item by item: an item whose processes die even so gets a
    WorkerDiedError. The processes end with `close`, with the last reference to the pool, and with
    this process. `batch_times` says after how long the process of a batch hangs: the process is
    killed, and the batch counts as one whose process died.
    """

    batch_times: BatchTimes | None = None
    _clock = staticmethod(time.monotonic)

    def __init__(self, devices: Sequence[torch.device], asked: Message) -> None:
        threads, count = torch.get_num_threads(), len(devices)
        share = threads_of_each(threads, count)
        slots = lanes_of(devices[0], share)
        self.devices = tuple(devices)
        self._shared = shared = Shared()
        # The probes that have no answer yet, and when each was sent.
        self._probes: dict[Child, tuple[Future[Answer], float]] = {}
        hardware = {d: Hardware(to_load) for d, to_load in Counter(devices).items()}
        asked = {**asked, "threads": share}
        self._workers = [
            Worker(str(d), slots, asked, hardware[d], shared, count == 1) for d in devices
        ]
        self.close = weakref.finalize(self, _close, self._workers, shared)
        try:
            self.facts = self._first_facts()
        except BaseException:
            self.close()
            raise
        self.device, self.axes = devices[0], tuple(self.facts["axes"])
        self.dtype: torch.dtype = getattr(torch, self.facts["dtype"])

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], list[RawScore | ItemError]]:
        """Return a function that scores the batch, on a CPU with this thread's number of threads.

        An item that no process survived has a WorkerDiedError. Raises EngineError once no device is
        left, and OutOfMemoryError.
        """
        if os.getpid() != self._shared.pid:
            raise EngineError(
                "a model in processes of its own cannot be used in a forked process",
                hint="Load the model there, or start that process with `spawn`.",
            )
        return partial(self._scored, batch, torch.get_num_threads())

    def _first_facts(self) -> Message:
        """Wait until every model is loaded; return what was chosen for all of them."""
        with self._shared.changed:
            self._shared.changed.wait_for(
                lambda: any(w.failure for w in self._workers) or all(w.facts for w in self._workers)
            )
        for worker in self._workers:
            if worker.failure is not None:
                raise worker.failure
        first, *others = [worker.facts for worker in self._workers if worker.facts is not None]
        for facts in others:
            check_same(first, facts)
        return first

    def _scored(self, batch: Sequence[Prepared], threads: int) -> list[RawScore | ItemError]:
        for _ in range(BATCH_ATTEMPTS):
            try:
                with self._slot() as (child, slot):
                    return [*self._asked(child, slot, batch, threads)]
            except ProcessDiedError:
                continue
        return [self._alone(item, threads) for item in batch]

    def _alone(self, item: Prepared, threads: int) -> RawScore | ItemError:
        """Return the result of an item that runs alone, so that no other item is blamed."""
        how = ""
        for _ in range(ITEM_ATTEMPTS):
            try:
                with self._whole_process() as (child, slot):
                    return self._asked(child, slot, [item], threads)[0]
            except ProcessDiedError as error:
                how = str(error)
        tries = BATCH_ATTEMPTS + ITEM_ATTEMPTS
        return WorkerDiedError(f"all {tries} processes that tried this item died ({how})")

    def _asked(
        self, child: Child, slot: int, batch: Sequence[Prepared], threads: int
    ) -> list[RawScore]:
        started = self._clock()
        answer = child.ask(slot, batch, threads)
        times, cost = self.batch_times, sum(item.cost for item in batch)
        if times is not None:
            timeout = times.batch_timeout(cost, child.answered)
            if wait([answer], timeout).not_done:
                child.kill_hung(timeout)
        rows = answer.result()
        child.answered += 1
        if times is not None:
            times.batch_took(cost, self._clock() - started)
        if rows is None:
            raise torch.OutOfMemoryError("out of memory")
        return rows

    def probe(self, item: Prepared, timeout: float) -> None:
        """Score the item on all devices beside their batches, until one of them answers.

        A process without an answer for `timeout` seconds is killed; call again to see to it. Raises
        EngineError if no process answers. For one thread at a time.
        """
        errors: list[str] = []
        self._send_probes(item, errors)
        while self._probes:
            left = self._kill_hung_probes(timeout)
            wait([answer for answer, _ in self._probes.values()], left, FIRST_COMPLETED)
            done = [child for child, (answer, _) in self._probes.items() if answer.done()]
            failures = [self._probes.pop(child)[0].exception() for child in done]
            if None in failures:
                return
            errors += map(str, failures)
        states = ", ".join(f"{device} {state}" for device, state in self.states())
        raise EngineError(f"no device answers ({'; '.join([states, *errors])})")

    def _kill_hung_probes(self, timeout: float) -> float | None:
        """Kill processes without an answer; return the seconds until another may be due."""
        now, left = self._clock(), None
        for child, (_, sent) in self._probes.items():
            if child.is_dead:
                # Its worker lets the probe fail.
                continue
            if now - sent >= timeout:
                child.kill_hung(timeout)
            else:
                left = min(sent + timeout - now, left or timeout)
        return left

    def _send_probes(self, item: Prepared, errors: list[str]) -> None:
        """Send the item to each process that has no probe; append the reasons of failures."""
        threads = torch.get_num_threads()
        with self._shared.changed:
            ready = [worker.child for worker in self._workers if worker.child is not None]
        for child in ready:
            if child in self._probes or child.is_dead:
                continue
            try:
                answer = child.ask(child.slots, [item], threads)
            except EngineError as error:
                errors.append(str(error))
            else:
                self._probes[child] = answer, self._clock()

    def states(self) -> list[tuple[str, str]]:
        """Return each device and its state: ready, starting or failed."""
        return [(worker.device, worker.state) for worker in self._workers]

    @contextmanager
    def _slot(self) -> Iterator[tuple[Child, int]]:
        """Take a slot of a process, once one is free."""
        with self._shared.changed:
            child = self._wait_for(lambda child: bool(child.free))
            slot = child.free.pop()
        try:
            yield child, slot
        finally:
            self._release(child, slot)

    @contextmanager
    def _whole_process(self) -> Iterator[tuple[Child, int]]:
        """Take a slot of a process whose other slots stay free, once there is one."""
        with self._shared.changed:
            child = self._reserve()
            slot = child.free.pop()
        try:
            yield child, slot
        finally:
            child.is_reserved = False
            self._release(child, slot)

    def _reserve(self) -> Child:
        while True:
            child = self._wait_for(lambda _: True)
            child.is_reserved = True
            while not (child.is_idle or child.is_dead):
                self._shared.changed.wait()
            if child.is_idle:
                return child

    def _wait_for(self, fits: Callable[[Child], bool]) -> Child:
        """Return the process with the most free slots of those that fit, once there is one.

        After deaths a device comes last: a broken one would have the most free slots, and its
        deaths would be blamed on the items.
        """
        while True:
            ready = [
                (worker.deaths, child)
                for worker in self._workers
                if (child := worker.child) is not None
                and not (child.is_reserved or child.is_dead)
                and fits(child)
            ]
            if ready:
                return min(ready, key=lambda found: (found[0], -len(found[1].free)))[1]
            if self._shared.is_closed:
                raise EngineError("the processes of the devices were closed")
            failures = [worker.failure for worker in self._workers if worker.failure is not None]
            if len(failures) == len(self._workers):
                raise EngineError(
                    f"no device is left: {'; '.join(map(str, failures))}",
                    hint="Load the model on devices that work; --resume keeps the rows so far.",
                )
            self._shared.changed.wait()

    def _release(self, child: Child, slot: int) -> None:
        with self._shared.changed:
            child.free.append(slot)
            self._shared.changed.notify_all()


def _close(workers: Sequence[Worker], shared: Shared) -> None:
    if os.getpid() != shared.pid:
        # A fork of the process that has the pool.
        return
    with shared.changed:
        shared.is_closed = True
        shared.changed.notify_all()
    for worker in workers:
        worker.kill()


def model_devices(model: Model) -> tuple[torch.device, ...]:
    """Return the devices that the model is on, in the order of its processes."""
    return model.devices if isinstance(model, DevicePool) else (model.device,)


def needs_own_process(request: DeviceRequest) -> bool:
    """Return whether a server's model should have a process of its own: on one CPU.

    There its threads do not wait for those of the server, as for Python's interpreter lock.
    """
    name, *others = devices_of(request)
    return has_processes() and not others and choose_device(name)[0].type == "cpu"


def has_processes() -> bool:
    """Return whether this system allows processes of devices."""
    return hasattr(socket, "send_fds")


def load_on(
    names: Sequence[DeviceName],
    checkpoint: Checkpoint,
    base: Path | None,
    options: LoadOptions,
    own_process: bool = False,
) -> Loaded:
    """Return the model of a checkpoint; on several devices each has a process of its own.

    `names` are those of `devices_of`, `base` is as in `open_checkpoint`; with `own_process` one
    device has a process too. Raises ModelError, and UsageError for devices that would not score
    alike.
    """
    if len(names) == 1 and not own_process:
        loaded = checkpoint.load(replace(options, device=names[0]))
        keep_freed_memory(loaded.model.device)
        return loaded
    if not has_processes():
        raise UsageError("--device: processes of devices are not supported on this system")
    asked = {
        # A process may start again when this one has changed its folder.
        "folder": str(checkpoint.folder.absolute()),
        "base": None if base is None else str(base.absolute()),
        "options": {**vars(options), "dtype": _name(options.dtype)},
    }
    if len(names) > 1:
        pool = DevicePool([torch.device(name) for name in names], asked)
        return Loaded(pool, **pool.facts["choices"])
    device, why = choose_device(names[0])
    pool = DevicePool([device], asked)
    choices = pool.facts["choices"]
    return Loaded(pool, **{**choices, "reasons": {**choices["reasons"], "device": why}})


def _name(dtype: str | torch.dtype | None) -> str | None:
    return None if dtype is None else str(dtype).removeprefix("torch.")
