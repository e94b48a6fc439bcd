"""The FastAPI app: paths, middleware and error handlers of the server."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from librehps import __version__
from librehps.choices import ServerStatus
from librehps.decide.probability import Platt
from librehps.engine.engine import LocalEngine
from librehps.errors import AbandonedError, DeviceError, QueueFullError
from librehps.scorer import LibreHPS
from librehps.serve.answer_models import answer_models, reward_parts
from librehps.serve.answers import plain_answer, rewards_answer, verdict
from librehps.serve.batcher import Batcher
from librehps.serve.body import BodyLimit
from librehps.serve.decoding import DecodeMemory, Pending
from librehps.serve.device_probe import device_states, stop_watching, watch_of
from librehps.serve.device_watch import DeviceWatch
from librehps.serve.explained import explained
from librehps.serve.fetch import Fetcher
from librehps.serve.guard import (
    BODY_PATHS,
    Gate,
    Guard,
    Refused,
    device_error_type,
    problem,
    unusable,
)
from librehps.serve.logs import record_of
from librehps.serve.media import MediaAccess, invalid
from librehps.serve.metrics import Metrics
from librehps.serve.openapi import DescribedApp
from librehps.serve.options import DEFAULT_REWARD_NAME, Access, Limits
from librehps.serve.parsing import BINARY_BODY, BODY_TYPES, ParsedRequest, body_route
from librehps.serve.samples import sample_of
from librehps.serve.schemas import (
    CompareBody,
    Health,
    InvalidItem,
    Problem,
    RewardNames,
    Rewards,
    RewardsAnswer,
    ScoreBody,
    Status,
)
from librehps.serve.served_rewards import ServedRewards
from librehps.types import ScoredRow

STATUS_DESCRIPTIONS = {
    400: "invalid HTTP or JSON",
    401: "missing or wrong token",
    408: "timeout while reading the body",
    413: "body too large, or too many JSON values",
    415: f"unsupported Content-Type (expected {' or '.join(BODY_TYPES)}) or Content-Encoding",
    421: "Host header not allowed",
    422: "invalid request, too many items, or (in /compare) a side that cannot be scored",
    429: "too many bytes or items are waiting: retry after Retry-After seconds",
    499: "the client disconnected",
    500: "internal error: see the server's log",
    503: "the server is shutting down, or its device failed or does not answer",
    504: "timeout before the items were scored",
}
COMMON_STATUSES = (400, 401, 421)
BODY_STATUSES = (*COMMON_STATUSES, 408, 413, 415, 422, 429, 500, 503, 504)
UNREADY: dict[int | str, dict[str, Any]] = {503: {"model": Status, "description": "not ready"}}
HTTP_ERROR_TYPES = {404: "NotFound", 405: "MethodNotAllowed", 400: "BadRequest"}


@dataclass
class Service:
    """The state that the paths share: scorer, limits, media access, rewards, queue and metrics.

    `engine` and `device` are None until `load`, `queue` until the app has started.
    """

    scorer: LibreHPS
    limits: Limits
    media: MediaAccess
    served: ServedRewards
    calibrator: Platt | None = None
    gate: Gate = field(default_factory=Gate)
    metrics: Metrics = field(default_factory=Metrics)
    queue: Batcher | None = None
    engine: LocalEngine | None = None
    device: DeviceWatch | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def status(self) -> ServerStatus:
        """The state of the server, for probes of orchestrators."""
        if self.gate.draining:
            return "draining"
        return "loading" if self.device is None else self.device.status

    @property
    def lost(self) -> DeviceError | None:
        """The error that ends the server, once its device is unusable for `device_timeout`."""
        status, seconds = ("ready", 0.0) if self.device is None else self.device.state()
        if seconds <= self.limits.device_timeout:
            return None
        return DeviceError(f"the device has {status}: the server ends", status)

    def load(self) -> None:
        """Probe the device; raises the errors of its first forward."""
        self.engine = self.scorer.engine(max_pixels=self.limits.max_pixels)
        device = watch_of(self.engine)
        try:
            device.start()
        except BaseException:
            stop_watching(self.engine.model, device)
            raise
        self.device = device

    def close(self) -> None:
        """Stop probing the device."""
        if self.engine is not None and self.device is not None:
            stop_watching(self.engine.model, self.device)

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Open the queue while the app runs, and close it afterwards."""
        limits = self.limits
        memory = DecodeMemory.of(limits.decode_memory, limits.max_body)
        if self.device is None:
            await asyncio.to_thread(self.load)
        assert self.engine is not None and self.device is not None  # noqa: S101 - just loaded
        queue = Batcher(
            self.engine, limits.max_queue, limits.max_wait, memory, self.metrics, self.device
        )
        self.metrics.watch(lambda: queue.depth, lambda: self.gate.active)
        self.queue = queue
        yield
        self.close()
        await asyncio.to_thread(queue.close)

    async def rows(self, request: Request, items: Sequence[Pending]) -> list[ScoredRow]:
        """Return a row for each item; raises Refused at a timeout or when the client disconnects.

        A request waits while the queue is full. Its time includes that of waiting for memory. The
        items of a refused request are cancelled.
        """
        record = record_of(request.scope)
        record.items = len(items)
        scoring = asyncio.ensure_future(self._scored(items))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait(
                (scoring, leaving),
                timeout=self.limits.timeout - record.waited,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if scoring.done():
                return scoring.result()
        finally:
            leaving.cancel()
            if scoring.cancel():
                # Retrieve the exception, or asyncio logs it as never retrieved.
                scoring.add_done_callback(lambda done: done.cancelled() or done.exception())
        if leaving.done():
            raise Refused(499, "ClientLeft", "the client disconnected")
        status = self.status
        if status in ("stalled", "failed"):
            raise Refused(504, device_error_type(status), f"timeout: the device has {status}")
        raise Refused(504, "Timeout", f"timeout: not scored within {self.limits.timeout:g} s")

    async def _scored(self, items: Sequence[Pending]) -> list[ScoredRow]:
        assert self.queue is not None and self.device is not None  # noqa: S101 - after the start
        self.device.check()
        answers = await self.queue.accept(items)
        try:
            return await asyncio.gather(*answers)
        finally:
            # After the failure of one batch, nobody waits for the other items.
            for answer in answers:
                answer.cancel()

    def check_count(self, count: int) -> None:
        """Raise Refused if a request has more than `max_items` items."""
        if count > self.limits.max_items:
            reason = f"too many items: {count} (at most {self.limits.max_items} per request)"
            raise Refused(422, "TooManyItems", reason)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_app(
    scorer: LibreHPS,
    limits: Limits,
    access: Access,
    *,
    fetcher: Fetcher | None = None,
    calibrator: Platt | None = None,
    reward_name: str = DEFAULT_REWARD_NAME,
) -> FastAPI:
    """Return the app, its Service in `state.service`; without `fetcher`, `access` decides."""
    if fetcher is None and access.url_hosts:
        fetcher = Fetcher(access.url_hosts, limits.max_body)
    media = MediaAccess(access.roots, fetcher, limits.max_body)
    served = ServedRewards(reward_name, reward_parts(scorer.settings.axes, scorer.has_scalar))
    service = Service(scorer, limits, media, served, calibrator)

    app = DescribedApp(
        access,
        limits.max_items,
        title="librehps",
        version=__version__,
        description="Scores images and videos against their prompts. Every answer has an "
        "X-Request-ID: the client's own, or a new one.",
        lifespan=service.running,
        # These pages load scripts from other sites.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.router.route_class = body_route(limits.max_items)
    settings = scorer.settings
    service.metrics.describe(
        {"version": __version__, "model": settings.model, "settings": settings.digest}
    )
    # The middleware added last runs first.
    app.add_middleware(
        BodyLimit,
        gate=service.gate,
        max_body=limits.max_body,
        read_timeout=limits.read_timeout,
        types=BODY_TYPES,
        paths=BODY_PATHS,
        wait_timeout=limits.timeout,
        retry_after=lambda: 1 if service.queue is None else service.queue.retry_after(),
    )
    app.add_middleware(Guard, access=access, gate=service.gate, metrics=service.metrics)
    _add_errors(app)
    _add_scoring(app, service)
    _add_facts(app, service)
    return app


def _responses(statuses: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI documentation of error answers."""
    responses: dict[int | str, dict[str, Any]]
    responses = {
        status: {"model": Problem, "description": STATUS_DESCRIPTIONS[status]}
        for status in statuses
    }
    if 429 in responses:
        responses[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return responses


def _add_scoring(app: FastAPI, service: Service) -> None:
    settings = service.scorer.settings
    models = answer_models(settings.axes)
    scored = models.plain | RewardsAnswer

    @app.post(
        "/score",
        response_model=scored,
        responses=_responses(BODY_STATUSES),
        openapi_extra=BINARY_BODY,
    )
    async def score(request: ParsedRequest, body: Annotated[ScoreBody, Body()]) -> JSONResponse:
        """Score items, or samples of an RL trainer; an invalid item gets an error of its own."""
        service.check_count(len(body.requests if isinstance(body, Rewards) else body.items))
        if isinstance(body, Rewards):
            samples = [
                sample_of(sample, str(at), service.served, settings.digest)
                for at, sample in enumerate(body.requests)
            ]
            items = [
                service.media.pending(sample.id, sample.media, sample.prompt, request.tensors)
                for sample in samples
                if sample.media is not None
            ]
            rows = await service.rows(request, items)
            return JSONResponse(rewards_answer(samples, rows, service.served, settings))
        ids = [str(at) if item.id is None else item.id for at, item in enumerate(body.items)]
        items = [
            invalid(id, item)
            if isinstance(item, InvalidItem)
            else service.media.pending(id, item, item.prompt, request.tensors)
            for id, item in zip(ids, body.items, strict=True)
        ]
        return JSONResponse(plain_answer(await service.rows(request, items), settings))

    @app.post(
        "/compare",
        response_model=models.verdict,
        responses=_responses(BODY_STATUSES),
        openapi_extra=BINARY_BODY,
    )
    async def compare(request: ParsedRequest, body: CompareBody) -> JSONResponse:
        """Predict which of two media a person would prefer, by `overall`."""
        sides = [("a", body.a), ("b", body.b)]
        items = [
            service.media.pending(side, media, body.prompt, request.tensors)
            for side, media in sides
        ]
        a, b = await service.rows(request, items)
        decision = verdict(a, b, settings.axes, service.calibrator, body.symmetric)
        return JSONResponse({**decision, "settings": settings.digest})


def _add_facts(app: FastAPI, service: Service) -> None:
    settings = service.scorer.settings
    facts = {"model": settings.model, "settings": settings.digest}

    @app.get("/health", response_model=Health, responses=UNREADY | _responses((400, 421)))
    async def health() -> JSONResponse:
        """Report the state of the server and its devices; needs no token."""
        health = health_of(service)
        return JSONResponse(health, 200 if health["status"] == "ready" else 503)

    @app.get("/readyz", response_model=Status, responses=UNREADY)
    async def readyz() -> JSONResponse:
        """Report whether the server accepts requests; needs no token and no Host."""
        status = service.status
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    @app.get("/livez", response_model=Status, responses=UNREADY)
    async def livez() -> JSONResponse:
        """Report whether the process works; 503 means that it must be started again."""
        if service.lost is not None:
            return JSONResponse({"status": service.status}, 503)
        return JSONResponse({"status": "alive"})

    @app.get("/rewards", response_model=RewardNames, responses=_responses((*COMMON_STATUSES, 503)))
    async def rewards() -> JSONResponse:
        """List the rewards of POST /score and their parts; only videos have temporal."""
        return JSONResponse({"rewards": service.served.table, **facts})

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_responses(COMMON_STATUSES)},
    )
    async def metrics() -> Response:
        """Report counts and times in the Prometheus text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def health_of(service: Service) -> dict[str, Any]:
    """Return the answer of GET /health."""
    settings, status, queue = service.scorer.settings, service.status, service.queue
    assert service.engine is not None  # noqa: S101 - after the start
    return {
        "status": status,
        "model": settings.model,
        "settings": settings.digest,
        # Clients of reward services look for the names of their rewards here.
        "rewards": {name: [status] for name in service.served.table},
        "devices": device_states(service.engine.model, service.device),
        "queue": 0 if queue is None else queue.depth,
        "uptime_s": round(time.monotonic() - service.started, 1),
    }


def _add_errors(app: FastAPI) -> None:
    """Add the handlers that turn every error into the same JSON shape."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refused):
            return error.response()
        kind = HTTP_ERROR_TYPES.get(error.status_code, "HttpError")
        return problem(error.status_code, kind, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "InvalidRequest", explained(error, request.url.path))

    @app.exception_handler(QueueFullError)
    async def full(request: Request, error: QueueFullError) -> JSONResponse:
        return problem(429, "QueueFull", str(error), {"Retry-After": str(error.retry_after)})

    @app.exception_handler(AbandonedError)
    async def abandoned(request: Request, error: AbandonedError) -> JSONResponse:
        return problem(503, "Draining", str(error), {"Connection": "close"})

    @app.exception_handler(DeviceError)
    async def lost(request: Request, error: DeviceError) -> JSONResponse:
        return unusable(error).response()

    @app.exception_handler(500)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "InternalError", "internal error: see the server's log")
