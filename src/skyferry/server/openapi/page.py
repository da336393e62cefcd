"""The API's own page at /docs: plain HTML from the OpenAPI document, so that it works without a script from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

router = APIRouter(include_in_schema=False)
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Skyferry API</title>
<meta name="viewport" content="width=device-width"><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h2{font-size:1rem;margin:2rem 0 0;border-top:1px solid #d0d7de;padding-top:1rem}
code{background:#f0f3f6;padding:.1em .3em;border-radius:4px}dt{margin-top:.4rem}dd{margin-left:1.5rem;color:#57606a}
b{display:inline-block;min-width:4.5rem}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}
code{background:#21262d}dd{color:#9198a1}h2{border-color:#30363d}}</style>"""

_ACCESS = (
    "The user that runs the service needs no token on its machine. Others send <code>Authorization: Bearer TOKEN</code>: the "
    "configured one, or else that in the file <code>server.token</code> of the workspace."
)


@router.get("/")
async def root() -> RedirectResponse:
    """To the page."""
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Every operation with its parameters and answers."""
    state = request.app.state
    if not hasattr(state, "page"):  # the same every time, and long to make
        state.page = page(request.app.openapi()).encode()
    return HTMLResponse(state.page, headers=_POLICY)


def page(document: dict[str, Any]) -> str:
    """The document, for people."""
    info = document["info"]
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f"{_HEAD}<h1>Skyferry {escape(info['version'])}</h1><p>{escape(info['description'])} "
        f'See <a href="/v1/status">status</a>, <a href="/v1/transfers">transfers</a>, '
        f'<a href="/v1/dead-letters">dead letters</a>, <a href="/metrics">metrics</a>; '
        f'for programs: <a href="/openapi.json">openapi.json</a>.</p><p>{_ACCESS}</p>{operations}'
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<dt><code>{escape(p['name'])}</code></dt><dd>{escape(p.get('description', ''))}</dd>"
        for p in operation.get("parameters", ())
    )
    answers = ", ".join(sorted(operation["responses"]))
    return (
        f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
        f"<dl>{parameters}</dl><p>Answers {answers}.</p>"
    )
