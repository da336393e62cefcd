"""What is printed for one identity at one cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from types import MappingProxyType
from typing import TypeAlias

import orjson

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "ACCOUNT": "the number of the AWS account",
        "CLIENT_ID": "of the application or managed identity",
        "IDENTITY": "the name of the managed identity",
        "ISSUER": "of the tokens that are exchanged, without https://; "
        "that of AWS is told by aws iam get-outbound-web-identity-federation-info",
        "POOL": "the name of the workload identity pool",
        "POOL_PROJECT": "the id of the project that has the workload identity pool",
        "PRINCIPAL_OBJECT_ID": "the object id of the managed identity, or of the application's service principal",
        "PROJECT": "the id of the project that has the bucket, or the service account that the machine acts as",
        "PROJECT_NUMBER": "of the project that has the workload identity pool, or the bucket",
        "PROVIDER": "the name of the pool's provider",
        "REGION": "of the queue at AWS",
        "RESOURCE_GROUP": "of the storage account",
        "ROLE": "the name of the role that the machine has at AWS",
        "ROLE_ARN": "of the role to assume",
        "SERVICE": "who gives the role to the machine: ec2.amazonaws.com, ecs-tasks.amazonaws.com or pods.eks.amazonaws.com, which "
        "wants sts:TagSession too",
        "SERVICE_ACCOUNT_EMAIL": "of the service account that the machine has at Google",
        "SERVICE_ACCOUNT_UNIQUE_ID": "the number of the service account that the machine has at Google",
        "SUBJECT": "whom the tokens are about: at AWS the role's ARN, in Kubernetes system:serviceaccount:NAMESPACE:NAME",
        "SUBSCRIPTION": "the id of the Azure subscription",
        "TENANT_ID": "of the tenant in Entra",
        "USER": "the name of the user at AWS",
    }
)
Json: TypeAlias = Mapping[str, object]  # a document in a cloud's own form


@dataclass(frozen=True, slots=True)
class Policy:
    """All that one identity is to be given, and nothing else."""

    cloud: str  # aws, google or azure
    identity: str  # who it is, in words
    users: tuple[str, ...]  # the stores and queues that it is for
    documents: Mapping[str, Json]  # by what each is, in the cloud's own form
    commands: tuple[str, ...] = ()  # of the cloud's own command line, that put them into effect, in order
    notes: tuple[str, ...] = ()  # what is not in them, and why
    told: frozenset[str] = frozenset()  # the documents that the commands tell in full

    @property
    def placeholders(self) -> dict[str, str]:
        """What the words in capitals stand for that the configuration does not say, as far as they are in it."""
        said = " ".join([self.identity, *map(format_document, self.documents.values()), *self.commands])
        found = set(re.findall(r"(?<![A-Z_])[A-Z]+(?:_[A-Z]+)*(?![A-Z_])", said))
        return {name: meaning for name, meaning in PLACEHOLDERS.items() if name in found}

    def contract(self) -> Json:
        """As `skyferry policy --json` prints it."""
        return {
            "cloud": self.cloud,
            "identity": self.identity,
            "users": list(self.users),
            "documents": dict(self.documents),
            "commands": list(self.commands),
            "placeholders": self.placeholders,
            "notes": list(self.notes),
        }


def shell_argument(document: Json) -> str:
    """As one word of a shell."""
    return quote(format_document(document))


def format_document(document: Json) -> str:
    """For people, and for a file."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
