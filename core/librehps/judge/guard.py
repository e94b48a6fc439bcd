"""The guard of the page: Host, the token in the address, Origin, and headers of each answer."""

import hmac

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from librehps.serve.guard import Guard, Refused, draining

# Nothing but the page's own files: no other host, no inline script, no frame around the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageGuard(Guard):
    """A guard of a page in a browser, which sends no Authorization header.

    The token is the first part of each path, which no other page knows. A cookie would be sent to
    every server of this machine.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await super().__call__(scope, receive, with_headers)

    def check(self, scope: Scope) -> None:
        """Raise Refused for a foreign Host, a wrong token, or a POST from another page."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"")
        self._check_host(host)
        given = scope["path"].removeprefix("/").partition("/")[0].encode()
        if self.access.token is None or not hmac.compare_digest(given, self.access.token.encode()):
            raise Refused(
                401, "Unauthorized", "wrong address: open the one that librehps judge prints"
            )
        is_ours = headers.get(b"origin") in (b"http://" + host, b"https://" + host)
        if scope["method"] not in ("GET", "HEAD") and not is_ours:
            raise Refused(403, "ForeignOrigin", "request of another page: Origin is not this page")
        if self.gate.draining:
            raise draining()
