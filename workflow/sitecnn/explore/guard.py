"""Who may ask: this machine's own browser, at this page's own address, with as much as a network file has."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_UPLOAD_BYTES = 1 << 30
"""The largest file that is taken: VGG-16's ONNX file has 528 MiB."""

MOST_BODY_BYTES = MOST_UPLOAD_BYTES + (1 << 20)

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Nothing is fetched from elsewhere. Vue compiles its templates in the browser, which needs `unsafe-eval`."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """The application behind a check of Host and Origin, for WebSockets too, and of a body's size.

    A page elsewhere that resolves its own name to 127.0.0.1 (DNS rebinding) sends its own Host; one that only posts
    here sends its own Origin.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass, refuse the rest."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not self._is_own(scope["headers"]):
            await _refuse(scope, receive, send, 403, "SiteCNN: this page answers its own address only")
        elif _length(scope["headers"]) > MOST_BODY_BYTES:
            await _refuse(scope, receive, send, 413, f"SiteCNN: larger than {MOST_UPLOAD_BYTES >> 20} MiB")
        else:
            await self.app(scope, _limited(receive), _with_headers(send))

    def _is_own(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        return (
            len(hosts) == 1
            and hosts[0] in self.hosts
            and all(origin.removeprefix("http://") in self.hosts for origin in origins)
        )


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return max([int(value) for name, value in headers if name == b"content-length" and value.isdigit()], default=0)


def _limited(receive: Receive) -> Receive:
    """Messages as they come; one of a body that has grown too long ends the connection."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > MOST_BODY_BYTES:
                return {"type": "http.disconnect"}
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    response: Any = PlainTextResponse(reason, status)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
    else:
        await response(scope, receive, send)
