"""Buckets and their objects: generations, preconditions, listings. Independent of HTTP except the status of a refusal."""

from __future__ import annotations

import base64
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

from skyferry.frozen import dataclass
from skyferry.testing.gcs.body import Body

NAME_MAX = 1024  # bytes
METADATA_MAX = 8 * 2**10  # bytes, keys and values together
CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
SETTABLE = (
    *("contentType", "contentEncoding", "contentLanguage", "contentDisposition"),
    *("cacheControl", "storageClass", "metadata", "customTime"),
)


class FakeRefusal(Exception):
    """A response with an error status."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        self.status, self.reason, self.message = status, reason, message or reason
        super().__init__(self.message)


def refuse_invalid(message: str) -> FakeRefusal:
    """Return the refusal of an invalid request."""
    return FakeRefusal(400, "invalid", message)


@dataclass(frozen=True, slots=True)
class Stored:
    """One generation of an object, with one metageneration."""

    name: str
    generation: int
    body: Body
    created: float
    updated: float
    metageneration: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)  # SETTABLE fields
    kms_key: str = ""
    components: int = 0
    deleted: float = 0.0  # when it became noncurrent
    kept: int = 0  # seconds that the bucket's retention policy keeps it
    held: bool = False  # by an event-based hold, which nothing here releases

    def resource(self, bucket: str, root: str) -> dict[str, Any]:
        """As the API shows it. `root` is the server's URL."""
        path = f"b/{bucket}/o/{quote(self.name, safe='')}"
        tag = base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()
        found: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "selfLink": f"{root}/storage/v1/{path}",
            "mediaLink": f"{root}/download/storage/v1/{path}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "size": str(self.body.size),
            "crc32c": self.body.crc32c,
            "md5Hash": self.body.md5,
            "etag": tag,
            "timeCreated": format_time(self.created),
            "updated": format_time(self.updated),
            "timeDeleted": format_time(self.deleted) if self.deleted else "",
            "retentionExpirationTime": format_time(self.created + self.kept) if self.kept else "",
            "eventBasedHold": self.held or "",
            "componentCount": self.components,
            "kmsKeyName": f"{self.kms_key}/cryptoKeyVersions/1" if self.kms_key else "",
            **self.settings,
        }
        return {name: value for name, value in found.items() if value not in ("", 0, {})}


@dataclass(frozen=True, slots=True)
class Conditions:
    """On the live object, or on one generation. -1 = none; generation 0 = there is no live object."""

    generation: int = -1
    not_generation: int = -1
    metageneration: int = -1
    not_metageneration: int = -1

    @classmethod
    def of(cls, query: Mapping[str, str], kind: str = "if") -> Conditions:
        """Of query parameters; `kind` is "ifSource" for those of a copy's source."""

        def number(what: str) -> int:
            value = query.get(f"{kind}{what}Match", "-1")
            if not value.removeprefix("-").isdecimal():
                raise refuse_invalid(f"Invalid value for {kind}{what}Match: {value!r}")
            return int(value)

        return cls(
            number("Generation"),
            number("GenerationNot"),
            number("Metageneration"),
            number("MetagenerationNot"),
        )

    def check(self, found: Stored | None) -> None:
        """Raise FakeRefusal unless they are met: 412 for a mismatch, 304 if the object is the excluded one."""
        self.compare(*((found.generation, found.metageneration) if found else (0, 0)))

    def compare(self, generation: int, metageneration: int) -> None:
        """The same, for anything that has them. A bucket has no generation that is ever asked for."""
        if self.generation not in (-1, generation) or self.metageneration not in (-1, metageneration):
            words = "At least one of the pre-conditions you specified did not hold."
            raise FakeRefusal(412, "conditionNotMet", words)
        if generation == self.not_generation or metageneration == self.not_metageneration:
            raise FakeRefusal(304, "notModified")


