"""A worker: the process of one device, started again when it dies."""

import logging
import os
import threading
from dataclasses import dataclass, field

from librehps.engine.devices.child import Child, ProcessDiedError
from librehps.engine.devices.link import Message
from librehps.errors import EngineError, LibreHPSError, UsageError

log = logging.getLogger("librehps")

# A worker is given up after this number of deaths without a scored batch between them.
MAX_DEATHS = 8


@dataclass
class Hardware:
    """A device whose processes load the model one after the other, to see what memory is left.

    `to_load` counts the processes that have not loaded yet: the first checks the memory of all.
    """

    to_load: int = 0
    loading: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Shared:
    """State of all workers of a pool; `changed` guards it and the slots of the processes."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    warned: set[str] = field(default_factory=set)
    is_closed: bool = False
    pid: int = field(default_factory=os.getpid)

    def warn(self, text: str) -> None:
        """Log a warning that each process sends, once."""
        with self.changed:
            is_new = text not in self.warned
            self.warned.add(text)
        if is_new:
            log.warning("%s", text)


class Worker:
    """The process of one device, and the thread that starts it again.

    `child` is None while no process is ready, `facts` until a model was loaded; `deaths` counts
    those since a batch was scored; `failure` is the reason why no process is started any more.
    `is_alone` is true if its pool has no other device.
    """

    def __init__(
        self,
        device: str,
        slots: int,
        asked: Message,
        hardware: Hardware,
        shared: Shared,
        is_alone: bool = False,
    ) -> None:
        self.device, self._is_alone = device, is_alone
        self.child: Child | None = None
        self.facts: Message | None = None
        self.failure: LibreHPSError | None = None
        self._slots, self._asked = slots, asked
        self._hardware, self._shared = hardware, shared
        self.deaths = 0
        self._current: Child | None = None
        threading.Thread(target=self._keep, name=f"keep {device}", daemon=True).start()

    @property
    def state(self) -> str:
        """The state of the device: ready, starting or failed."""
        if self.failure is not None:
            return "failed"
        return "starting" if self.child is None else "ready"

    def kill(self) -> None:
        """End the process; `Shared.is_closed` must be set before."""
        if self._current is not None:
            self._current.kill()

    def _keep(self) -> None:
        try:
            while self.failure is None and (child := self._start()) is not None:
                self._live(child)
        finally:
            # Who waits for the device must get an error, however this thread ends.
            if self.failure is None and not self._shared.is_closed:
                self._fail(EngineError(f"{self.device}: the thread of its process ended"))

    def _live(self, child: Child) -> None:
        try:
            self._load(child)
            for message in child.follow():
                self._note(message)
        except ProcessDiedError:
            # Counted like any other death, below.
            pass
        except LibreHPSError as error:
            self._fail(error)
        finally:
            # Who waits for a batch must get an error, however this ends.
            self._bury(child)

    def _start(self) -> Child | None:
        """Return a new process, None if the pool was closed or no process can be started."""
        try:
            with self._shared.changed:
                if self._shared.is_closed:
                    return None
                self._current = child = Child(self._slots)
                return child
        except OSError as error:
            text = f"{self.device}: cannot start a process ({error.strerror})"
            self._fail(EngineError(text, hint=self._hint))
            return None

    def _load(self, child: Child) -> None:
        found: Message = {}
        with self._hardware.loading:
            copies = max(1, self._hardware.to_load)
            options = {**self._asked["options"], "device": self.device, "copies": copies}
            for message in child.load({**self._asked, "options": options}):
                self._note(message)
                found = message.get("loaded", found)
            self._hardware.to_load -= self.facts is None
        if self.facts is not None:
            check_same(self.facts, found)
        with self._shared.changed:
            self.facts, self.child = found, child
            child.free = list(range(self._slots))
            self._shared.changed.notify_all()

    def _note(self, message: Message) -> None:
        if "warning" in message:
            self._shared.warn(message["warning"])
        # A device may answer probes, and die with each batch.
        if "rows" in message and message["slot"] != self._slots:
            self.deaths = 0

    def _bury(self, child: Child) -> None:
        """Fail the batches of a process that ended, and count its death."""
        with self._shared.changed:
            self.child, child.is_dead = None, True
            self._shared.changed.notify_all()
        how = child.end()
        child.abandon(how)
        if self._shared.is_closed or self.failure is not None:
            return
        self.deaths += 1
        if self.facts is None:
            text = f"{self.device}: the process died loading the model ({how})"
            self._fail(EngineError(text, hint=self._hint))
        elif self.deaths == MAX_DEATHS:
            times = f"{MAX_DEATHS} times without scoring a batch"
            self._fail(EngineError(f"{self.device}: the process died {times} ({how})"))
        else:
            log.warning("%s: the process died (%s) and is started again", self.device, how)

    @property
    def _hint(self) -> str | None:
        if self._is_alone:
            return None
        return f"Try --device {self.device} alone, or leave this device out."

    def _fail(self, error: LibreHPSError) -> None:
        if self.facts is not None:
            log.warning("%s%s", error, "" if self._is_alone else "; this device is left out")
        with self._shared.changed:
            self.failure = error
            self._shared.changed.notify_all()


def check_same(one: Message, other: Message) -> None:
    """Raise UsageError if models on two devices would not score alike."""
    before, now = _settings(one), _settings(other)
    names = [name for name in before if before[name] != now[name]]
    if names:
        pairs = "; ".join(f"{name} {before[name]} and {now[name]}" for name in names)
        kernels = " and LIBREHPS_KERNELS=torch" if "kernel" in names else ""
        raise UsageError(
            f"--device: {one['device']} and {other['device']} would score differently: {pairs}",
            hint=f"Set --dtype and --attn to what both support{kernels}, or leave out one device.",
        )


def _settings(facts: Message) -> Message:
    chosen = {name: value for name, value in facts["choices"].items() if name != "reasons"}
    return {"dtype": facts["dtype"], **chosen}
