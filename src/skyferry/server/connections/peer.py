"""Finds the user at the other end of a connection within this machine, as the kernel knows it (Linux, sock_diag(7))."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ASKED = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states; then an id
_ID = struct.Struct("!HH16s16s")  # inet_diag_sockid: ports and addresses; then interface and cookie, in our byte order
_ANY = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # whatever they are
_ANSWER = struct.Struct("=BBBB48sIIIII")  # inet_diag_msg: family, state, …, id, expires, queues, user, inode
_LISTENING = 10
_NOT_MAPPED = 65534  # stands for each user whom this user namespace does not know
Address = tuple[str, int]


def is_our_user(theirs: Address, ours: Address) -> bool:
    """Return whether the connection's other end belongs to the user that runs this process.

    False where the kernel does not say: on other systems, in some sandboxes, and for a socket that its owner has closed.
    """
    user = os.getuid()
    found = _socket(theirs, ours)
    return user != _NOT_MAPPED and found is not None and not found.listens and found.user == user


def listeners_user(address: Address) -> int | None:
    """Return whose program listens there; None where nothing does, or the kernel does not say."""
    found = _socket(address, (address[0], 0))
    return found.user if found and found.listens else None


@dataclass(frozen=True, slots=True)
class _Socket:
    user: int
    listens: bool


def _socket(local: Address, remote: Address) -> _Socket | None:
    """The socket that is bound to `local` and connected to `remote`, or else listens at `local`."""
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
    return _Socket(user, state == _LISTENING) if inode else None  # without an inode nobody holds it any more