class FakeBucket:
    """One bucket."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name, self.settings = name, dict(settings)
        self.metageneration, self.created = 1, time.time()
        self.updated = self.created
        self.notifications: dict[str, dict[str, Any]] = {}  # configurations, by id
        self.ids = count(1)  # of them
        self._live: dict[str, Stored] = {}
        self._old: dict[str, list[Stored]] = {}  # noncurrent generations, oldest first
        self._names: list[str] = []  # of both, sorted; the order of code points is that of UTF-8
        self._last = 0  # generation

    @property
    def versioned(self) -> bool:
        """True if replaced and deleted generations are kept."""
        return bool(self.settings.get("versioning", {}).get("enabled"))

    @property
    def storage_class(self) -> str:
        """Of objects that name none."""
        return str(self.settings.get("storageClass", CLASSES[0]))

    @property
    def retention(self) -> int:
        """Seconds that each object is kept; 0 = no policy."""
        return int(self.settings.get("retentionPolicy", {}).get("retentionPeriod", 0))

    @property
    def empty(self) -> bool:
        """True if it has no generation of any object."""
        return not self._names

    def set(self, given: Mapping[str, Any]) -> None:
        """Other settings of the bucket itself, and its next metageneration."""
        self.settings = merge_patch(self.settings, given)
        self._live = {name: replace(each, kept=self.retention) for name, each in self._live.items()}
        self._old = {name: [replace(each, kept=self.retention) for each in old] for name, old in self._old.items()}
        self.metageneration, self.updated = self.metageneration + 1, time.time()

    def find(self, name: str, generation: str = "") -> Stored | None:
        """The live object, or that generation."""
        live = self._live.get(name)
        if not generation:
            return live
        kept = [*self._old.get(name, ()), *((live,) if live else ())]
        return next((each for each in kept if str(each.generation) == generation), None)

    def get(self, name: str, generation: str = "") -> Stored:
        """The same. Raises FakeRefusal."""
        found = self.find(name, generation)
        if found is None:
            version = f"#{generation}" if generation else ""
            raise FakeRefusal(404, "notFound", f"No such object: {self.name}/{name}{version}")
        return found

    def put(
        self, name: str, body: Body, given: Mapping[str, Any], when: Conditions, kms_key: str = "", components: int = 0
    ) -> Stored:
        """A new generation."""
        _check_name(name)
        settings = self._settings(given)
        when.check(self._live.get(name))
        self._may_go(self._live.get(name), for_good=not self.versioned)
        self._last = max(self._last + 1, time.time_ns() // 1000)
        now = time.time()
        held = bool(self.settings.get("defaultEventBasedHold"))
        made = Stored(
            name, self._last, body, now, now, 1, settings, kms_key, components, kept=self.retention, held=held
        )
        self._retire(name)
        self._live[name] = made
        self._note(name)
        return made

    def change(self, found: Stored, given: Mapping[str, Any], *, merge: bool) -> Stored:
        """Other settings, and the next metageneration. With `merge`, what is not given stays, and None removes."""
        settings = self._settings(merge_patch(found.settings, given) if merge else given)
        made = replace(found, settings=settings, metageneration=found.metageneration + 1, updated=time.time())
        if self._live.get(found.name) is found:
            self._live[found.name] = made
        else:
            self._old[found.name] = [made if each is found else each for each in self._old[found.name]]
        return made

    def delete(self, found: Stored, *, for_good: bool) -> None:
        """Delete an object; with `for_good`, that generation even if the bucket is versioned. Raises FakeRefusal."""
        self._may_go(found, for_good=for_good or not self.versioned)
        if self._live.get(found.name) is found:
            self._retire(found.name, keep=not for_good)
        else:
            self._old[found.name].remove(found)
        self._note(found.name)

    def names(self, start: str) -> Iterator[str]:
        """Sorted, from `start` on."""
        yield from self._names[bisect_left(self._names, start) :]

    def generations(self, name: str, *, old: bool) -> list[Stored]:
        """Of one object, the oldest first."""
        live = self._live.get(name)
        return [*(self._old.get(name, ()) if old else ()), *((live,) if live else ())]

    def _may_go(self, found: Stored | None, *, for_good: bool) -> None:
        """Check that a generation may be deleted or replaced; it may always become noncurrent. Raises FakeRefusal."""
        if found is not None and for_good and found.held:
            said = f"Object '{self.name}/{found.name}' is under active Event-Based hold and cannot be deleted or overwritten."
            raise FakeRefusal(403, "objectUnderActiveHold", said)
        if found is not None and for_good and (until := found.created + found.kept) > time.time():
            said = f"is subject to bucket's retention policy and cannot be deleted or overwritten until {format_time(until)}"
            raise FakeRefusal(403, "retentionPolicyNotMet", f"Object '{self.name}/{found.name}' {said}")

    def _retire(self, name: str, *, keep: bool = True) -> None:
        gone = self._live.pop(name, None)
        if gone is not None and keep and self.versioned:
            self._old.setdefault(name, []).append(replace(gone, deleted=time.time()))

    def _note(self, name: str) -> None:
        """Keep the sorted names true."""
        if not self._old.get(name):
            self._old.pop(name, None)
        at = bisect_left(self._names, name)
        known = at < len(self._names) and self._names[at] == name
        there = name in self._live or name in self._old
        if there and not known:
            insort(self._names, name)
        elif known and not there:
            del self._names[at]

    def _settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that an object keeps. Raises FakeRefusal."""
        found = {name: value for name, value in given.items() if name in SETTABLE and value not in ("", None, {})}
        found.setdefault("storageClass", self.storage_class)
        if found["storageClass"] not in CLASSES:
            raise refuse_invalid(f"Invalid storage class: {found['storageClass']}")
        for name, value in found.get("metadata", {}).items():
            if not isinstance(value, str):
                raise refuse_invalid(f"Invalid value for metadata {name!r}")
        if sum(len(k.encode()) + len(v.encode()) for k, v in found.get("metadata", {}).items()) > METADATA_MAX:
            raise refuse_invalid("Your metadata headers exceed the maximum allowed metadata size.")
        if any(isinstance(value, str) and ("\r" in value or "\n" in value) for value in found.values()):
            raise refuse_invalid("A header cannot have line breaks.")
        return found


def merge_patch(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A document after a merge patch (RFC 7396): None removes, what is a map is merged in turn."""
    found = dict(old)
    for name, value in given.items():
        before = found.pop(name, None)
        if isinstance(value, Mapping):
            value = merge_patch(before if isinstance(before, Mapping) else {}, value)
        if value is not None:
            found[name] = value
    return found


def format_time(seconds: float) -> str:
    """A time, to milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_name(name: str) -> None:
    if not 0 < len(name.encode()) <= NAME_MAX:
        raise refuse_invalid("The specified object name is not valid: 1 to 1024 bytes.")
    if name in (".", "..") or "\r" in name or "\n" in name or name.startswith(".well-known/acme-challenge/"):
        raise refuse_invalid(f"Disallowed unicode characters or name: {name!r}")
