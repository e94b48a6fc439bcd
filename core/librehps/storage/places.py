"""Places: a place is a local path or a URL; how to name one without its credentials."""

import re
from pathlib import PurePosixPath

# Query parameters whose values grant access, as in signed URLs.
_SECRET = re.compile(
    r"[\w.-]*(?:signature|token|credential|secret|passw(?:or)?d|api-?_?key|accesskey)[\w.-]*"
    r"|access_key(?:_id)?|sig|auth|authorization|hdnts|hdnea|policy",
    re.IGNORECASE,
)
# Other parameters of a signed URL, which change each time it is signed: of S3, Google Cloud,
# CloudFront and Azure.
_SIGNED = re.compile(
    r"x-(?:amz|goog)-.*|googleaccessid|key-pair-id|expires|sv|ss|srt|se|sp|st|sr|spr|sip|si|sdd"
    r"|scid|saoid|suoid|skoid|sktid|skt|ske|sks|skv",
    re.IGNORECASE,
)
_QUERY = re.compile(r"\?[^\s'\"<>)\]#?]*?(?=$|[\s'\"<>)\]#?]|::)")
# `container@account` of Azure is no password.
_USER = re.compile(
    r"(?:(?<=http://)|(?<=https://)|(?<=ftp://))[^/?#\s@'\"]*@|(?<=://)[^/?#\s@:'\"]*:[^/?#\s@'\"]*@",
    re.IGNORECASE,
)


def is_remote(place: object) -> bool:
    """Return whether a place is a URL or a chain of URLs, not a local path."""
    return "://" in str(place)


def is_web(place: str) -> bool:
    """Return whether a place is an http(s) URL, and not a chain of URLs."""
    return place.lower().startswith(("http://", "https://")) and "::" not in place


def shown(text: object) -> str:
    """Return a URL, or a text with URLs, without passwords and without signed query parameters."""
    plain = str(text)
    if "://" not in plain:
        return plain
    return _QUERY.sub(_public, _USER.sub("", plain))


def host_of(place: str) -> str:
    """Return the host of a web URL, the bucket of other URLs (`s3://bucket`), empty for a path."""
    scheme, separator, rest = place.rsplit("::", 1)[-1].partition("://")
    if not separator:
        return ""
    name = re.split(r"[/?#]", _USER.sub("", f"{scheme}://{rest}").partition("://")[2], maxsplit=1)[
        0
    ]
    return name.lower() if scheme.lower() in ("http", "https") else f"{scheme}://{name}"


def name_of(place: str) -> str:
    """Return the file name of a URL."""
    part = next((part for part in place.split("::") if "://" in part), place)
    return PurePosixPath(part.split("?")[0] if is_web(part) else part).name


def _public(query: re.Match[str]) -> str:
    """Return a query without the parameters that grant access or belong to a signature."""
    parameters = query.group()[1:].split("&")
    kept = [one for one in parameters if not _SECRET.fullmatch(one.partition("=")[0])]
    if len(kept) < len(parameters):
        kept = [one for one in kept if not _SIGNED.fullmatch(one.partition("=")[0])]
    return "?" + "&".join(kept) if kept else ""
