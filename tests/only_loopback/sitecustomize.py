"""Imported by every Python that has this folder on its path: no connection goes anywhere but to the loopback interface.

Pauses before retries are cut short, since what the tests wait for is the retry.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any

_connect, _lookup, _sleep = socket.socket.connect, socket.getaddrinfo, time.sleep


def _only_loopback(host: object) -> None:
    if host not in ("127.0.0.1", "localhost", "::1", None):
        os.write(2, f"CONTACTED {host!r}\n".encode())  # whatever happens to the exception, the test sees this
        raise OSError(f"the test tried to reach {host!r}")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _only_loopback(address[0])
    _connect(self, address)


def _guarded_lookup(host: Any, *arguments: Any, **settings: Any) -> Any:
    _only_loopback(host)
    return _lookup(host, *arguments, **settings)


def _short_sleep(seconds: float) -> None:
    _sleep(min(seconds, 0.01))


socket.socket.connect = _guarded_connect  # type: ignore[method-assign, assignment]
socket.getaddrinfo = _guarded_lookup
time.sleep = _short_sleep
