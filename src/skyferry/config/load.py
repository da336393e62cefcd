"""Load one YAML file with environment overrides, and check it as a whole.

Later sources win: defaults, the file, `SKYFERRY_SECTION__FIELD=value`, the command line. The embedded default is a queue
`events` and a ledger in SQLite; and, if there are no routes, a store `source`, a store `destination` and a route `default`
between them, which propagates deletes like a mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from skyferry.config.checks.validate import validate
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import ConfigFault, ConfigFaults
from skyferry.config.settings import Settings, StoreSettings
from skyferry.frozen import dataclass

EMBEDDED = ("source", "destination")


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked configuration; `settings` work only if there are no faults."""

    settings: Settings
    faults: tuple[ConfigFault, ...]
    warnings: tuple[ConfigFault, ...]
    notices: tuple[
        ConfigFault, ...
    ]  # those of the warnings that are about an old name, or a variable without a setting


def load(
    file: Path | None,
    environ: Mapping[str, str],
    workspace: Path | None = None,
    listen: str | None = None,
    warn: Callable[[ConfigFault], None] = lambda fault: None,
) -> Settings:
    """Return the settings: every store that a route names is in `stores`. Raises ConfigFaults with all faults at once.

    `warn` gets each use of an old name, and each variable that is nearly a setting. For all other warnings, call `check`.
    """
    checked = check(file, environ, workspace, listen)
    for notice in checked.notices:
        warn(notice)
    if checked.faults:
        raise ConfigFaults(checked.faults, file)
    return checked.settings


def check(
    file: Path | None, environ: Mapping[str, str], workspace: Path | None = None, listen: str | None = None
) -> Checked:
    """Return every fault and warning, in the order of the file. Read the file, tokens and secrets; change nothing."""
    document = Document()
    if file is not None:
        document.read(file)
    _embed(document)
    document.overlay(environ)
    if workspace is not None:
        document.set(("workspace",), str(workspace), "--workspace")
    if listen is not None:
        document.set(("server", "listen"), listen, "--listen")
    valid = validate(document)
    valid = valid.with_settings(_named(valid.settings))
    if file is not None or document.origins:  # the embedded default has no faults
        from skyferry.config.checks.secrets import check_secrets
        from skyferry.config.checks.settings import check_settings

        check_settings(valid, document)
        check_secrets(valid, document, environ)
    warnings = _sorted([*document.warnings, *document.notices])
    return Checked(valid.settings, _sorted(document.faults), warnings, _sorted(document.notices))


def _embed(document: Document) -> None:
    """Add the embedded default where the file leaves it open."""
    data = document.data
    data.setdefault("queues", {0: {"name": "events", "url": "sqlite://queue.db"}})
    stores = data.setdefault("stores", {})
    if "routes" in data or document.faults or not isinstance(stores, dict) or stores.keys() - set(EMBEDDED):
        return
    for name in EMBEDDED:
        stores.setdefault(name, {"url": f"file://{name}"})
    source, destination = EMBEDDED
    data["routes"] = {0: {"name": "default", "from": source, "to": destination, "deletes": "propagate"}}


def _named(settings: Settings) -> Settings:
    """Add a store for each URL in a route, named by the URL, unless a store has that URL."""
    names = {store.url: name for name, store in settings.stores.items()}
    ends = {end for route in settings.routes for end in (route.source, route.destination)}
    added = {url: StoreSettings(url=url) for url in sorted(ends) if "://" in url and url not in names}
    routes = tuple(
        route.model_copy(
            update={
                "source": names.get(route.source, route.source),
                "destination": names.get(route.destination, route.destination),
            }
        )
        for route in settings.routes
    )
    return settings.model_copy(update={"stores": {**settings.stores, **added}, "routes": routes})


def _sorted(faults: list[ConfigFault]) -> tuple[ConfigFault, ...]:
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line or 0))
