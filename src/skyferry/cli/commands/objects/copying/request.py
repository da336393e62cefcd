"""The options of `skyferry copy`, checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from skyferry.cli.arguments import list_files
from skyferry.cli.arguments.list_files import STDIN
from skyferry.cli.arguments.options import CopyProcesses, Json, reject_both_names, warn_renamed_flag
from skyferry.cli.parameters import Option
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.max_deletes import MaxDeletes
    from skyferry.config.settings import LimitSettings, Settings
    from skyferry.discovery.selection import Comparison, CopySelection, Wildcard
    from skyferry.ports import EventQueue
    from skyferry.stores.local.blocking.bucket import FolderIdentity

AUTO = "auto"  # processes
MAX_DELETES = "1000, 25%"
NOTHING = "memory://nothing"  # a destination that does not exist yet, in a dry run


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """The options that choose objects."""

    include: Annotated[
        list[str] | None, Option("--include", metavar="PATTERN", help="Copy only keys that match. May be repeated.")
    ] = None
    exclude: Annotated[
        list[str] | None, Option("--exclude", metavar="PATTERN", help="Leave out keys that match. Wins over --include.")
    ] = None
    filters: Annotated[
        list[str] | None,
        Option("--filter", metavar="RULE", help="A rule, `+ PATTERN` or `- PATTERN`; the first match decides."),
    ] = None
    filter_from: Annotated[
        list[str] | None,
        Option("--filter-from", metavar="FILE", help="Rules from a file, one per line; - is standard input."),
    ] = None
    files_from: Annotated[
        str | None,
        Option(
            "--files-from",
            metavar="FILE",
            help="Copy only these keys below SRC, one per line or separated by NUL; - is standard input.",
        ),
    ] = None
    checksum: Annotated[
        bool, Option("-c", "--checksum", help="Skip objects of equal content; compare checksums, not the ledger.")
    ] = False
    size_only: Annotated[bool, Option("--size-only", help="Skip objects of equal size.")] = False
    update: Annotated[bool, Option("-u", "--update", help="Skip objects that are newer at the destination.")] = False
    ignore_existing: Annotated[
        bool, Option("--ignore-existing", help="Skip objects that exist at the destination, whatever they are.")
    ] = False

    recursive: Annotated[bool, Option("-r", "-R", "--recursive", hidden=True)] = False  # of other tools; it always is

    @property
    def given(self) -> list[str]:
        """Return the names of the given options."""
        options = {
            "--include": self.include,
            "--exclude": self.exclude,
            "--filter": self.filters,
            "--filter-from": self.filter_from,
            "--files-from": self.files_from,
            **self._comparisons,
        }
        return [name for name, value in options.items() if value]

    @property
    def comparison(self) -> Comparison:
        """Return the way to compare. Raises ConfigError for contradictory options."""
        given = [name for name, value in self._comparisons.items() if value]
        reject_together(given)
        ways: dict[str, Comparison] = {
            "--checksum": "checksum",
            "--size-only": "size",
            "--update": "newer",
            "--ignore-existing": "existing",
        }
        return ways[given[0]] if given else "ledger"

    @property
    def _comparisons(self) -> dict[str, bool]:
        return {
            "--checksum": self.checksum,
            "--size-only": self.size_only,
            "--update": self.update,
            "--ignore-existing": self.ignore_existing,
        }

    def build(self, wildcard: Wildcard | None, *, prefix_only: bool) -> CopySelection:
        """Read the files and compile the filters. Raises ConfigError."""
        from skyferry.discovery.selection import CopySelection
        from skyferry.routing.key_filter import FolderNames, build_filter, parse_rule, parse_rules

        files = self.filter_from or []
        if [*files, self.files_from].count(STDIN) > 1:
            raise ConfigError("only one option can read standard input", hint="give the name of a file")
        if "" in files:
            raise ConfigError("--filter-from: the name of the file is empty")
        comparison = self.comparison
        try:
            rules = [parse_rule(text) for text in self.filters or ()]
            for file in files:
                rules += parse_rules(list_files.read_lines("--filter-from", file), file)
            chosen = build_filter(self.include or (), self.exclude or (), rules)
            folders = FolderNames(self.exclude or ())
        except ValueError as error:
            raise ConfigError(str(error), hint="see `skyferry copy --help`") from error
        if self.files_from == "":  # as of a variable that is not set: it would select everything
            raise ConfigError(
                "the name of the file is empty", where="--files-from", hint="name a file, or leave the option out"
            )
        keys = list_files.open_keys("--files-from", self.files_from) if self.files_from else None

        def takes(key: str) -> bool:
            if taken := chosen.takes(key):
                folders.see(key)
            return taken

        return CopySelection(takes, wildcard, keys, comparison, prefix_only, folders.found)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options about deletes, and about doing nothing."""

    dry_run: Annotated[
        bool, Option("-n", "--dry-run", help="Only print what would be copied, updated and deleted; change nothing.")
    ] = False
    delete: Annotated[
        bool, Option("--delete", help="Then delete what only the destination has. Filters protect keys.")
    ] = False
    max_delete: Annotated[
        str,
        Option(
            "--max-delete",
            metavar="LIMIT",
            help="Delete nothing if more objects would be deleted: a number, a share, both, or none.",
        ),
    ] = MAX_DELETES

    def parse_limit(self) -> MaxDeletes | None:
        """Return the limit of deletes; None if nothing is deleted. Raises ConfigError."""
        from skyferry.config.max_deletes import MaxDeletes

        if not self.delete:
            if self.max_delete != MAX_DELETES:
                raise ConfigError("--max-delete has no effect without --delete", hint="add --delete")
            return None
        try:
            return MaxDeletes.parse(self.max_delete)
        except ValueError as error:
            raise ConfigError(f"--max-delete: {error}") from error


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """The options about how objects are copied."""

    ignore_ledger: Annotated[
        bool, Option("--ignore-ledger", help="Ignore the ledger of earlier runs, and check every object.")
    ] = False
    again: Annotated[bool, Option("--again", hidden=True, callback=warn_renamed_flag)] = False
    transfers: Annotated[
        int,
        Option(
            "--transfers", metavar="N", min=0, help="Objects copied at the same time at most; 0 = limits.transfers."
        ),
    ] = 0
    processes: CopyProcesses = AUTO
    bwlimit: Annotated[
        str,
        Option("--bwlimit", metavar="RATE", help="Bytes per second, such as 10M (10 MB) or 512KiB; off = no limit."),
    ] = ""
    storage_class: Annotated[
        str,
        Option("--storage-class", metavar="NAME", help="The storage class of the copies; keep = that of the source."),
    ] = ""
    unfit: Annotated[
        str,
        Option(
            "--unfit",
            metavar="HOW",
            help="Attributes that the destination cannot store: fail, encode, map or drop; or for some of them, as in "
            "headers=encode,metadata=drop,tags=map.",
        ),
    ] = "fail"
    folder_markers: Annotated[
        str, Option("--folder-markers", metavar="HOW", help="Empty objects whose key ends with a slash: copy or skip.")
    ] = "copy"
    no_guess_content_type: Annotated[
        bool, Option("--no-guess-content-type", help="Give files no content type by their names.")
    ] = False
    no_fsync: Annotated[
        bool,
        Option(
            "--no-fsync",
            help="Do not wait until copies in a folder are on the disk: a power cut may lose them, although the ledger has them.",
        ),
    ] = False
    retry_for: Annotated[
        str,
        Option(
            "--retry-for",
            metavar="DURATION",
            help="How long to retry while a store is unavailable and nothing arrives, as in 30s.",
        ),
    ] = "5m"

    def check(self) -> None:
        """Raise BadParameter for an option that is given by both names, ConfigError for a value that has no meaning."""
        reject_both_names("--again", self.again, self.ignore_ledger)
        parse_unfit(self.unfit)
        parse_markers(self.folder_markers)

    def limit(self, limits: LimitSettings) -> LimitSettings:
        """Return the limits with --transfers, which counts large objects, too."""
        if not self.transfers:
            return limits
        large = min(self.transfers, limits.large_transfers)
        return limits.model_copy(update={"transfers": self.transfers, "large_transfers": large})


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The options about output."""

    verbose: Annotated[
        bool, Option("-v", "--verbose", help="Print each object that is copied or deleted, to standard error.")
    ] = False
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print errors only.")] = False
    progress: Annotated[
        bool, Option("-P", "--progress", help="Show the progress even if standard error is no terminal.")
    ] = False
    json: Json = False

    def check(self) -> None:
        """Raise ConfigError for contradictory options."""
        reject_together([name for name, value in (("--quiet", self.quiet), ("--verbose", self.verbose)) if value])
        reject_together([name for name, value in (("--quiet", self.quiet), ("--progress", self.progress)) if value])

    def shows_progress(self, terminal: bool) -> bool:
        """Return True if progress is shown."""
        return self.progress or (terminal and not (self.json or self.quiet or self.verbose))


@dataclass(frozen=True, slots=True)
class CopyJob:
    """One copy of a listing."""

    source: ObjectLocation
    destination: ObjectLocation
    settings: Settings  # with one route between the two
    selection: CopySelection
    max_deletes: MaxDeletes | None = None  # None: nothing is deleted
    dry_run: bool = False
    patience: float = 300.0  # seconds
    shown: OutputOptions = field(default_factory=OutputOptions)
    processes: int = 1
    grows: bool = False  # into several processes, once that pays
    folders: Mapping[str, FolderIdentity] = field(default_factory=dict)  # of the stores: no other takes their place

    def make_queue(self) -> Callable[[], EventQueue]:
        """Return a function that opens a client of one new queue in memory, by the settings."""
        from skyferry.clock import SystemClock
        from skyferry.queues.memory import MemoryQueue, QueueState

        (address,) = self.settings.queues
        return partial(MemoryQueue, address.name, SystemClock(), address.lease, QueueState())


def reject_together(names: Sequence[str]) -> None:
    """Raise ConfigError if more than one of these options is given."""
    if len(names) > 1:
        raise ConfigError(f"{names[0]} and {names[1]} contradict each other", hint="give one of them")


def reject_with_stream(chosen: Sequence[str], flags: Mapping[str, bool]) -> None:
    """Raise ConfigError for options that have no meaning for one object from or to -."""
    if given := [*chosen, *(name for name, value in flags.items() if value)]:
        raise ConfigError(f"{given[0]} has no effect with -", hint=f"remove {given[0]}")


def parse_unfit(text: str) -> dict[str, str]:
    """Return the settings of `unfit`. Raises ConfigError."""
    kinds, ways = ("headers", "metadata", "tags"), ("fail", "encode", "map", "drop")
    if text in ways:
        return dict.fromkeys(kinds, text)
    found = dict(part.partition("=")[::2] for part in text.split(","))
    if wrong := [f"{kind}={way}" for kind, way in found.items() if kind not in kinds or way not in ways]:
        hint = f"give one of {', '.join(ways)}, or KIND=HOW for {', '.join(kinds)}, separated by commas"
        raise ConfigError(f"--unfit: {wrong[0].rstrip('=')!r} is not understood", hint=hint)
    return found


def parse_markers(text: str) -> Literal["copy", "skip"]:
    """Return the setting of `folder_markers`. Raises ConfigError."""
    if text == "copy":
        return "copy"
    if text == "skip":
        return "skip"
    raise ConfigError(f"--folder-markers: {text!r} is not understood", hint="give copy or skip")


def parse_rate(text: str) -> int:
    """Return bytes per second; 0 = no limit. Raises ConfigError."""
    from skyferry.config.units import parse_size

    if text.strip().lower() in ("", "0", "off"):
        return 0
    hint = "give one rate with its unit, such as 10M or 512KiB; off = no limit"
    try:
        rate = int(str(parse_size(text.strip().removesuffix("/s"))))
    except ValueError as error:
        raise ConfigError(f"--bwlimit: {text!r} is not a rate", hint=hint) from error
    if text.strip().replace(".", "").isdecimal() or rate < 1:
        raise ConfigError(f"--bwlimit: {text!r} has no unit" if rate else "--bwlimit: the rate is too low", hint=hint)
    return rate
