"""Creation times of objects, for destination keys that contain the day.

An event may be redelivered on another day, and a second event of the same version may be later still. With the day of the message,
one version would get two keys. If the event does not contain the creation time, the source is asked before the key is chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.consume.intake import EventReader
from skyferry.errors import ObjectNotFound, SkyferryError
from skyferry.events.fields import Parsed
from skyferry.events.s3_keys import read_otherwise
from skyferry.model import Change, ObjectEvent
from skyferry.ports import ObjectStore
from skyferry.routing.routes import Route

AT_ONCE = 32  # requests for one batch of messages


class Dates:
    """Notes the times in messages. Costs one request for each event of a route whose key contains the day, and nothing else."""

    def __init__(self, reader: EventReader, routes: Mapping[str, Route], stores: Mapping[str, ObjectStore]) -> None:
        self._reader, self._stores = reader, stores
        self._dated = {name for name, route in routes.items() if route.template.dated}

    @property
    def needed(self) -> bool:
        """True if the key of any route contains the day."""
        return bool(self._dated)

    async def note_creation_times(self, batch: Mapping[LeasedMessage, Parsed | SkyferryError]) -> list[LeasedMessage]:
        """Note the creation times of the objects of all events. Return the messages whose source does not answer; they wait.

        Each message comes with its parsed content.
        """
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(leased: LeasedMessage, event: ObjectEvent, store: ObjectStore) -> LeasedMessage | None:
            async with places:
                try:
                    leased.creation_times[event.event_id] = await _find_creation(store, event)
                except ObjectNotFound:
                    pass  # the object is deleted, so its key does not matter
                except SkyferryError as error:
                    return leased if error.outage else None  # the attempt meets any other error again, and reports it
                except Exception:  # noqa: BLE001 - as above: one object must not stop the others
                    return None
                return None

        asked = [
            ask(leased, event, store)
            for leased, parsed in batch.items()
            for event, store in self._wanted(leased, parsed)
        ]
        late = await asyncio.gather(*asked)
        return list({leased: None for leased in late if leased is not None})

    def _wanted(self, leased: LeasedMessage, parsed: Parsed | SkyferryError) -> list[tuple[ObjectEvent, ObjectStore]]:
        """Return the events without the creation time of their object, and the store to ask."""
        if isinstance(parsed, SkyferryError):
            return []
        found = []
        try:
            for event in parsed.events:
                if event.created_at is None and event.change is Change.CREATED:
                    routed = (t for t in self._reader.match(event, leased.origin) if t.route in self._dated)
                    found += [(event, self._stores[transfer.source_store]) for transfer in routed][:1]
        except Exception:  # noqa: BLE001 - an invalid event, or a bug: the intake makes a dead letter of it
            return []
        return found


async def _find_creation(store: ObjectStore, event: ObjectEvent) -> float:
    """Return the time of the object under the likely reading of its key, or else under the other. Raises ObjectNotFound."""
    try:
        return (await store.head(event.source.key)).modified
    except ObjectNotFound:
        if (other := read_otherwise(event)) is None:
            raise
        return (await store.head(other.source.key)).modified
