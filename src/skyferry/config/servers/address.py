"""The address in the URL of a server of one's own: `redis://`, `nats://`, `postgresql://`. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

Hosts = tuple[tuple[str, int], ...]
# A user and a password, which may have / ? and @; a port has digits alone
_PASSWORD = compile_lazily(r"[^/?@\[]*:(?!\d{1,5}[/?,]).*@")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server, or the members of one cluster."""

    hosts: Hosts
    user: str  # "" = none, or the server's default
    path: tuple[str, ...]  # the names after the hosts
    options: tuple[tuple[str, str], ...]

    @property
    def is_local(self) -> bool:
        """True if every host is this machine."""
        return all(is_loopback(host) for host, _ in self.hosts)

    @property
    def shown(self) -> str:
        """The hosts, for people."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)

    def option(self, name: str, default: str = "") -> str:
        """Return an option of the URL."""
        return dict(self.options).get(name, default)


def parse_server(url: str, port: int, form: str) -> ServerAddress:
    """Parse `SCHEME://[USER@]HOST[:PORT][,HOST…]/NAME…?OPTIONS`. Raises ValueError, whose text contains no secret."""
    rest = url.partition("://")[2]
    reject_password(rest)
    location, _, query = rest.partition("?")
    authority, _, path = location.partition("/")
    user, at, hosts = authority.rpartition("@")
    if at and not user:
        raise ValueError(f"the user name before @ is empty: use {form}")
    found = tuple(_parse_host(each, port, form) for each in hosts.split(","))
    names = tuple(unquote(name) for name in path.strip("/").split("/") if name)
    return ServerAddress(found, unquote(user), names, tuple(parse_qsl(query, keep_blank_values=True)))


def has_password(rest: str) -> bool:
    """Return True if the rest of a URL, after ://, begins with a user and a password."""
    return _PASSWORD.match(rest) is not None


def reject_password(rest: str) -> None:
    """Raise ValueError if the rest of a URL, after ://, begins with a user and a password."""
    if has_password(rest):
        raise ValueError("the URL must not contain a password; set identity.secret_file, or the variable with it")


def _parse_host(text: str, port: int, form: str) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, ""
    host = host.strip("[]")
    if not host:
        raise ValueError(f"the name of a host is missing: use {form}")
    if ":" in host and "[" not in text:
        raise ValueError(f"{text!r} is no host: put an IPv6 address into brackets, such as [::1]:{port}")
    if colon and number and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise ValueError(f"{number!r} is no port")
    return host, int(number or port)


def require_names(address: ServerAddress, count: int, form: str) -> None:
    """Raise ValueError unless `count` names follow the hosts."""
    if (found := len(address.path)) != count:
        what = "lacks a name" if found < count else f"has {found} names, not {count},"
        raise ValueError(f"the URL {what} after the host: use {form}")


def require_server_tls(address: ServerAddress, tls: str, *, allowed: bool) -> None:
    """Raise ValueError for a server that is reached over a network without TLS, unless that is `allowed`.

    `tls` names the URL scheme or option that adds TLS.
    """
    if not (allowed or address.is_local):
        raise ValueError(
            f"{address.shown} is reached without TLS; use {tls}, or set allow_http: true if you trust the network"
        )


def is_loopback(host: str) -> bool:
    """Return whether the name of a host is that of this machine."""
    import ipaddress

    try:
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
