"""The page's app: its files, the questions and answers, and the media of a question."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from librehps.errors import LibreHPSError, MediaError
from librehps.judge.guard import PageGuard
from librehps.judge.judgements import MAX_NAME_CHARS, plain_name
from librehps.judge.media import Shelf
from librehps.judge.session import Question, Session, StaleQuestionError
from librehps.serve.body import BodyLimit
from librehps.serve.explained import explained
from librehps.serve.guard import Gate, Refused, problem
from librehps.serve.metrics import Metrics
from librehps.serve.options import Access

TEMPLATES = Path(__file__).parent / "templates"
FILES = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}
QUESTIONS = {
    "overall": "Which is better overall?",
    "alignment": "Which matches the prompt better?",
    "coherence": "Which has fewer defects, such as broken shapes or bodies?",
    "style": "Which looks better?",
    "temporal": "Which moves better?",
}
# Answers are short texts; a body of more bytes, or of more JSON values, is refused.
MAX_BODY, MAX_MARKS, READ_TIMEOUT_S = 1 << 16, 64, 20.0
FRESH = {"Cache-Control": "no-store"}


class Asking(BaseModel):
    """A request of a rater."""

    model_config = ConfigDict(extra="forbid")
    rater: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class Answering(Asking):
    """A rater's answer: the winner of each axis, nothing to skip the pair."""

    ticket: Annotated[str, Field(max_length=64)]
    sides: dict[str, Literal["left", "right", "tie"]]
    seconds: Annotated[float | None, Field(ge=0, le=1e6)] = None


@dataclass
class Page:
    """State that the paths share: session, media, and the one rater that is allowed, if any.

    `summary` returns the lines that end the judging.
    """

    session: Session
    shelf: Shelf
    rater: str | None
    summary: Callable[[], list[str]]
    gate: Gate = field(default_factory=Gate)

    def name(self, asking: Asking) -> str:
        """Return the rater's name; raises Refused for one without letters, or another's."""
        name = plain_name(asking.rater)
        if name is None:
            raise Refused(422, "InvalidName", "expected a name with letters or digits")
        if self.rater is not None and name != self.rater:
            raise Refused(403, "ForeignRater", f"this page is for {self.rater} (--rater)")
        return name

    def state(self, rater: str) -> dict[str, Any]:
        """Return what the page shows to a rater."""
        session = self.session
        with session.lock:
            question = session.question(rater)
            state = {
                "judged": session.judged(rater),
                "pairs": session.target(rater),
                "can_undo": session.can_undo(rater),
                "question": None if question is None else self._shown(question),
            }
        # Other raters do not wait for the summary, which takes seconds at first.
        return {**state, "summary": self.summary() if question is None else []}

    def _shown(self, question: Question) -> dict[str, Any]:
        left, right = question.sides
        return {
            "ticket": question.ticket,
            "prompt": self.session.prompt(question),
            "left": {"kind": self.shelf.kind(left)},
            "right": {"kind": self.shelf.kind(right)},
        }


def make_app(page: Page, access: Access) -> FastAPI:
    """Return the app, whose paths begin with the token of `access`."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(_router(page), prefix=f"/{access.token}")
    # The middleware added last runs first.
    app.add_middleware(
        BodyLimit,
        gate=page.gate,
        max_body=MAX_BODY,
        max_marks=MAX_MARKS,
        read_timeout=READ_TIMEOUT_S,
    )
    app.add_middleware(PageGuard, access=access, gate=page.gate, metrics=Metrics())
    _add_errors(app)
    return app


def _router(page: Page) -> APIRouter:
    router = APIRouter()
    session = page.session

    @router.get("/start")
    def start() -> JSONResponse:
        axes = [(axis, QUESTIONS.get(axis, f"Which is better: {axis}?"))
                for axis in session.judgements.axes]  # fmt: skip
        return JSONResponse({"axes": axes, "rater": page.rater}, headers=FRESH)

    @router.post("/next")
    def ask(body: Annotated[Asking, Body()]) -> JSONResponse:
        return JSONResponse(page.state(page.name(body)), headers=FRESH)

    @router.post("/answer")
    def answer(body: Annotated[Answering, Body()]) -> JSONResponse:
        rater = page.name(body)
        if body.sides and body.sides.keys() != set(session.judgements.axes):
            raise Refused(422, "InvalidAnswer", "expected an answer to each question, or none")
        session.answer(rater, body.ticket, body.sides, body.seconds)
        return JSONResponse(page.state(rater), headers=FRESH)

    @router.post("/undo")
    def undo(body: Annotated[Asking, Body()]) -> JSONResponse:
        rater = page.name(body)
        session.undo(rater)
        return JSONResponse(page.state(rater), headers=FRESH)

    @router.get("/media/{ticket}/{side}")
    def media(ticket: str, side: Literal["left", "right"]) -> Response:
        question = session.opened(ticket)
        if question is None:
            raise Refused(404, "NotFound", "no such question")
        return page.shelf.response(question.sides[side == "right"])

    @router.get("/")
    @router.get("/{name}")
    def file(name: str = "") -> FileResponse:
        if name not in FILES:
            raise Refused(404, "NotFound", "no such page")
        return FileResponse(TEMPLATES / FILES[name], headers=FRESH)

    return router


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return error.response()

    @app.exception_handler(StaleQuestionError)
    async def stale(request: Request, error: StaleQuestionError) -> JSONResponse:
        return problem(409, "StaleQuestion", "this pair is not the current one any more")

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, "NotFound", "no such page")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "InvalidRequest", explained(error))

    @app.exception_handler(MediaError)
    async def unreadable(request: Request, error: MediaError) -> JSONResponse:
        # Its message names the file, which raters are not to see.
        return problem(404, type(error).__name__, "this media cannot be read")

    @app.exception_handler(LibreHPSError)
    async def failed(request: Request, error: LibreHPSError) -> JSONResponse:
        return problem(500, type(error).__name__, str(error))
