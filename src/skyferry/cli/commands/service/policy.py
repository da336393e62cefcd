"""`skyferry policy`: print the permissions that the clouds must grant."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.parameters import Option
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.policy.document import Policy


class Cloud(StrEnum):
    """The clouds with policies."""

    AWS = "aws"
    GOOGLE = "google"
    AZURE = "azure"


def policy(
    cloud: Annotated[Cloud | None, Option("--cloud", help="Only this cloud.")] = None,
    submit: Annotated[
        bool,
        Option(
            "--submit",
            help="Also for sending: `skyferry submit` and the HTTP API send to the first queue, `redrive --from-queue` to "
            "the queue of a dead letter that the ledger does not know.",
        ),
    ] = False,
    doctor: Annotated[
        bool, Option("--doctor", help="Also for the canaries that `skyferry doctor` writes to destinations.")
    ] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Print the least permissions that each identity needs for these routes: those of `run`, `copy` and `gc`. Works offline.

    The output is a shell script with the commands of the clouds. Replace its placeholders in capitals before you run it.

    An event that names its own destination key may write outside the prefixes of the routes.

    JSON: `policies`, each with `cloud`, `identity` (a description), `users` (the stores and queues), `documents` (by kind, in
    the format of the cloud), `commands` (that apply them), `placeholders` (with their meaning) and `notes`.
    """
    settings = resources.load_settings(config, workspace)
    found = _build_policies(settings, cloud, submit=submit, doctor=doctor)
    if json:
        output.print_json({"policies": [each.contract() for each in found]})
    elif found:
        output.print_lines(*(line for each in found for line in _format_policy(each)))
    else:
        output.print_lines("no route and no queue needs a permission" + (f" of {cloud}" if cloud else ""))


def _build_policies(settings: Settings, cloud: Cloud | None, *, submit: bool, doctor: bool) -> list[Policy]:
    from skyferry.policy import aws, azure, google
    from skyferry.policy.needs import required_access

    makers = {Cloud.AWS: aws.policies, Cloud.GOOGLE: google.policies, Cloud.AZURE: azure.policies}
    needed = required_access(settings, submit=submit, doctor=doctor)
    return [each for name, make in makers.items() if cloud in (None, name) for each in make(needed)]


def _format_policy(policy: Policy) -> Iterator[str]:
    """Yield the lines of the shell script."""
    from skyferry.policy.document import format_document

    yield from _format_comments(f"{policy.cloud}: {policy.identity}", f"for {', '.join(policy.users)}")
    for name, document in policy.documents.items():
        if name not in policy.inlined:
            yield ""
            yield from _format_comments(name, *format_document(document).split("\n"))
    if policy.commands:
        yield ""
    yield from policy.commands
    yield ""
    yield from _format_comments(*(f"{word}: {meaning}" for word, meaning in policy.placeholders.items()), *policy.notes)
    yield ""


def _format_comments(*texts: str) -> Iterator[str]:
    """Yield the texts as comments of a shell, with control characters escaped so that no line leaves the comment."""
    return (f"# {output.escape_control(text)}" for text in texts)
