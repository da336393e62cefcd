"""Write the tables of docs/reference/observability.md: `python -m skyferry.observe.reference PAGE`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from skyferry.observe.catalog import Catalog
from skyferry.observe.logs import DEFAULT, LEVELS
from skyferry.records import EVENTS

MEANING: Mapping[str, str] = {
    "service.started": "The worker receives events. The message names the event loop.",
    "ledger.opened": "The ledger of this worker, with the number of its transfers. `count` is the number of other workers: 0 "
    "where others have run before means that `ledger.url` is wrong. Logged once at the start.",
    "service.draining": "The service is stopping: it takes no new messages and finishes the transfers in flight.",
    "service.stopped": "All transfers are finished or released.",
    "process.started": "`--processes`, or a copy that grew: the process `worker` was started; the message has its process id.",
    "process.ended": "The process `worker` ended without having drained, for the reason in the message. Another one "
    "takes its work over. It is started again after `delay`; without a delay, the service is stopping.",
    "role.taken": "This worker has the role `operation` now: it does that work for the whole fleet.",
    "role.lost": "This worker no longer has the role `operation`, because of `message`. Another one takes it over. Not at a drain.",
    "check.changed": "The condition of a part (`queue`, `store`, or `operation`: ledger, or waiting work) changed to `reason`: "
    "ok, degraded or down. `GET /ready` returns the same. A failure that `health.failing` reports is not repeated.",
    "store.identified": "The server says which service it is, and the settings do not. Logged once at the start.",
    "store.region_unknown": "The provider does not report the region of a store under `allow_regions`, so the configured one is "
    "relied on. Logged once.",
    "server.unsafe": "The server of the ledger, or of the queue named by `queue`, has settings with which it may lose what it has "
    "confirmed: the message names them, `hint` has the correction. Logged once at the start; `skyferry doctor` shows all.",
    "route.metadata_lost": "The destination of a route cannot keep some metadata of its source. Logged once at the start.",
    "queue.received": "`count` messages were received in one batch.",
    "queue.failed": "A queue could not be reached. The call is retried.",
    "health.failing": "The ledger, or the queue named by `queue`, does not work. `/ready` answers 503 until it does, also at the "
    "start; if the file is damaged, until the service is restarted. Logged once for each of the first five causes in an outage.",
    "health.restored": "The ledger, or the queue named by `queue`, works again, after `duration` and `count` failed requests.",
    "ledger.request": "The ledger claimed or settled (`operation`) a batch of `count` transfers.",
    "ledger.failed": "A request of the work to the ledger failed; there may be thousands in an outage. The work waits and is not "
    "acknowledged. `health.failing` and `health.restored` are logged once.",
    "message.acked": "All transfers of `count` messages are settled in the ledger; the messages are removed from their queue.",
    "message.released": "`count` messages were returned to their queue and are delivered again after `delay`.",
    "message.test": "A provider's test message was acknowledged.",
    "message.dead": "No parser can read the message. It is kept as a dead letter.",
    "event.received": "An event was read; `reason` is its format.",
    "event.unrouted": "No route takes the event, as `message` explains. It is recorded for `skyferry explain` and acknowledged.",
    "event.unknown_bucket": "The event's `bucket` matches no configured store. The event is kept as a dead letter.",
    "event.passed_over": "The same if `unknown_buckets` of the queue is set: `reason` is released or ignored.",
    "event.other_region": "The routes of the event run in the region that `reason` names, so its message is released.",
    "event.ignored": "The notification does not concern content; `reason` is the provider's name for it. It is acknowledged.",
    "transfer.claimed": "An attempt begins.",
    "transfer.duplicate": "The transfer was settled before. Nothing is done.",
    "transfer.done": "The object is copied, verified and recorded. `lag` is the time since the event. `reason`: `present` if the "
    "destination had it already, so that nothing was written. `message`: tags, `Expires` or a website redirect of the object that "
    "the destination cannot keep.",
    "transfer.skipped": "There is nothing to do, for `reason`. The transfer is recorded.",
    "transfer.retry": "An attempt failed with `error`. The next one follows after `delay`.",
    "transfer.dead": "The transfer failed for good. It is kept as a dead letter with its attempts.",
    "transfer.released": "The transfer was released untouched, for `reason`: shutdown, breaker, lost. No attempt is counted.",
    "transfer.lease_lost": "Another worker took over the transfer. This worker's result is not recorded.",
    "transfer.message_lost": "The message of a transfer that was not settled no longer exists. The transfer is processed again.",
    "dead_letter.published": "`count` dead letters were sent to the queue named by `dead_letters`.",
    "dead_letter.publish_failed": "Dead letters could not be sent. They stay in the ledger and are sent later.",
    "dead_letter.returned": "A dead letter came back through a queue and was acknowledged. `reason` is redriven, or stale for a "
    "copy of a letter that was redriven before.",
    "dead_letter.foreign": "A dead letter of another ledger failed here too. It stays in this ledger and is not sent again.",
    "store.request": "A store answered one request, or the request failed with `error`.",
    "store.retry": "One request failed with `error` and is retried within the attempt. With `message`, `copy` waits for the store.",
    "store.disordered": "A store does not list keys in the order of their bytes. Nothing is missed, but it costs requests.",
    "breaker.changed": "A store's circuit breaker is now `reason`: closed, open or half_open. `error` opened it.",
    "limit.changed": "Up to `count` small requests to a store may be in flight; it had changed by a quarter.",
    "shared_limits.fallback": "The ledger does not answer, as `message` says. Until it does, this worker keeps the limits of "
    "`shared_limits` by itself: its share of each rate, with `count` workers, and its own circuit breakers.",
    "shared_limits.restored": "The ledger answers again, so the workers share their limits as before.",
    "limiter.waited": "A request waited `duration` for the rate limit of its store.",
    "deletes.held": "`count` objects are missing at a watched source, and their deletes wait for a decision. `reason`: more "
    "than `max_deletes` (limit), no object is left (empty), or the folder is a different one (replaced). Logged once.",
    "deletes.back": "`count` objects with held or rejected deletes are at the source again. The decision is cleared.",
    "deletes.approved": "`count` approved deletes were sent to the queue.",
    "watch.noticed": "A local file changed.",
    "identity.failed": "Credentials could not be renewed. The old ones are used until they expire; then work waits.",
    "watch.failed": "Changes of a folder could not be found or sent because of `error`. The watcher retries after `delay`. "
    "The 1st, 2nd, 4th, 8th … failure of a series are logged. A folder that can no longer be watched is listed instead, with "
    "pauses of nine times the duration of a listing; that is logged once.",
    "store.special_file": "A folder contains something that is not an object: `reason` is symlink, fifo, socket or device. See "
    "`special_files`. Each path is logged once.",
    "watch.unreadable": "The name of a local file or folder cannot be a key, or its permissions forbid reading.",
}


def events_table() -> str:
    """Return the table of events with their levels."""
    rows = (f"| `{event}` | {LEVELS.get(event, DEFAULT)} | {MEANING[event]} |" for event in EVENTS)
    return "\n".join(("| event | level | means |", "|---|---|---|", *rows))


def metrics_table() -> str:
    """Return the table of metrics with their labels."""
    rows = (
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |"
        for m in Catalog().all()
    )
    return "\n".join(("| metric | type | labels | means |", "|---|---|---|---|", *rows))


def fill_page(text: str) -> str:
    """Replace the generated parts of a page."""
    for name, table in (("events", events_table()), ("metrics", metrics_table())):
        mark = rf"(<!-- {name}: generated -->\n).*?(\n<!-- /{name} -->)"
        text = re.sub(mark, lambda m, t=table: f"{m[1]}{t}{m[2]}", text, flags=re.S)  # type: ignore[misc]  # bound default
    return text


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(fill_page(page.read_text("utf-8")), "utf-8")
