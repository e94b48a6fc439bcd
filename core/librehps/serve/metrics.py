"""The server's Prometheus metrics."""

import sys
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from librehps.serve.log_writer import dropped_lines
from librehps.serve.logs import RequestRecord
from librehps.types import ScoredRow

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BYTES_BUCKETS = tuple(1 << power for power in range(10, 31, 2))


class Metrics:
    """The metrics of one server, in a separate registry, so that two servers do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(GpuMemory())
        self._registry.register(DroppedLines())
        self._requests = self._counter("requests", "Requests answered.", "path", "status")
        self._seconds = self._histogram(
            "request_seconds",
            "Seconds from a request's header to the end of its answer.",
            SECONDS_BUCKETS,
            "path",
        )
        self._bytes = self._histogram(
            "request_bytes", "Bytes of a request's body.", BYTES_BUCKETS, "path"
        )
        self._refusals = self._counter(
            "refusals", "Requests answered with an error, by error_type.", "reason"
        )
        self._items = self._counter("items", "Items by outcome: ok or the error type.", "outcome")
        self._failures = self._counter(
            "batches_failed", "Batches that failed as a whole, by error.", "error"
        )
        self._waits = self._histogram(
            "queue_wait_seconds",
            "Seconds that an item waited, for a decoder and for a device.",
            SECONDS_BUCKETS,
        )
        self._decodes = self._histogram(
            "decode_seconds", "Seconds to load and decode an item.", SECONDS_BUCKETS
        )
        self._decode_waits = self._histogram(
            "decode_wait_seconds",
            "Seconds that an item waited for a decoder, and for memory to decode.",
            SECONDS_BUCKETS,
        )
        self._batch = self._histogram("batch_items", "Items per batch.", SIZE_BUCKETS)
        self._batch_seconds = self._histogram(
            "batch_seconds",
            "Seconds from a batch's launch to its rows: the forward of the model.",
            SECONDS_BUCKETS,
        )
        self._depth = self._gauge("queue_items", "Items accepted and not answered yet.")
        self._active = self._gauge("requests_in_flight", "Requests accepted and not answered yet.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"librehps_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"librehps_{name}", text, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"librehps_{name}", text, labels, buckets=buckets, registry=self._registry)

    def describe(self, facts: dict[str, str]) -> None:
        """Add facts that do not change, such as the version and the model."""
        Info("librehps_build", "What is served.", registry=self._registry).info(facts)

    def watch(self, depth: Callable[[], float], active: Callable[[], float]) -> None:
        """Call the functions for the queue's depth and the requests whenever metrics are read."""
        self._depth.set_function(depth)
        self._active.set_function(active)

    def request(self, path: str, record: RequestRecord) -> None:
        self._requests.labels(path, str(record.status)).inc()
        self._seconds.labels(path).observe(record.seconds)
        if record.bytes_in:
            self._bytes.labels(path).observe(record.bytes_in)
        if record.error_type is not None:
            self._refusals.labels(record.error_type).inc()

    def item(self, row: ScoredRow) -> None:
        self._items.labels("ok" if row.error is None else type(row.error).__name__).inc()

    def failed(self, items: int, error: BaseException) -> None:
        name = type(error).__name__
        self._items.labels(name).inc(items)
        self._failures.labels(name).inc()

    def decoded(self, seconds: float, waited: float) -> None:
        self._decodes.observe(seconds)
        self._decode_waits.observe(waited)

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def batch(self, items: int, seconds: float) -> None:
        self._batch.observe(items)
        self._batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return bytes(generate_latest(self._registry))


class GpuMemory(Collector):  # type: ignore[misc]
    """The memory that this process has on each GPU; no metric where CUDA is not used."""

    def collect(self) -> Iterable[Metric]:
        """Return the bytes of tensors, and those reserved for them, by device."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return
        memory = GaugeMetricFamily(
            "librehps_gpu_memory_bytes", "GPU memory of this process.", labels=["device", "kind"]
        )
        for device in range(torch.cuda.device_count()):
            memory.add_metric([str(device), "allocated"], torch.cuda.memory_allocated(device))
            memory.add_metric([str(device), "reserved"], torch.cuda.memory_reserved(device))
        yield memory


class DroppedLines(Collector):  # type: ignore[misc]
    """The number of lines that the log dropped."""

    def collect(self) -> Iterable[Metric]:
        """Return the number of dropped lines."""
        text = "Lines of the log dropped because stderr was read too slowly."
        yield CounterMetricFamily("librehps_log_lines_dropped", text, dropped_lines())
