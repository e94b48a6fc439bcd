"""Parse the bodies of requests, JSON or binary, large ones in threads."""

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from librehps.serve.body import JSON_TYPE, MAX_MARKS, MAX_MARKS_PER_ITEM, check_marks
from librehps.serve.tensors import (
    BINARY_TYPE,
    InvalidTensorsError,
    check_used,
    header_size,
    read_tensors,
)

# JSON of at most this size is parsed on the event loop: a thread would cost more.
MAX_LOOP_BYTES = 32 << 10
# More threads would not parse faster, since parsing holds the interpreter's lock.
PARSE_THREADS = 1
BODY_TYPES = (JSON_TYPE, BINARY_TYPE)
BINARY_SCHEMA = {
    "type": "string",
    "format": "binary",
    "description": (
        "A safetensors file. Its metadata has the JSON text of the request as `request`, with "
        '`"tensor": NAME` as media. A tensor is U8: (bytes) of an encoded file, '
        "(H, W, 3) of an RGB picture, or (frames, H, W, 3) of a clip."
    ),
}
# For `openapi_extra` of a route with a body.
BINARY_BODY = {"requestBody": {"content": {BINARY_TYPE: {"schema": BINARY_SCHEMA}}}}

_threads = ThreadPoolExecutor(PARSE_THREADS, "parse")


class ParsedRequest(Request):
    """A request whose body is parsed; `tensors` are those of a binary body, None for JSON."""

    tensors: Mapping[str, np.ndarray] | None = None


class BodyRoute(APIRoute):
    """A route whose endpoint takes a ParsedRequest and a valid `body`, if it has a body.

    `max_marks` limits the number of JSON values.
    """

    max_marks = MAX_MARKS

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        if self.body_field is None:
            return super().get_route_handler()
        endpoint, limit = self.endpoint, self.max_marks
        wanted: Any = inspect.signature(endpoint).parameters["body"].annotation
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)

        async def handle(request: Request) -> Response:
            parsed = ParsedRequest(request.scope, request.receive)
            content = await request.body()
            parse = _parse_binary if _is_binary(request) else _parse_json
            if _parsed_bytes(content, parse) <= MAX_LOOP_BYTES:
                body, parsed.tensors = parse(content, adapter, limit)
            else:
                loop = asyncio.get_running_loop()
                body, parsed.tensors = await loop.run_in_executor(
                    _threads, parse, content, adapter, limit
                )
            response: Response = await endpoint(parsed, body)
            return response

        return handle


def body_route(max_items: int) -> type[BodyRoute]:
    """Return the class of the routes of a server whose requests have at most `max_items` items."""
    max_marks = min(MAX_MARKS, MAX_MARKS_PER_ITEM * max_items)
    return type("BodyRoute", (BodyRoute,), {"max_marks": max_marks})


Tensors = Mapping[str, np.ndarray] | None


def _is_binary(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0]
    return kind.strip().lower() == BINARY_TYPE


def _parsed_bytes(content: bytes, parse: Callable[..., Any]) -> int:
    """Return the number of bytes that are parsed as JSON."""
    if parse is _parse_json:
        return len(content)
    try:
        return header_size(content)
    except InvalidTensorsError:
        # The parser reports the error at once.
        return 0


def _parse_json(content: bytes, adapter: TypeAdapter[Any], max_marks: int) -> tuple[Any, Tensors]:
    return _valid(_value(content, max_marks), adapter), None


def _parse_binary(content: bytes, adapter: TypeAdapter[Any], max_marks: int) -> tuple[Any, Tensors]:
    try:
        check_marks(content[: header_size(content)], max_marks)
        file = read_tensors(content)
        value = _value(file.request.encode(), max_marks)
        check_used(file.tensors, value)
    except InvalidTensorsError as error:
        raise RequestValidationError([{"loc": ("body",), "msg": str(error)}]) from error
    return _valid(value, adapter), file.tensors


def _value(content: bytes, max_marks: int) -> Any:
    check_marks(content, max_marks)
    try:
        return from_json(content)
    except ValueError:
        # The fast parser refuses a whole request for a lone surrogate in one item.
        return _value_slowly(content)


def _value_slowly(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        problem = {"loc": ("body",), "msg": f"invalid JSON: {reason}"}
        raise RequestValidationError([problem]) from error


def _valid(value: Any, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        # The first place in a union is the tag of its member, which is not a field.
        schema: Mapping[str, Any] = adapter.core_schema
        first = int(schema.get("schema", schema)["type"] == "tagged-union")
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"][first:])} for fault in faults]
        ) from error
