"""Sentences for requests that are not as documented, from the errors of Pydantic."""

from collections.abc import Mapping
from typing import Any

from librehps.files import printable

MAX_REASON_CHARS = 500
# What was expected, by the type of error; other errors have a message of their own.
EXPECTED = {
    "missing": "required field is missing",
    "extra_forbidden": "unknown field",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "list_type": "expected an array",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
}
# The shortest body of each path, without the media.
EXAMPLES = {
    "/score": '{"items": [{"prompt": "a red circle", "image_b64": ".."}]}',
    "/compare": '{"prompt": "a red circle", "a": {"image_b64": ".."}, "b": {"image_b64": ".."}}',
}


def explained(error: Any, path: str = "") -> str:
    """Return the first three validation errors as text, without values, which may be images.

    With the path of a request, its example body follows.
    """
    faults = [": ".join(filter(None, (_place(one), _reason(one)))) for one in error.errors()[:3]]
    reason = printable("; ".join(faults))[:MAX_REASON_CHARS] or "invalid request"
    example = EXAMPLES.get(path)
    return f"{reason}. Example of a body: {example}" if example else reason


def _reason(fault: Mapping[str, Any]) -> str:
    found = EXPECTED.get(fault.get("type", ""))
    return found or str(fault["msg"]).removeprefix("Value error, ")


def _place(fault: Mapping[str, Any]) -> str:
    # Names of validating functions, such as function-after[...], mean nothing to a client.
    return ".".join(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
