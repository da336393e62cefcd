"""All commands: their names, modules and summaries. The only place that maps a command to its module."""

from __future__ import annotations

from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One command, or a group of commands."""

    name: str
    module: str  # below skyferry.cli.commands; its last part is also the name of the function
    summary: str  # one line for `skyferry --help`
    is_group: bool = False

    @property
    def attribute(self) -> str:
        """The name of the function, or of the group, in the module."""
        return "group" if self.is_group else self.module.rpartition(".")[2]


COMMANDS = (
    CommandEntry("run", "service.run", "Run the service."),
    CommandEntry("copy", "objects.copy", "Copy one object, or all objects with a prefix."),
    CommandEntry("ls", "objects.ls", "List objects by key prefix."),
    CommandEntry("head", "objects.head", "Show one object: size, version, checksums, metadata."),
    CommandEntry("submit", "service.submit", "Put events into the queue."),
    CommandEntry("status", "service.status", "Show what is done, waiting and failed."),
    CommandEntry("workers", "ledger.workers", "List the workers of the ledger, and their roles."),
    CommandEntry("transfers", "ledger.transfers", "List transfers in the ledger."),
    CommandEntry("explain", "ledger.explain", "Show the history of one object."),
    CommandEntry(
        "dead-letters", "ledger.dead_letters", "List dead letters, process them again, or discard them.", is_group=True
    ),
    CommandEntry("deletes", "ledger.deletes", "Decide about held deletes.", is_group=True),
    CommandEntry("ledger", "ledger.ledger", "Check, back up, rebuild and migrate the ledger.", is_group=True),
    CommandEntry("check-config", "service.check_config", "Report every fault of the configuration."),
    CommandEntry("doctor", "service.doctor", "Test from this machine whether the routes can work."),
    CommandEntry("policy", "service.policy", "Print the permissions that each identity needs."),
    CommandEntry("conformance", "objects.conformance", "Test what a provider can do, on your bucket."),
    CommandEntry("gc", "objects.gc", "Abort abandoned uploads."),
    CommandEntry("schema", "service.schema", "Print the JSON Schema of events or the configuration."),
    CommandEntry("completion", "service.completion", "Print the completion script of a shell."),
    CommandEntry("version", "service.version", "Print the version."),
)
