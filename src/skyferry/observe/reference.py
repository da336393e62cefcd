"""The tables of docs/reference/observability.md, from the code: `python -m skyferry.observe.reference PAGE`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from skyferry.observe.logs import DEFAULT, LEVELS
from skyferry.observe.metrics import Catalog
from skyferry.records import EVENTS

MEANING: Mapping[str, str] = {
    "service.started": "The worker receives events.",
    "service.draining": "A stop was asked for: nothing new is taken, what is in flight may finish.",
    "service.stopped": "Everything is finished or given back.",
    "check.changed": "The condition of a part (`queue`, `store`, or `operation`: ledger, or what waits) is now `reason`: "
    "ok, degraded or down; said once per change. The same is in the answer of `GET /ready`.",
    "route.metadata_lost": "What the destination of a route cannot carry that its source can, in words; said once at the start.",
    "queue.received": "`count` messages came in one batch.",
    "queue.failed": "A queue could not be reached; it is tried again.",
    "health.failing": "The ledger, or the queue that `queue` names, does not work. `/ready` answers 503 until it does; if its "
    "file is damaged, until the service is restarted.",
    "health.restored": "The ledger, or the queue that `queue` names, works again.",
    "ledger.failed": "The ledger could not be written. Nothing is acked, so the message comes again.",
    "message.acked": "Everything that `count` messages asked for is settled in the ledger; they are gone from their queue.",
    "message.released": "`count` messages went back to their queue; they come again after `delay`.",
    "message.test": "A provider's test message, acked.",
    "message.dead": "A message that no parser reads: kept as a dead letter.",
    "event.received": "An event was read; `reason` is the format it came in.",
    "event.unrouted": "No route takes this event, as `message` says; recorded for `skyferry explain`, and its message is acked.",
    "event.unknown_bucket": "No store of the configuration is the `bucket` of this event: kept as a dead letter.",
    "event.passed_over": "The same where `unknown_buckets` of the queue says so: `reason` is released or ignored.",
    "event.ignored": "A notification that does not concern content; `reason` is the provider's name for it. Its message is acked.",
    "transfer.claimed": "An attempt begins.",
    "transfer.duplicate": "This transfer was settled before; nothing is done.",
    "transfer.done": "Copied, verified, recorded. `lag` is the time from the event to now.",
    "transfer.skipped": "Nothing to do, for `reason`; recorded.",
    "transfer.retry": "An attempt failed with `error`; the next one comes after `delay`.",
    "transfer.dead": "Given up on: a dead letter with the story of its attempts.",
    "transfer.released": "Given back untouched, for `reason`: shutdown, breaker, lost. No attempt is burned.",
    "transfer.lease_lost": "Another worker took over meanwhile; this result is not recorded.",
    "dead_letter.published": "`count` dead letters are in the queue that `dead_letters` names.",
    "dead_letter.publish_failed": "Dead letters could not be sent there; they wait in the ledger and are sent later.",
    "dead_letter.returned": "A dead letter came back into a queue: it is `reason`, redriven or stale (a copy of one that was "
    "redriven before); its message is acked.",
    "dead_letter.foreign": "What another ledger sent on as a dead letter has died here too. The letter stays in this ledger and is "
    "not sent on again.",
    "store.request": "One request to a store was answered or failed with `error`.",
    "store.retry": "One request failed with `error` and is tried again within the attempt. `message`: `copy` waits for the store.",
    "store.disordered": "A store lists keys in another order than that of their bytes. It costs requests, and nothing is missed.",
    "breaker.changed": "A store's circuit breaker is now `reason`: closed, open or half_open.",
    "limiter.waited": "A request waited `duration` for the rate limit of its store.",
    "deletes.held": "`count` objects are missing at a watched source, and their deletes wait for a person, for `reason`: more "
    "than `max_deletes` (limit), none is left (empty), or the folder is another one (replaced). Said once.",
    "deletes.back": "`count` objects whose deletes were held or rejected are at the source again; that is forgotten.",
    "deletes.approved": "`count` held deletes that a person approved went to the queue.",
    "watch.noticed": "A local file changed.",
    "identity.failed": "No new credential was given to us; the old one serves to its end, then the work waits.",
    "watch.failed": "Changes of a folder could not be passed on, or looked for, because of `error`; this is tried again after "
    "`delay`. Of a series of failures the 1st, 2nd, 4th, 8th … are reported.",
    "store.special_file": "A folder has what is neither a file nor a folder: `reason` is symlink, fifo, socket or device. It is "
    "no object (see `special_files`). Each path is reported once.",
    "watch.unreadable": "A local file or folder has a name that cannot be a key, or may not be read.",
}


def events_table() -> str:
    """Every event with its level."""
    rows = (f"| `{event}` | {LEVELS.get(event, DEFAULT)} | {MEANING[event]} |" for event in EVENTS)
    return "\n".join(("| event | level | means |", "|---|---|---|", *rows))


def metrics_table() -> str:
    """Every metric with its labels."""
    rows = (
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |"
        for m in Catalog().all()
    )
    return "\n".join(("| metric | type | labels | means |", "|---|---|---|---|", *rows))


def fill(text: str) -> str:
    """`text` with its generated parts as the code has them now."""
    for name, table in (("events", events_table()), ("metrics", metrics_table())):
        mark = rf"(<!-- {name}: generated -->\n).*?(\n<!-- /{name} -->)"
        text = re.sub(mark, lambda m, t=table: f"{m[1]}{t}{m[2]}", text, flags=re.S)  # type: ignore[misc]  # bound default
    return text


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(fill(page.read_text("utf-8")), "utf-8")
