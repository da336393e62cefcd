"""The documentation page at /docs: plain HTML from the OpenAPI document, without scripts of other servers."""

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
    "On the machine of the service, the user that runs it needs no token. Other clients send <code>Authorization: Bearer "
    "TOKEN</code>: the configured token, or the one in the file <code>server.token</code> of the workspace."
)


@router.get("/")
async def root() -> RedirectResponse:
    """Redirect to the documentation."""
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return the documentation page."""
    state = request.app.state
    if not hasattr(state, "page"):  # constant, and slow to render
        state.page = render_page(request.app.openapi()).encode()
    return HTMLResponse(state.page, headers=_POLICY)


def render_page(document: dict[str, Any]) -> str:
    """Render the OpenAPI document as HTML."""
    info = document["info"]
    operations = "".join(
        _render_operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f"{_HEAD}<h1>Skyferry {escape(info['version'])}</h1><p>{escape(info['description'])} "
        f'See <a href="/v1/status">status</a>, <a href="/v1/transfers">transfers</a>, '
        f'<a href="/v1/dead-letters">dead letters</a>, <a href="/metrics">metrics</a>; '
        f'for programs: <a href="/openapi.json">openapi.json</a>.</p><p>{_ACCESS}</p>{operations}'
    )


def _render_operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<dt><code>{escape(p['name'])}</code></dt><dd>{escape(p.get('description', ''))}</dd>"
        for p in operation.get("parameters", ())
    )
    answers = ", ".join(sorted(operation["responses"]))
    return (
        f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
        f"<dl>{parameters}</dl><p>Responses: {answers}.</p>"
    )
