"""`skyferry policy`: what the clouds are to allow."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Workspace
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.policy.document import Policy


class Cloud(StrEnum):
    """Whose policies."""

    AWS = "aws"
    GOOGLE = "google"
    AZURE = "azure"


def policy(
    cloud: Annotated[Cloud | None, typer.Option("--cloud", help="Only of this cloud.")] = None,
    submit: Annotated[
        bool,
        typer.Option(
            "--submit",
            help="Also what `skyferry submit` and the HTTP API do: put events into the first queue; and `redrive --from-queue`, of "
            "dead letters that the ledger does not know: into the queue that they came from.",
        ),
    ] = False,
    doctor: Annotated[
        bool, typer.Option("--doctor", help="Also the canaries that `skyferry doctor` writes at destinations.")
    ] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Print the least that each identity must be allowed for exactly these routes: what `run`, `copy` and `gc` do. Asks nobody.

    What is printed is a shell script of the clouds' own commands, once its words in capitals are replaced.

    An event that itself names its destination key may lead outside of the prefixes that the routes give.

    JSON: `policies`, each with `cloud`, `identity` (in words), `users` (the stores and queues), `documents` (by what each is, in
    the cloud's own form), `commands` (that put them into effect), `placeholders` (what words in capitals stand for) and `notes`.
    """
    settings = resources.load_settings(config, workspace)
    found = _policies(settings, cloud, submit=submit, doctor=doctor)
    if json:
        output.emit({"policies": [each.contract() for each in found]})
    elif found:
        output.lines(*(line for each in found for line in _shown(each)))
    else:
        output.lines("nothing: no route and no queue needs a permission" + (f" of {cloud}" if cloud else ""))


def _policies(settings: Settings, cloud: Cloud | None, *, submit: bool, doctor: bool) -> list[Policy]:
    from skyferry.policy import aws, azure, google
    from skyferry.policy.needs import required_access

    makers = {Cloud.AWS: aws.policies, Cloud.GOOGLE: google.policies, Cloud.AZURE: azure.policies}
    needed = required_access(settings, submit=submit, doctor=doctor)
    return [each for name, make in makers.items() if cloud in (None, name) for each in make(needed)]


def _shown(policy: Policy) -> Iterator[str]:
    """For people."""
    from skyferry.policy.document import format_document

    yield from _comment(f"{policy.cloud}: {policy.identity}", f"for {', '.join(policy.users)}")
    for name, document in policy.documents.items():
        if name not in policy.told:
            yield ""
            yield from _comment(name, *format_document(document).split("\n"))
    if policy.commands:
        yield ""
    yield from policy.commands
    yield ""
    yield from _comment(*(f"{word}: {meaning}" for word, meaning in policy.placeholders.items()), *policy.notes)
    yield ""


def _comment(*texts: str) -> Iterator[str]:
    """Comments of a shell: none of a text's lines gets out of it."""
    return (f"# {output.safe(text)}" for text in texts)
