"""What a policy allows, read from its documents as the clouds read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from skyferry.policy.document import Policy
from skyferry.testing.permissions import Ask


@dataclass(frozen=True, slots=True)
class Grant:
    """One action of one resource: the smallest thing that could be left out."""

    action: str
    resource: str  # as the document has it
    pattern: re.Pattern[str]

    def allows(self, ask: Ask) -> bool:
        return ask.action == self.action and self.pattern.fullmatch(ask.resource) is not None


def of_aws(policy: Policy) -> Iterator[Grant]:
    """As IAM matches ARNs."""
    document: Any = policy.documents["policy"]
    for statement in document["Statement"]:
        for action in statement["Action"]:
            for resource in statement["Resource"]:
                yield Grant(action, resource, re.compile(_arn(resource), re.DOTALL))


def _arn(resource: str) -> str:
    parts = re.split(r"(\$\{.\}|\*|\?)", resource)
    special = {"*": ".*", "?": "."}
    return "".join(re.escape(p[2]) if p.startswith("${") else special.get(p, re.escape(p)) for p in parts)


def of_google(policy: Policy) -> Iterator[Grant]:
    """Roles by their bindings, narrowed by the conditions."""
    roles: Any = policy.documents["roles"]
    bindings: Any = policy.documents["bindings"]
    for binding in bindings["bindings"]:
        _, _, id_ = binding["role"].rpartition("/")
        for permission in roles[id_]["includedPermissions"] if id_ in roles else ():
            for pattern in _google(binding):
                yield Grant(permission, f"{binding['resource']} {pattern.pattern}", pattern)


def _google(binding: dict[str, Any]) -> Iterator[re.Pattern[str]]:
    """One for each prefix. What a list is of is the bucket itself."""
    name = binding["resource"].replace("gs://", "projects/_/buckets/")
    if "condition" not in binding:
        yield re.compile(f"{re.escape(name)}(/objects/.*)?", re.DOTALL)
        return
    for prefix in re.findall(r'startsWith\("((?:[^"\\]|\\.)*)"\)', binding["condition"]["expression"]):
        yield re.compile(re.escape(re.sub(r"\\(.)", r"\1", prefix)) + ".*", re.DOTALL)


def of_azure(policy: Policy) -> Iterator[Grant]:
    """Roles by their assignments."""
    documents: Any = policy.documents
    for given in documents["assignments"]["assignments"]:
        role = documents[f"role {given['role']}"]
        scope = given["scope"].partition("/storageAccounts/")[2]
        for action in (*role["Actions"], *role["DataActions"]):
            yield Grant(action, scope, re.compile(re.escape(scope)))


def missing(grants: Iterable[Grant], asked: Iterable[Ask]) -> list[Ask]:
    """What was asked for and is not allowed."""
    kept = list(grants)
    return sorted({ask for ask in asked if not any(grant.allows(ask) for grant in kept)})


def spare(grants: Iterable[Grant], asked: Iterable[Ask]) -> list[tuple[str, str]]:
    """What is allowed and was never asked for."""
    kept = list(asked)
    return [(grant.action, grant.resource) for grant in grants if not any(grant.allows(ask) for ask in kept)]
