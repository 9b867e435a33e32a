"""Blocks the network in every Python that starts with this folder on PYTHONPATH: tests, kernels, their children.

The block is an audit hook, so that no library can get round it within Python, nor take it away.
"""

import sys

EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}
LOCAL = {"", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::", "::1"}


class NetworkBlockedError(RuntimeError):
    """Something tried to leave the machine. No OSError, which a library might take for a bad connection."""


def refuse(event: str, arguments: tuple) -> None:
    """Raise NetworkBlockedError where a socket event names another machine."""
    position = EVENTS.get(event)
    if position is None:
        return
    target = arguments[position]
    host = target[0] if isinstance(target, tuple) else target if position == 0 else None
    host = host.decode(errors="replace") if isinstance(host, bytes) else host
    if not isinstance(host, str) or host in LOCAL or host.startswith(("127.", "::ffff:127.")):
        return
    import socket

    if host == socket.gethostname():
        return
    raise NetworkBlockedError(
        f"the network is blocked here, and {event} wants {host!r}: read the file from the cache "
        "(fill it with: make assets), or fake the client"
    )


sys.addaudithook(refuse)
