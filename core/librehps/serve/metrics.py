"""The server's Prometheus metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from librehps.types import ScoredRow

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one server, in a separate registry, so that two servers do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "librehps_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "librehps_request_seconds",
            "Seconds from a request's header to the end of its answer.",
            ["path"],
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._items = Counter(
            "librehps_items", "Items by outcome: ok or the error type.", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._batch = Histogram(
            "librehps_batch_items",
            "Items per batch.",
            buckets=SIZE_BUCKETS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "librehps_batch_seconds",
            "Seconds from a batch's launch to its rows.",
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._depth = Gauge(
            "librehps_queue_items", "Items accepted and not answered yet.", registry=self._registry
        )

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Call `depth` for the queue's depth whenever the metrics are read."""
        self._depth.set_function(depth)

    def request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def item(self, row: ScoredRow) -> None:
        self._items.labels("ok" if row.error is None else type(row.error).__name__).inc()

    def batch(self, items: int, seconds: float) -> None:
        self._batch.observe(items)
        self._batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return bytes(generate_latest(self._registry))
