"""Commands of the AWS CLI that apply policies."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

import orjson

from skyferry.clouds.regions import endpoint
from skyferry.config.identity import IdentitySettings
from skyferry.policy.aws_trust import token_audience, token_issuer
from skyferry.policy.document import Json, shell_argument
from skyferry.policy.needs import QueueAccess

NAME = "skyferry"  # of the policy, among those of the role
OUTBOUND = "aws iam enable-outbound-web-identity-federation"  # once per account, that STS gives tokens for elsewhere


def role_commands(identity: IdentitySettings, trust: Json | None, policy: Json) -> Iterator[str]:
    """Yield the commands for a role with its policy, or for the policy of a user with a key."""
    given = f"--policy-name {NAME} --policy-document {shell_argument(policy)}"
    if trust is None:
        yield f"aws iam put-user-policy --user-name USER {given}"
        return
    if url := token_issuer(identity):
        client = quote(token_audience(identity))
        yield f"aws iam create-open-id-connect-provider --url {quote(f'https://{url}')} --client-id-list {client}"
    path, _, name = identity.role_arn.partition(":role/")[2].rpartition("/")
    placed = f" --path {quote(f'/{path}/')}" if path else ""
    role = f"--role-name {quote(name or 'ROLE')}"
    yield f"aws iam create-role {role}{placed} --assume-role-policy-document {shell_argument(trust)}"
    yield f"aws iam put-role-policy {role} {given}"


def queue_policy_command(queue: QueueAccess, policy: Json) -> str:
    """Return the command that sets the policy of a queue."""
    root = endpoint("sqs", queue.settings.region or "REGION")
    url = f"{root}/{queue.url.account or 'ACCOUNT'}/{queue.url.queue}"
    attributes = {"Policy": orjson.dumps(policy).decode()}
    return f"aws sqs set-queue-attributes --queue-url {quote(url)} --attributes {shell_argument(attributes)}"
