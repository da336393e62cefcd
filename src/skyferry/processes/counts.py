"""The number of processes, and the share of each in the limits of a command."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil, inf
from pathlib import Path

from skyferry.config.settings import LimitSettings, Settings, StoreSettings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl
from skyferry.errors import ConfigError

MOST = 64  # processes; each has its own connections, files and caches
GROWN = 4  # processes of a command that grows by itself
AUTO = "auto"
WHERE = "--processes"
CGROUP = Path("/sys/fs/cgroup")  # of a container, its own
# Limits of a command that its processes share. `part_size` and the like belong to one object or one request.
SHARED = ("transfers", "large_transfers", "max_in_flight_messages", "waiting_messages", "waiting_memory", "memory")


def count_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, ceil(min(cores, read_quota(CGROUP))))


def read_quota(folder: Path) -> float:
    """Return the cores whose time the control group mounted at `folder` may use; infinity without a quota.

    Version 2 has both numbers in one file, version 1 in two. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # neither, or no limit: "max"
            quota, period = (int(word) for file in files for word in (folder / file).read_text().split())
            return quota / period if quota > 0 < period else inf
    return inf


def find_most(limits: LimitSettings) -> int:
    """Return the most processes of a command that grows: each needs a core, and a share of the limits for any object."""
    return min(GROWN, count_cores(), limits.large_transfers, _count_shares(limits))


def _count_shares(limits: LimitSettings) -> int:
    """Return the most processes that can share the limits: each copies an object at least, and has memory for two parts."""
    shares: int = max(1, min(limits.transfers, limits.memory // (2 * limits.part_size)))
    return shares


def parse_processes(text: str, cores: int, limits: LimitSettings) -> int:
    """Return the number of processes for `--processes`: a number from 1 on, or `auto` = one for each core that has a share.

    Raises ConfigError.
    """
    if text == AUTO:
        return min(cores, MOST, _count_shares(limits))
    hint = f"give a number from 1 to {MOST}, or auto for one process per core"
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"{text!r} is not a number of processes", where=WHERE, hint=hint)
    count = int(text[:9])
    if not 1 <= count <= MOST:
        raise ConfigError(f"{text} processes are {'too few' if count < 1 else 'too many'}", where=WHERE, hint=hint)
    return count


def warn_of_cores(count: int, cores: int) -> str:
    """Return a warning if there are more processes than cores; "" if there are not."""
    if count <= cores:
        return ""
    return f"{WHERE} {count} is more than the {cores} cores of this machine, so the processes slow each other down"


def check_shareable(settings: Settings, *, queue_served: bool = False) -> None:
    """Raise ConfigError for a queue, ledger or store in memory, which other processes cannot open.

    `queue_served`: the parent serves the queue in its memory.
    """
    if LedgerUrl.parse(settings.ledger.url).known.shared_by == "process":
        raise _memory_error("the ledger", "ledger.url", "sqlite://ledger.db")
    for queue in () if queue_served else settings.queues:
        if QueueUrl.parse(queue.url).known.shared_by == "process":
            raise _memory_error(f"the queue {queue.name}", "queues", "sqlite://queue.db")
    for name, store in settings.stores.items():
        if StoreUrl.parse(store.url).scheme == "memory":
            raise _memory_error(f"the store {name}", f"stores.{name}.url", "a URL such as file://FOLDER")


def _memory_error(what: str, where: str, instead: str) -> ConfigError:
    hint = f"configure {instead}, or run one process without {WHERE}"
    return ConfigError(
        f"{what} is in the memory of one process, so several processes cannot share it", where=where, hint=hint
    )


def share_limits(settings: Settings, count: int) -> Settings:
    """Return the settings of one of `count` processes: together they have the configured limits.

    Each may copy one large object, so there may be more than `limits.large_transfers` of them.

    Raises ConfigError if a process would have no transfer, or not the memory for two parts of an object.
    """
    old = settings.limits
    if count > old.transfers:
        raise ConfigError(
            f"{count} processes are more than the {old.transfers} transfers that may run at the same time",
            where=WHERE,
            hint="raise limits.transfers or --transfers, or run fewer processes",
        )
    parts = {name: max(1, getattr(old, name) // count) for name in SHARED}
    if parts["memory"] < 2 * old.part_size:
        raise ConfigError(
            f"limits.memory is {old.memory} bytes: divided by {count}, that is less than two parts of {old.part_size}",
            where=WHERE,
            hint="raise limits.memory, lower limits.part_size, or run fewer processes",
        )
    return settings.model_copy(
        update={
            "limits": old.override(parts),
            "stores": {name: _share_rates(store, count) for name, store in settings.stores.items()},
        }
    )


def _share_rates(store: StoreSettings, count: int) -> StoreSettings:
    """Divide the rates, except those that the processes share through the ledger."""
    if store.shared_limits:
        return store
    requests, octets = store.requests_per_second / count, -(-store.bytes_per_second // count)
    return store.model_copy(update={"requests_per_second": requests, "bytes_per_second": octets})
