"""The verdict of a drill, from what the ledger, the destination and the logs of the workers show."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fleet.objects import Objects
from tests.fleet.servers import Servers
from tests.fleet.settlements import DEAD, DONE, MESSAGE_DEAD, Loss, Settlement, find_forgotten, read_settlements

from skyferry.clouds.http import parse_xml
from skyferry.model import State
from skyferry.ports import DeadLetter, Filter, Ledger
from skyferry.stores.s3.client import S3Client
from skyferry.wiring.opener import Opener

Versions = Mapping[str, Sequence[str | None]]  # key -> MD5 of its versions, the oldest first; None = a delete


@dataclass(slots=True)
class Verdict:
    """Figures, and breaches of promises as sentences."""

    counts: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)


async def judge(objects: Objects, servers: Servers, logs: Mapping[Path, int], losses: Sequence[Loss] = ()) -> Verdict:
    """Compare the end with what was meant to be. A ledger may have forgotten what was settled in its `losses`."""
    verdict = Verdict()
    settlements = list(read_settlements(logs))
    forgotten = find_forgotten(settlements, losses)
    compare_settlements(settlements, forgotten, verdict)
    compare_versions(objects.history, await list_versions(servers), objects.impossible, verdict)
    opener = Opener(servers.settings, env=servers.env)
    ledger = await opener.ledger()
    try:
        await _judge_ledger(ledger, objects, forgotten, verdict)
    finally:
        await ledger.close()
        await opener.close()
    return verdict


def compare_settlements(settlements: Iterable[Settlement], forgotten: Iterable[Settlement], verdict: Verdict) -> None:
    """Record transfers that were done twice, except those that the ledger may have forgotten."""
    done: dict[str, list[Settlement]] = defaultdict(list)
    for one in sorted(settlements, key=lambda one: one.time):
        if one.event == DONE:
            done[one.transfer_id].append(one)
    excused = set(forgotten)
    for transfer, times in done.items():
        if any(one not in excused for one in times[:-1]):
            verdict.breaches.append(f"twice: transfer {transfer} was done {len(times)} times")
    verdict.counts |= {
        "transfers done, in the logs": len(done),
        "of them done twice": sum(len(times) > 1 for times in done.values()),
        "settlements that the ledger may have lost": len(excused),
    }


def compare_versions(history: Versions, seen: Versions, impossible: Iterable[str], verdict: Verdict) -> None:
    """Record what is missing, twice, backwards or foreign at the destination."""
    for key in sorted({*history, *seen} - set(impossible)):
        meant, found = history.get(key, ()), [*seen.get(key, ())]
        if (meant[-1] if meant else None) != (found[-1] if found else None):
            verdict.breaches.append(f"missing: {key} showed {found}, and its versions are {meant}")
        if foreign := [md5 for md5 in found if md5 not in meant and md5 is not None]:
            verdict.breaches.append(f"foreign: {key} showed {foreign}, never a version of it")
            continue
        places = [meant.index(md5) for md5 in found if md5 in meant]
        if places != sorted(places):
            verdict.breaches.append(f"backwards: {key} showed its versions in the order {places}")
        written = [md5 for md5 in found if md5 is not None]
        if len(written) > len(set(written)):
            verdict.breaches.append(f"twice: {key} was written in the order {places}")
    wrong = [key for key in impossible if seen.get(key)]
    verdict.breaches += [f"impossible: {key} is at the destination" for key in wrong]
    verdict.counts |= {
        "keys": len(history),
        "versions at the source": sum(map(len, history.values())),
        "versions at the destination": sum(md5 is not None for versions in seen.values() for md5 in versions),
        "deletes at the destination": sum(md5 is None for versions in seen.values() for md5 in versions),
    }


async def _judge_ledger(ledger: Ledger, objects: Objects, forgotten: Sequence[Settlement], verdict: Verdict) -> None:
    counts = await ledger.count_transfers()
    verdict.counts |= {f"transfers {state.value} in the ledger": number for state, number in sorted(counts.items())}
    excused = {one.transfer_id for one in forgotten}
    for state in (State.CLAIMED, State.RETRY):
        page = await ledger.list_transfers(Filter(state=state), limit=1000)
        verdict.breaches += [
            f"missing: transfer {one.transfer.id} of {one.transfer.key} is not settled"
            for one in page.items
            if one.transfer.id not in excused
        ]
    letters = (await ledger.list_dead_letters(Filter(), limit=1000)).items
    verdict.counts["dead letters"] = len(letters)
    compare_letters(letters, (objects.impossible, objects.poison), forgotten, verdict)


def compare_letters(
    letters: Sequence[DeadLetter],
    meant: tuple[Sequence[str], Sequence[bytes]],
    forgotten: Sequence[Settlement],
    verdict: Verdict,
) -> None:
    """Record dead letters that are missing or unexpected. `meant` has their keys, and the bodies of those without a key.

    Those that the ledger may have forgotten need not be there.
    """
    impossible, poison = set(meant[0]), set(meant[1])
    keys = {one.key for one in letters if one.route}
    excused = {one.key for one in forgotten if one.event == DEAD}
    verdict.breaches += [f"dead letter: {key} has none" for key in sorted(impossible - keys - excused)]
    verdict.breaches += [
        f"dead letter: {one.key}, {one.reason}: {one.message}"
        for one in letters
        if one.route and one.key not in impossible
    ]
    bodies = {one.body for one in letters if not one.route}
    lost = sum(one.event == MESSAGE_DEAD for one in forgotten)
    if bodies - poison or len(poison - bodies) > lost:
        verdict.breaches.append(f"dead letter: the messages that are no events are {sorted(map(repr, bodies))}")


async def list_versions(servers: Servers) -> Versions:
    """Return the versions of each key of the destination, in the order in which they were written."""
    place = servers.destination
    client = S3Client("destination", servers.buckets[1], place.credentials, place.options)
    found: dict[str, list[tuple[bytes, str | None]]] = defaultdict(list)
    query = {"versions": "", "max-keys": "1000"}
    try:
        while True:
            page = parse_xml((await client.send("GET", query=query, limit=2**24)).body)
            for element in page:
                if (tag := element.tag.rpartition("}")[2]) in ("Version", "DeleteMarker"):
                    written = _order(element.findtext("{*}VersionId", ""))
                    etag = element.findtext("{*}ETag", "").strip('"') if tag == "Version" else None
                    found[element.findtext("{*}Key", "")].append((written, etag))
            if page.findtext("{*}IsTruncated") != "true":
                return {key: [etag for _, etag in sorted(versions)] for key, versions in found.items()}
            query |= {
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "version-id-marker": page.findtext("{*}NextVersionIdMarker", ""),
            }
    finally:
        await client.close()


def _order(version_id: str) -> bytes:
    """Return the number in a version id of LocalStack, which counts writes. Its pages list delete markers apart."""
    return base64.b64decode(version_id[:8], altchars=b"._")
