"""The paths of the server, and what stands before them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from librehps import __version__
from librehps.decide.probability import Platt
from librehps.errors import AbandonedError, QueueFullError
from librehps.scorer import LibreHPS
from librehps.serve.answer_models import answer_models, reward_parts
from librehps.serve.answers import plain_answer, rewards_answer, verdict
from librehps.serve.batcher import Batcher, Pending
from librehps.serve.body import MARKS_EACH, BodyLimit
from librehps.serve.fetch import Fetcher
from librehps.serve.guard import Gate, Guard, Refused, explained, problem
from librehps.serve.media import MediaAccess
from librehps.serve.metrics import Metrics
from librehps.serve.options import Access, Limits
from librehps.serve.samples import wanted
from librehps.serve.schemas import (
    REWARD,
    CompareBody,
    Health,
    Problem,
    RewardNames,
    Rewards,
    RewardsAnswer,
    ScoreBody,
)
from librehps.types import ScoredRow

REASONS = {
    400: "not HTTP or JSON as it should be",
    401: "no token, or a wrong one",
    408: "the body came too slowly",
    413: "the body is too large, or holds too many values",
    415: "not application/json, or compressed",
    421: "a Host that is not this server's",
    422: "not as documented, too many items, or (of /compare) a side that cannot be scored",
    429: "the queue is full: come again after Retry-After seconds",
    499: "the client left",
    500: "the server failed; its log says why",
    503: "the server is ending",
    504: "not scored in time",
}
TO_ALL = (400, 401, 421)
TO_BODIES = (*TO_ALL, 408, 413, 415, 422, 429, 500, 503, 504)
OTHERS = {404: "NotFound", 405: "MethodNotAllowed", 400: "BadRequest"}


@dataclass
class Service:
    """A scorer on the network: its queue, and what its paths share.

    The queue is there once the app has started.
    """

    scorer: LibreHPS
    limits: Limits
    places: MediaAccess
    calibrator: Platt | None = None
    gate: Gate = field(default_factory=Gate)
    metrics: Metrics = field(default_factory=Metrics)
    queue: Batcher | None = None

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """The queue lives within."""
        limits = self.limits
        engine = self.scorer.engine(max_pixels=limits.max_pixels)
        queue = Batcher(engine, limits.max_queue, limits.max_wait, self.metrics)
        self.metrics.watch_depth(lambda: queue.depth)
        self.queue = queue
        yield
        await asyncio.to_thread(queue.close)

    async def rows(self, request: Request, items: Sequence[Pending]) -> list[ScoredRow]:
        """A row for each item; raises Refused, and drops the items where nobody waits any more."""
        assert self.queue is not None  # noqa: S101 - requests come after the start
        scoring = asyncio.gather(*self.queue.submit(items))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait(
                (scoring, leaving),
                timeout=self.limits.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if scoring.done():
                return scoring.result()
            scoring.cancel()
            # Asked for, or asyncio would report it as an error that nobody saw.
            scoring.add_done_callback(lambda done: done.cancelled() or done.exception())
        finally:
            leaving.cancel()
        if leaving.done():
            raise Refused(499, "ClientLeft", "the client left")
        raise Refused(504, "Timeout", f"not scored within {self.limits.timeout:g} s")

    def check_count(self, count: int) -> None:
        """Raises Refused for more than a request may hold."""
        if count > self.limits.max_items:
            most = f"{self.limits.max_items} items a request at most, not {count}"
            raise Refused(422, "TooManyItems", most)


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
) -> FastAPI:
    """The app, with its Service as `state.service`; `fetcher` None: as `access` says."""
    if fetcher is None and access.url_hosts:
        fetcher = Fetcher(access.url_hosts, limits.max_body)
    service = Service(
        scorer, limits, MediaAccess(access.roots, fetcher, limits.max_body), calibrator
    )

    app = FastAPI(
        title="librehps",
        version=__version__,
        description="Scores pictures and clips against their prompts.",
        lifespan=service.running,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    # The last added stands first.
    app.add_middleware(
        BodyLimit,
        gate=service.gate,
        max_body=limits.max_body,
        max_marks=MARKS_EACH * limits.max_items,
        read_timeout=limits.read_timeout,
    )
    app.add_middleware(Guard, access=access, gate=service.gate, metrics=service.metrics)
    _add_errors(app)
    _add_scoring(app, service)
    _add_facts(app, service)
    return app


def _responses(statuses: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """How errors are documented."""
    told: dict[int | str, dict[str, Any]]
    told = {status: {"model": Problem, "description": REASONS[status]} for status in statuses}
    if 429 in told:
        told[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return told


def _add_scoring(app: FastAPI, service: Service) -> None:
    settings = service.scorer.settings
    models = answer_models(settings.axes)
    scored = models.plain | RewardsAnswer

    @app.post("/score", response_model=scored, responses=_responses(TO_BODIES))
    async def score(request: Request, body: Annotated[ScoreBody, Body()]) -> JSONResponse:
        """Score items, or the samples of an RL trainer; one that is broken says so by itself."""
        service.check_count(len(body.requests if isinstance(body, Rewards) else body.items))
        if isinstance(body, Rewards):
            samples = [wanted(sample, str(at)) for at, sample in enumerate(body.requests)]
            items = [
                service.places.pending(sample.id, sample.media, sample.prompt)
                for sample in samples
                if sample.media is not None
            ]
            return JSONResponse(rewards_answer(samples, await service.rows(request, items)))
        ids = [str(at) if item.id is None else item.id for at, item in enumerate(body.items)]
        items = [
            service.places.pending(id, item, item.prompt)
            for id, item in zip(ids, body.items, strict=True)
        ]
        return JSONResponse(plain_answer(await service.rows(request, items), settings))

    @app.post("/compare", response_model=models.verdict, responses=_responses(TO_BODIES))
    async def compare(request: Request, body: CompareBody) -> JSONResponse:
        """Which of two a person would prefer, by `overall`."""
        sides = [("a", body.a), ("b", body.b)]
        items = [service.places.pending(side, media, body.prompt) for side, media in sides]
        a, b = await service.rows(request, items)
        told = verdict(a, b, settings.axes, service.calibrator, body.symmetric)
        return JSONResponse({**told, "settings": settings.digest})


def _add_facts(app: FastAPI, service: Service) -> None:
    settings = service.scorer.settings
    parts = reward_parts(settings.axes, service.scorer.has_scalar)

    @app.get("/health", response_model=Health, responses=_responses((421,)))
    async def health() -> JSONResponse:
        """Whether requests are taken; needs no token."""
        status = "draining" if service.gate.draining else "ready"
        facts = {"status": status, "model": settings.model, "settings": settings.digest}
        return JSONResponse(facts)

    @app.get("/rewards", response_model=RewardNames, responses=_responses((*TO_ALL, 503)))
    async def rewards() -> JSONResponse:
        """The rewards of POST /score, and the parts of each; temporal is of clips only."""
        return JSONResponse({"rewards": {REWARD: parts}})

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_responses(TO_ALL)},
    )
    async def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    """Every error as JSON of one shape."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refused):
            return error.response()
        kind = OTHERS.get(error.status_code, "HttpError")
        return problem(error.status_code, kind, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "InvalidRequest", explained(error))

    @app.exception_handler(QueueFullError)
    async def full(request: Request, error: QueueFullError) -> JSONResponse:
        return problem(429, "QueueFull", str(error), {"Retry-After": str(error.retry_after)})

    @app.exception_handler(AbandonedError)
    async def abandoned(request: Request, error: AbandonedError) -> JSONResponse:
        return problem(503, "Draining", str(error), {"Connection": "close"})

    @app.exception_handler(500)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "InternalError", "the server failed; its log says why")
