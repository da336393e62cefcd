"""`skyferry workers`: list the workers of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from skyferry.cli import client
from skyferry.cli.arguments.options import ConfigOptions, Json, PageOptions, Url
from skyferry.cli.commands.ledger.selection import read_ledger
from skyferry.cli.parameters import format_command
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.server.models import WorkerPage, WorkerView

COLUMNS = ("state", "host", "version", "region", "routes", "age", "heartbeat", "holds", "id")
ROLE_COLUMNS = ("role", "age", "host", "id")
DIFFERENT = """\
warning: workers with the same queues have different routes. The worker that receives an event decides by its own routes, and
skips the event if none takes it. Give all of them the same configuration, then copy what was missed with `skyferry copy`"""


def workers(*, url: Url = "", paging: PageOptions, at: ConfigOptions, json: Json = False) -> None:
    """List the workers that use the ledger, by id, and the roles of each (the work that it does for all) with their age.

    A worker sends a heartbeat every 3 seconds. It is listed until `ledger.lease` seconds after the last one; a worker that ends
    normally leaves at once. Commands that only read the ledger are no workers.

    JSON: `items` and `cursor` ("" at the end) as in `GET /v1/workers`.
    """
    page = _ask_service(url, paging, at) if url else _read_ledger(paging, at)
    if json:
        output.print_model(page)
    elif page.items:
        output.print_table(COLUMNS, (_format_row(worker) for worker in page.items))
        _print_roles(page.items)
        if _have_other_routes(page.items):
            output.print_lines("", DIFFERENT)
        if page.cursor:
            output.print_lines(f"next page: --cursor {page.cursor}")
    else:
        output.print_lines(f"no worker runs on this ledger: start one with `{format_command('run')}`")


def _read_ledger(paging: PageOptions, at: ConfigOptions) -> WorkerPage:
    from skyferry.server.models import WorkerPage

    return WorkerPage.from_page(read_ledger(at, lambda ledger: ledger.list_workers(paging.cursor, paging.limit)))


def _ask_service(url: str, paging: PageOptions, at: ConfigOptions) -> WorkerPage:
    from skyferry.server.models import WorkerPage

    settings = at.load()
    query = urlencode({"limit": paging.limit, "cursor": paging.cursor})
    answer = client.get_json(url, f"/v1/workers?{query}", settings.server, workspace=settings.workspace)
    return WorkerPage.model_validate(answer)


def _format_row(worker: WorkerView) -> tuple[str, ...]:
    age, silence = output.format_duration(worker.age), output.format_duration(worker.heartbeat_age)
    return (
        worker.state,
        worker.host,
        worker.version,
        worker.region,
        worker.routes,
        age,
        f"{silence} ago",
        f"{worker.holds:,}",
        worker.id,
    )


def _have_other_routes(workers: Sequence[WorkerView]) -> bool:
    """Return True if workers with the same queues have different routes. Workers of older releases report none."""
    known: dict[str, str] = {}
    return any(known.setdefault(worker.queues, worker.routes) != worker.routes for worker in workers if worker.routes)


def _print_roles(workers: Sequence[WorkerView]) -> None:
    held = [
        (role, output.format_duration(age), worker.host, worker.id)
        for worker in workers
        for role, age in worker.role_ages.items()
    ]
    if held:
        output.print_lines("")
        output.print_table(ROLE_COLUMNS, sorted(held))
