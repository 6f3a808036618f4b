"""The local page of `arena label`: on loopback alone, and for those who know its address.

The address holds a random token, and a request without it is refused. So is one with the name of
another host (DNS rebinding) or from a page of another origin.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from arena.errors import ArenaError, UnforeseenError, UsageError
from arena.labelling.session import LONGEST_REASON, LabellingSession, Question, SessionState
from arena.labelling.wording import CHOICES, REASONS
from arena.site.data_files import safe_json
from arena.site.render import CONTENT_POLICY, assets, page_environment

if TYPE_CHECKING:
    from aiohttp import web

HOST: Final = "127.0.0.1"
_SITE_ASSETS: Final = frozenset({"site.css", "theme.js", "load.js", "dom.js"})
_TYPES: Final = {"css": "text/css", "js": "text/javascript"}
_LARGEST_BODY: Final = 1 << 16
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{CONTENT_POLICY}; connect-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What the page sends."""

    tab: str
    item: str = ""
    value: float | None = None
    reason: str = ""
    seconds: float = 0.0


def serve(session: LabellingSession, *, port: int, started: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        session: asks the questions.
        port: to listen on; a free one if 0.
        started: called with the page's address once it can be opened.

    Raises:
        UsageError: the port cannot be used.
    """
    listener = _listen(port)
    with suppress(KeyboardInterrupt):  # where signals have no handlers of a loop
        asyncio.run(_serve(session, listener, started))


async def _serve(
    session: LabellingSession, listener: socket.socket, started: Callable[[str], None]
) -> None:
    from aiohttp import web  # noqa: PLC0415

    token = secrets.token_urlsafe(24)
    port = listener.getsockname()[1]
    app = application(session, token=token, port=port)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    stop = asyncio.Event()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # not on every platform
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        started(f"http://{HOST}:{port}/{token}/")
        await stop.wait()
    finally:
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--port {port}: cannot be used: {error.strerror}; give another one, or leave it out"
        ) from None
    return listener


def application(session: LabellingSession, *, token: str, port: int) -> web.Application:
    """Return the page and what it asks for.

    Args:
        session: asks the questions.
        token: the first part of every path.
        port: that the server listens on, which the requests' Host must have.
    """
    from aiohttp import web  # noqa: PLC0415

    files = _files()
    page = _page(session)

    async def send_page(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def send_file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound
        content_type = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=files[name], content_type=content_type, charset="utf-8")

    app = web.Application(middlewares=[_guard(token, port)], client_max_size=_LARGEST_BODY)
    app.router.add_get("/{token}/", send_page)
    app.router.add_get("/{token}/assets/{name}", send_file)
    app.router.add_post("/{token}/api/{action}", _actions(session))
    return app


def _guard(token: str, port: int) -> Any:
    """Refuse who does not know the token, names another host, or comes from another origin."""
    from aiohttp import web  # noqa: PLC0415

    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    origins = {f"http://{host}" for host in hosts}

    def refusal(request: web.Request) -> str:
        if request.headers.get("Host", "") not in hosts:
            return "This address is not for other host names."
        if request.headers.get("Origin", f"http://{HOST}:{port}") not in origins:
            return "This address is not for other pages."
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            return "This address is not for other pages."
        given = request.path.split("/")[1] if request.path.startswith("/") else ""
        if not hmac.compare_digest(given.encode(), token.encode()):
            return "Open the address that arena label printed, with all of its letters."
        return ""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if message := refusal(request):
            return web.Response(status=403, text=message, headers=_HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=error.reason, headers=_HEADERS)
        response.headers.update(_HEADERS)
        return response

    return guard


def _actions(session: LabellingSession) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of the page's requests, which answers one at a time."""
    from aiohttp import web  # noqa: PLC0415
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    adapter = TypeAdapter(PageRequest)
    one_at_a_time = asyncio.Lock()

    async def handle(request: web.Request) -> web.Response:
        action = request.match_info["action"]
        if action not in ("next", "answer", "undo", "release"):
            raise web.HTTPNotFound
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            given = adapter.validate_json(await request.read(), strict=True)
            async with one_at_a_time:
                result = await asyncio.to_thread(_act, session, action, given)
        except ValidationError:
            return _json({"error": "This is not what the page sends; load it again."}, 400)
        except ArenaError as error:
            return _json({"error": str(error)}, 400 if isinstance(error, UsageError) else 500)
        except Exception as error:  # noqa: BLE001 - said on the page; the answer can be sent again
            return _json({"error": str(UnforeseenError(error))}, 500)
        return _json(result)

    return handle


def _act(session: LabellingSession, action: str, request: PageRequest) -> object:
    if action == "release":
        session.release(request.tab)
        return None
    if action == "next":
        return state_to_json(session.next(request.tab))
    if action == "undo":
        return state_to_json(session.undo(request.tab))
    state = session.answer(
        request.tab, request.item, request.value, reason=request.reason, seconds=request.seconds
    )
    return state_to_json(state)


def state_to_json(state: SessionState) -> Mapping[str, Any]:
    """Return what the page is told: texts, and no names of documents or models."""
    return {
        "question": None if state.question is None else _question(state.question),
        "done": state.done,
        "left": state.left,
        "mine": state.mine,
        "left_s": state.left_s,
        "undone": state.undone,
    }


def _question(question: Question) -> Mapping[str, Any]:
    lists = question.shown.lists
    places = [
        {document.doc_id: at for at, document in enumerate(documents, 1)} for documents in lists
    ]
    return {
        "id": question.id,
        "query": question.shown.query,
        "lists": [
            [
                {
                    "title": document.title,
                    "text": document.text,
                    "cut": document.cut,
                    "other": places[1 - side].get(document.doc_id) if len(lists) > 1 else None,
                }
                for document in documents
            ]
            for side, documents in enumerate(lists)
        ],
    }


def _json(tree: object, status: int = 200) -> web.Response:
    from aiohttp import web  # noqa: PLC0415

    return web.Response(text=safe_json(tree), status=status, content_type="application/json")


def _page(session: LabellingSession) -> str:
    unit = session.questions.unit
    template = page_environment("arena.labelling").get_template("label.html")
    return template.render(
        unit=unit,
        who=session.settings.who,
        choices=CHOICES[unit],
        reasons=REASONS,
        longest_reason=LONGEST_REASON,
    )


def _files() -> dict[str, bytes]:
    """Name → content of each style and script: the site's own, and those of this page."""
    shared = {path.rpartition("/")[2]: content for path, content in assets()}
    folder = resources.files("arena.labelling").joinpath("static")
    own = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {name: shared[name] for name in _SITE_ASSETS} | own
