"""The identity at a store or queue. Settings contain no secrets; these are in files or environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skyferry.config.sections.section import Seconds, Section, setting

DEFAULT_LOGIN = "password"


class IdentitySettings(Section):
    """The identity at this store or queue."""

    kind: Literal["auto", "sdk", "federated", "static", "anonymous"] = setting(
        default="auto",
        description="auto = the identity of the machine (instance role, IRSA, workload identity, a user's login); "
        "sdk = the same, and long-lived keys of the environment and of profiles, with a warning: the default of `copy`, `ls` and "
        "`head`; federated = exchange a token of another cloud; static = a long-lived key, for stores that support nothing else.",
    )
    login: Literal["password", "aws", "google", "azure"] = setting(
        default=DEFAULT_LOGIN,
        description="PostgreSQL: password = the secret; aws, google, azure = a token of the identity that `kind` chooses at that "
        "cloud, for the IAM login of RDS and Aurora, Cloud SQL, or Azure Database. Each new connection gets a new token.",
    )
    token: Literal["file", "url", "google", "aws", "azure"] = setting(
        default="file",
        description="federated: source of the token to exchange: a file (Kubernetes), a URL, or this machine's identity at "
        "that cloud.",
    )
    token_file: Path | None = setting(default=None, description="token: file. Read for each exchange.")
    token_url: str = setting(default="", description="token: url. The response to a GET is the token.")
    audience: str = setting(default="", description="federated: audience of the token; empty = the provider's default.")
    role_arn: str = setting(default="", description="AWS: ARN of the role to assume.")
    session_name: str = setting(
        default="skyferry", pattern=r"^[\w+=,.@-]{2,64}$", description="AWS: session name, in CloudTrail."
    )
    region: str = setting(
        default="",
        description="AWS: region of STS; empty = AWS_REGION, otherwise us-east-1. With login: aws, the region of the database, "
        "unless its host names it.",
    )
    project: str = setting(default="", description="Google: number of the project with the workload identity pool.")
    pool: str = setting(default="", description="Google: name of the workload identity pool.")
    provider: str = setting(default="", description="Google: name of the provider in the pool.")
    service_account: str = setting(default="", description="Google: e-mail of a service account to impersonate.")
    tenant_id: str = setting(default="", description="Azure: id of the tenant; empty = AZURE_TENANT_ID.")
    client_id: str = setting(
        default="",
        description="Azure: client id of the application or managed identity; empty = AZURE_CLIENT_ID, otherwise the system's own.",
    )
    key_env: str = setting(default="AWS_ACCESS_KEY_ID", description="static, AWS: variable with the access key id.")
    key_file: Path | None = setting(
        default=None, description="static, AWS: file with the access key id; reloaded when it changes."
    )
    secret_env: str = setting(
        default="",
        description="static: variable with the secret; empty = AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_KEY, CLOUDFLARE_API_TOKEN, "
        "REDIS_PASSWORD, NATS_CREDENTIALS or PGPASSWORD. At Redis, NATS and PostgreSQL, auto reads it as well, and does without.",
    )
    secret_file: Path | None = setting(
        default=None,
        description="static: file with the secret: the secret key, the account key, Google's service account key, Cloudflare's "
        "API token, the password of Redis and PostgreSQL, or the credentials of NATS; reloaded when it changes.",
    )
    lifetime: Seconds = setting(
        default=3600.0,
        ge=900,
        le=43200,
        description="Requested lifetime of credentials, if the provider allows a choice.",
    )
    endpoint: str = setting(default="", description="URL for the exchange of tokens; empty = the provider's own.")
    iam_endpoint: str = setting(
        default="", description="Google: URL for the impersonation of service accounts; empty = Google's own."
    )
    allow_http: bool = setting(default=False, description="Allow endpoints without TLS that are not on loopback.")

    def check(self) -> None:
        """Require what the kind needs."""
        if self.login != DEFAULT_LOGIN and self.kind == "anonymous":
            raise ValueError("anonymous is no identity for an IAM login")
        if self.kind == "federated" and self.token == "file" and self.token_file is None:  # noqa: S105 - no secret
            raise ValueError("federated by token: file needs token_file")
        if self.kind == "federated" and self.token == "url" and not self.token_url:  # noqa: S105 - no secret
            raise ValueError("federated by token: url needs token_url")
