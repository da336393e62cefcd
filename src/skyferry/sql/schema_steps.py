"""The numbered steps that make and change the tables of a ledger or of queues, and the two numbers that a schema keeps.

A step is a file in the folder `sql/schema` of an adapter:

- `0002-expand-NAME.sql` makes schema version 2. Programs that know version 1 go on working beside it. The first program that
  knows it applies it at its start.
- `0002-contract-NAME.sql` removes what only programs of version 1 need. Afterwards the schema is compatible from version 2 on.
  Only `skyferry ledger migrate` applies it, once no older program is left.

An expansion MUST work whether earlier contractions have been applied or not. A step that was released never changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily
from skyferry.sql import read_steps

_SEQUENCE = compile_lazily(r"CREATE SEQUENCE (?:@schema\.)?(\w+)")
_TABLE = compile_lazily(r"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(?:@schema\.)?(\w+)")
_LOGGED = compile_lazily(r"CREATE TABLE (?:IF NOT EXISTS )?(?:@schema\.)?(\w+)")
_NAME = compile_lazily(r"(\d{4})-(expand|contract)-([a-z0-9-]+)\.sql")


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The numbers of one schema. The default is that of a schema without tables."""

    number: int = 0  # of the last expansion
    compatible_from: int = 0  # the oldest version that a program which uses it may know


@dataclass(frozen=True, slots=True)
class SchemaStep:
    """One step."""

    number: int  # the version that an expansion makes, or from which a contraction leaves the schema compatible
    contracts: bool
    title: str
    sql: str

    def __str__(self) -> str:
        return f"{self.number:04} {'contract' if self.contracts else 'expand'}: {self.title}"

    def advance(self, at: SchemaVersion) -> SchemaVersion:
        """Return the numbers after this step."""
        if self.contracts:
            return SchemaVersion(at.number, self.number)
        return SchemaVersion(self.number, max(1, at.compatible_from))


@dataclass(frozen=True, slots=True)
class SchemaHistory:
    """All steps that this program knows."""

    kind: str  # for messages, and stored in the schema: ledger, queues
    marker: str  # a table that the first step makes
    error: type[SkyferryError]  # raised if a schema and this program do not fit
    steps: tuple[SchemaStep, ...]  # expansions in their order, then contractions
    remedy: str = ""  # what applies the steps, for hints

    @property
    def known(self) -> int:
        """The version that this program knows."""
        return max(step.number for step in self.steps)

    @property
    def sql(self) -> str:
        """The statements that make a new schema."""
        return "\n".join(step.sql for step in self.steps if not step.contracts)

    @property
    def tables(self) -> list[str]:
        """The names of all tables that the steps make."""
        return _TABLE.findall(self.sql)

    @property
    def logged_tables(self) -> list[str]:
        """The names of those that survive a crash of the server."""
        return _LOGGED.findall(self.sql)

    @property
    def sequences(self) -> list[str]:
        """The names of all sequences that the steps make, without those of columns."""
        return _SEQUENCE.findall(self.sql)

    def list_pending(self, at: SchemaVersion) -> list[SchemaStep]:
        """Return the steps that a schema lacks, in the order in which they are applied."""
        return [s for s in self.steps if s.number > (at.compatible_from if s.contracts else at.number)]

    def find_next(self, at: SchemaVersion, *, contract: bool = False) -> SchemaStep | None:
        """Return the first pending step; a contraction only with `contract`."""
        return next((step for step in self.list_pending(at) if contract or not step.contracts), None)

    def check_compatible(self, at: SchemaVersion, where: str) -> None:
        """Raise `error` if this program is too old for the schema."""
        if at.compatible_from > self.known:
            raise self.error(
                f"its schema is for programs from version {at.compatible_from}, and this Skyferry knows {self.known}",
                where=where,
                hint="Update Skyferry on this machine.",
                transient=False,
            )


def load_history(
    package: str, kind: str, marker: str, error: type[SkyferryError], remedy: str = "any Skyferry that uses it"
) -> SchemaHistory:
    """Load the steps of a package. Raises ValueError if the numbers have a gap or a number is used twice."""
    return SchemaHistory(kind, marker, error, order_steps(read_steps(package)), remedy)


def order_steps(named: Iterable[tuple[str, str]], first: int = 1) -> tuple[SchemaStep, ...]:
    """Return the steps of files, given by name and text, in the order in which they are applied. Raises ValueError.

    `first` is the number of the first expansion.
    """
    steps = []
    for name, sql in named:
        if (match := _NAME.fullmatch(name)) is None:
            raise ValueError(f"{name!r} is no step of a schema: use NUMBER-expand-NAME.sql or NUMBER-contract-NAME.sql")
        steps.append(SchemaStep(int(match[1]), match[2] == "contract", match[3].replace("-", " "), sql))
    steps.sort(key=lambda step: (step.contracts, step.number))
    numbers = [step.number for step in steps if not step.contracts]
    if numbers != list(range(first, first + len(numbers))):
        raise ValueError(f"the expansions of a schema are numbered {numbers}, not from {first} on without a gap")
    contracted = [step.number for step in steps if step.contracts]
    if len(set(contracted)) < len(contracted) or not {*contracted} <= {*numbers} - {1}:
        raise ValueError(f"each contraction needs an expansion of its number, and no other of it: {contracted}")
    return tuple(steps)
