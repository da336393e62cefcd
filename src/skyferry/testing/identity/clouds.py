"""The identity side of three clouds: their issuers, their trust, and their grants."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from skyferry.frozen import dataclass
from skyferry.testing.identity.grants import Grants
from skyferry.testing.identity.issuer import Clock, Issuer, Trust

ROLE = "arn:aws:iam::111122223333:role/skyferry"
ACCOUNT = "skyferry@project.iam.gserviceaccount.com"  # the service account that may be impersonated, and a machine's
ACCOUNT_ID = "104567890123456789012"  # its subject
PROJECT, POOL, PROVIDER = "123456789012", "clouds", "elsewhere"
RESOURCE = f"//iam.googleapis.com/projects/{PROJECT}/locations/global/workloadIdentityPools/{POOL}/providers/{PROVIDER}"
TENANT, CLIENT = "5a5f6e5c-0000-4000-8000-000000000001", "5a5f6e5c-0000-4000-8000-000000000002"
POD = "system:serviceaccount:ferry:skyferry"  # the subject of a Kubernetes service account
KUBERNETES, GOOGLE = "https://kubernetes.example", "https://accounts.google.com"
AWS, ENTRA = "https://11112222.tokens.sts.global.api.aws", f"https://sts.windows.net/{TENANT}/"
AWS_AUDIENCE, ENTRA_AUDIENCE = "sts.amazonaws.com", "api://AzureADTokenExchange"
APPLICATION = "api://skyferry"  # what Entra's tokens for other clouds are for


@dataclass(frozen=True, slots=True)
class ServiceFailure:
    """An answer that replaces one of a service, once."""

    service: str  # aws, google, iam, metadata, entra
    status: int
    body: str = ""  # "{token}" is replaced by what was sent, as a careless service would
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class Clouds:
    """The state of the fakes. A test may change everything."""

    clock: Clock = time.time
    calls: Counter[str] = field(default_factory=Counter)  # requests, by service
    failures: list[ServiceFailure] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict, repr=False)  # what /tokens/NAME answers
    issuers: dict[str, Issuer] = field(init=False)
    grants: Grants = field(init=False)

    def __post_init__(self) -> None:
        self.issuers = {url: Issuer(url, self.clock) for url in (KUBERNETES, GOOGLE, AWS, ENTRA)}
        self.grants = Grants(self.clock)

    def trust(self, *issuers: str, audiences: tuple[str, ...]) -> Trust:
        """Return the trust of a service."""
        subjects = (POD, ACCOUNT_ID, ROLE, CLIENT)
        return Trust({url: self.issuers[url] for url in issuers}, audiences, subjects, self.clock)

    def count(self, service: str) -> ServiceFailure | None:
        """Count a request and return its planned failure."""
        self.calls[service] += 1
        for failure in self.failures:
            if failure.service == service:
                self.failures.remove(failure)
                return failure
        return None
