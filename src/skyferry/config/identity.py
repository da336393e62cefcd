"""Who Skyferry is at a store or queue. Nothing here is a secret: a secret has a file or a variable of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from skyferry.config.section import Seconds, Section


class IdentitySettings(Section):
    """Who Skyferry is at this store or queue."""

    kind: Literal["auto", "federated", "static", "anonymous"] = Field(
        "auto",
        description="auto = what the machine has (instance role, IRSA, workload identity, a person's login); "
        "federated = a token of another cloud, exchanged; static = a long-lived key, for a store that knows nothing else.",
    )
    token: Literal["file", "url", "google", "aws", "azure"] = Field(
        "file",
        description="federated: who gives the token that is exchanged: a file (Kubernetes), a URL, or the identity that "
        "this machine has at that cloud.",
    )
    token_file: Path | None = Field(None, description="token: file. Read again for each exchange.")
    token_url: str = Field("", description="token: url. A GET answers with the token alone.")
    audience: str = Field("", description="federated: whom the token is for; empty = what the provider asks for.")
    role_arn: str = Field("", description="AWS: the role to assume.")
    session_name: str = Field("skyferry", pattern=r"^[\w+=,.@-]{2,64}$", description="AWS: who CloudTrail says it was.")
    region: str = Field("", description="AWS: whose STS; empty = AWS_REGION, or us-east-1.")
    project: str = Field("", description="Google: number of the project that has the workload identity pool.")
    pool: str = Field("", description="Google: the workload identity pool.")
    provider: str = Field("", description="Google: the pool's provider.")
    service_account: str = Field("", description="Google: e-mail of a service account to impersonate.")
    tenant_id: str = Field("", description="Azure: the tenant; empty = AZURE_TENANT_ID.")
    client_id: str = Field(
        "", description="Azure: the application or managed identity; empty = AZURE_CLIENT_ID, or the system's own."
    )
    key_env: str = Field("AWS_ACCESS_KEY_ID", description="static, AWS: variable with the access key's id.")
    key_file: Path | None = Field(
        None, description="static, AWS: file with the access key's id; read again when it changes."
    )
    secret_env: str = Field(
        "", description="static: variable with the secret; empty = AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_KEY."
    )
    secret_file: Path | None = Field(
        None,
        description="static: file with the secret: the secret key, the account key, Google's service account key. Read again when "
        "it changes.",
    )
    lifetime: Seconds = Field(
        3600.0, ge=900, le=43200, description="How long a credential is asked for, where one may ask."
    )
    endpoint: str = Field("", description="Where tokens are exchanged; empty = the provider's own.")
    iam_endpoint: str = Field("", description="Google: where service accounts are impersonated; empty = Google's own.")
    allow_http: bool = Field(False, description="Endpoints may do without TLS, though they are not on loopback.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "federated" and self.token == "file" and self.token_file is None:  # noqa: S105 - no secret
            raise ValueError("federated by token: file needs token_file")
        if self.kind == "federated" and self.token == "url" and not self.token_url:  # noqa: S105 - no secret
            raise ValueError("federated by token: url needs token_url")
        return self
