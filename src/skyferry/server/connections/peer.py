"""The user at the other end of a connection within this machine, from the kernel (Linux, sock_diag(7))."""

from __future__ import annotations

import os
import socket
import struct

from skyferry.frozen import dataclass

_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ASKED = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states; then an id
_ID = struct.Struct(
    "!HH16s16s"
)  # inet_diag_sockid: ports and addresses; then interface and cookie in native byte order
_ANY = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # any interface, any cookie
_ANSWER = struct.Struct("=BBBB48sIIIII")  # inet_diag_msg: family, state, …, id, expires, queues, user, inode
_LISTENING = 10
_NOT_MAPPED = 65534  # the overflow uid: every user without a mapping in this user namespace
Address = tuple[str, int]


def is_same_user(client: Address, server: Address) -> bool:
    """Return True if the client of the connection belongs to the user of this process.

    Return False where the kernel does not report it: on other systems, in some sandboxes, and for a closed socket.
    """
    user = os.getuid()
    found = _find_socket(client, server)
    return user != _NOT_MAPPED and found is not None and not found.listens and found.user == user


def find_listening_user(address: Address) -> int | None:
    """Return the user whose program listens at `address`; None if there is none, or the kernel does not report it."""
    found = _find_socket(address, (address[0], 0))
    return found.user if found and found.listens else None


@dataclass(frozen=True, slots=True)
class _Socket:
    user: int
    listens: bool


def _find_socket(local: Address, remote: Address) -> _Socket | None:
    """Return the socket that is bound to `local` and connected to `remote`, or the one that listens at `local`."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    try:
        ends = (socket.inet_pton(family, address.partition("%")[0]) for address in (local[0], remote[0]))
        asked = _ASKED.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + _ID.pack(local[1], remote[1], *ends) + _ANY
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _DIAG) as kernel:
            kernel.settimeout(1.0)
            kernel.send(_HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST, 1, 0) + asked)
            answer = kernel.recv(4096)
        _, kind, *_ = _HEADER.unpack_from(answer)
        if kind != _BY_FAMILY:
            return None
        _, state, *_, user, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    except (OSError, AttributeError, struct.error):
        return None
    return _Socket(user, state == _LISTENING) if inode else None  # a socket without an inode is closed
