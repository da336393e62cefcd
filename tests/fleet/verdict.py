"""The verdict of a drill, from what the ledger, the destination and the logs of the workers show."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.objects import Objects
from tests.fleet.servers import Servers

from skyferry.clouds.http import parse_xml
from skyferry.model import State
from skyferry.ports import Filter, Ledger
from skyferry.stores.s3.client import S3Client
from skyferry.wiring.opener import Opener

Versions = Mapping[str, Sequence[str | None]]  # key -> MD5 of its versions, the oldest first; None = a delete


@dataclass(slots=True)
class Verdict:
    """Figures, and breaches of promises as sentences."""

    counts: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)


async def judge(objects: Objects, servers: Servers, logs: Iterable[Path], *, forgets: bool = False) -> Verdict:
    """Compare the end with what was meant to be. A ledger that `forgets` its last second may repeat what it had settled."""
    verdict = Verdict()
    seen = await list_versions(servers)
    done = count_done(logs)
    repeated = {transfer: times for transfer, times in done.items() if times > 1}
    if not forgets:
        verdict.breaches += [f"twice: transfer {transfer} was done {n} times" for transfer, n in repeated.items()]
    verdict.counts |= {"transfers done, in the logs": len(done), "of them done twice": len(repeated)}
    compare_versions(objects.history, seen, objects.impossible, verdict)
    opener = Opener(servers.settings, env=servers.env)
    ledger = await opener.ledger()
    try:
        await _judge_ledger(ledger, objects, verdict)
    finally:
        await ledger.close()
        await opener.close()
    return verdict


def compare_versions(history: Versions, seen: Versions, impossible: Iterable[str], verdict: Verdict) -> None:
    """Record what is missing, backwards or foreign at the destination."""
    repeats = 0
    for key in sorted({*history, *seen} - set(impossible)):
        meant, found = history.get(key, ()), [*seen.get(key, ())]
        if (meant[-1] if meant else None) != (found[-1] if found else None):
            verdict.breaches.append(f"missing: {key} has {found[-1:]} and not the newest version {meant[-1:]}")
        if foreign := [md5 for md5 in found if md5 not in meant and md5 is not None]:
            verdict.breaches.append(f"foreign: {key} showed {foreign}, never a version of it")
            continue
        places = [meant.index(md5) for md5 in found if md5 in meant]
        if places != sorted(places):
            verdict.breaches.append(f"backwards: {key} showed its versions in the order {places}")
        # Ceph ignores If-None-Match in a versioned bucket: a copy whose settlement was lost is written again
        written = [md5 for md5 in found if md5 is not None]
        repeats += len(written) - len(set(written))
    wrong = [key for key in impossible if seen.get(key)]
    verdict.breaches += [f"impossible: {key} is at the destination" for key in wrong]
    verdict.counts |= {
        "keys": len(history),
        "versions at the source": sum(map(len, history.values())),
        "versions at the destination": sum(map(len, seen.values())),
        "of them the version before again": repeats,
    }


async def _judge_ledger(ledger: Ledger, objects: Objects, verdict: Verdict) -> None:
    counts = await ledger.count_transfers()
    verdict.counts |= {f"transfers {state.value} in the ledger": number for state, number in sorted(counts.items())}
    if open_ := counts.get(State.CLAIMED, 0) + counts.get(State.RETRY, 0):
        verdict.breaches.append(f"missing: {open_} transfers are not settled")
    letters = (await ledger.list_dead_letters(Filter(), limit=1000)).items
    verdict.counts["dead letters"] = len(letters)
    keys, bodies = ({one.key for one in letters if one.route}, {one.body for one in letters if not one.route})
    verdict.breaches += [f"dead letter: {key} has none" for key in sorted(set(objects.impossible) - keys)]
    for one in letters:
        if one.route and one.key not in objects.impossible:
            verdict.breaches.append(f"dead letter: {one.key}, {one.reason}: {one.message}")
    if bodies != set(objects.poison):
        verdict.breaches.append(f"dead letter: the messages that are no events are {sorted(map(repr, bodies))}")


def count_done(logs: Iterable[Path]) -> Counter[str]:
    """Return how often the workers logged that a transfer was done, by its id."""
    done = Counter[str]()
    for path in logs:
        for line in path.read_bytes().splitlines():
            if b'"transfer.done"' in line:
                try:
                    done[str(json.loads(line)["transfer_id"])] += 1
                except ValueError:
                    continue  # cut off by a kill
    return done


async def list_versions(servers: Servers) -> Versions:
    """Return the versions of each key of the destination."""
    place = servers.place
    client = S3Client("destination", servers.buckets[1], place.credentials, place.options)
    newest: dict[str, list[str | None]] = defaultdict(list)
    query = {"versions": "", "max-keys": "1000"}
    try:
        while True:
            page = parse_xml((await client.send("GET", query=query, limit=2**24)).body)
            for element in page:
                if (tag := element.tag.rpartition("}")[2]) in ("Version", "DeleteMarker"):
                    etag = element.findtext("{*}ETag", "").strip('"')
                    newest[element.findtext("{*}Key", "")].append(etag if tag == "Version" else None)
            if page.findtext("{*}IsTruncated") != "true":
                return {key: versions[::-1] for key, versions in newest.items()}
            query |= {
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "version-id-marker": page.findtext("{*}NextVersionIdMarker", ""),
            }
    finally:
        await client.close()
