"""Ends all processes of a group when one of them dies or fails, whatever the others are doing.

A process that waits for a dead one in a collective operation would wait until a timeout, and one
that evaluates would notice nothing. So the main process has a TCP connection to every other one,
and a thread at each end that does nothing but read. A connection that closes without a goodbye
means that the process behind it died. Messages are JSON, one a line:

failed   to the main process: this process raised an error
agreed   from the main process: every process raised an error, so each may handle its own
exit     from the main process: end now, and silently
goodbye  this process ends in good order
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vaezoo.utils.errors import UnavailableError, print_error, printable_lines
from vaezoo.utils.own_process import RESET_TERMINAL

_SECONDS_TO_AGREE = 3.0
"""How long a process that failed waits for the others to fail as well."""
_SECONDS_TO_END = 5.0
"""How long a process waits for an end that another one brings about."""
_SECONDS_TO_CONNECT = 60.0
_LONGEST_FIRST_MESSAGE = 1000
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A machine that loses its power closes no connection; it is found missing in 25 seconds."""


class Link:
    """A connection to another process that carries messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.messages = self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        received = b""
        while part := self.connection.recv(65536):
            *lines, received = (received + part).split(b"\n")
            yield from map(json.loads, lines)

    def send(self, kind: str, **content: object) -> None:
        """Sends a message; does nothing if the other process is gone."""
        with contextlib.suppress(OSError):
            text = json.dumps({"kind": kind, **content}, allow_nan=False)
            self.connection.sendall(text.encode() + b"\n")

    def close(self) -> None:
        """Closes the connection; a thread that reads from it sees its end."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class ProcessWatch:
    """Watches the other processes of the group: the main process all, the others the main one.

    Args:
        rank: of this process.
        size: the number of processes.
        links: the connections by the rank of the other process.

    Attributes:
        describe_run: returns what the message about a process that died says about the run.
        exit_code: is not 0 once the main process failed while others did not.
    """

    def __init__(self, rank: int, size: int, links: Mapping[int, Link]) -> None:
        self.rank, self.size, self.links = rank, size, links
        self.describe_run: Callable[[], str] = str
        self.exit_code = 0
        self.changed, self.ending = threading.Condition(), threading.Lock()
        self.failures: dict[int, dict[str, Any]] = {}
        self.departed: set[int] = set()
        self.is_agreed = self.is_leaving = False
        self.traceback = ""
        self.threads = [
            threading.Thread(target=self._read, args=(peer,), name="vaezoo-watch", daemon=True)
            for peer in links
        ]
        for thread in self.threads:
            thread.start()

    def _read(self, peer: int) -> None:
        """Reads the messages of another process until it ends."""
        with contextlib.suppress(OSError):  # a reset connection, which means the same as its end
            for message in self.links[peer].messages:
                self._receive(peer, message)
        if peer not in self.departed and not self.is_leaving:
            # without the main process, the first of the others prints
            report = f"process {peer} of {self.size} ended unexpectedly{self.describe_run()}"
            self._end(1, report if self.rank <= 1 else "")

    def _receive(self, peer: int, message: dict[str, Any]) -> None:
        if message["kind"] == "exit":
            self._end(message["code"], "")
        with self.changed:
            if message["kind"] == "failed":
                self.failures[peer] = message
            elif message["kind"] == "goodbye":
                self.departed.add(peer)
            else:
                self.is_agreed = True
            self.changed.notify_all()
            if message["kind"] != "failed" or self.changed.wait_for(
                lambda: self.rank in self.failures or self.failures.get(peer) is not message,
                _SECONDS_TO_AGREE,
            ):
                return
        if not self.is_leaving:
            self._end(message["code"], f"process {peer}: {message['text']}")

    def _end(self, code: int, message: str) -> None:
        """Ends this process at once, and from the main process all others; never returns.

        Files are written atomically, so that this is safe at any moment.
        """
        self.ending.acquire()  # and is never released: the first of several ends decides
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(RESET_TERMINAL)
        if message:
            print_error(message)
        if self.rank == 0:
            for link in self.links.values():
                link.send("exit", code=code)
        with contextlib.suppress(Exception):  # a stream may be closed, at the end of Python
            sys.stderr.write(printable_lines(self.traceback))
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)

    def agree_on_failure(self, code: int, text: str, traceback: str = "") -> None:
        """Reports that this process failed, and finds out whether every process did.

        Returns if all failed, because of the same spec or the same signal, so that each process
        can handle its error. If not, then the processes that did not fail are ended, by ``leave``
        if the main process failed, and with this process if another one did.

        Args:
            code: the exit code.
            text: the message.
            traceback: is printed if this process is ended; for errors that are not a user's.
        """
        if self.exit_code:
            return
        if self.rank:
            with self.changed:
                self.is_agreed, self.traceback = False, traceback
                self.links[0].send("failed", code=code, text=text)
                self.changed.wait_for(
                    lambda: self.is_agreed or bool(self.departed), _SECONDS_TO_CONNECT
                )
                self.traceback = ""
            return
        with self.changed:
            self.failures[0] = {"text": text}
            self.changed.notify_all()
            self.changed.wait_for(
                lambda: self.links.keys() <= self.failures.keys() | self.departed,
                _SECONDS_TO_AGREE,
            )
            failures, self.failures = self.failures, {}
            if not self.links.keys() <= failures.keys():
                self.failures = {0: failures[0]}
                self.exit_code = code
                return
        for peer, link in self.links.items():
            if failures[peer]["text"] != text:
                print_error(f"process {peer}: {failures[peer]['text']}")
            link.send("agreed")

    def wait_for_end(self) -> None:
        """Waits until this process is ended because of another one; returns if it is not."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self.departed), _SECONDS_TO_END)

    def leave(self, code: int = 0) -> None:
        """Says goodbye to the other processes.

        Args:
            code: the exit code. If it is not 0, then the main process is waited for: a launcher
                kills all processes when one fails, and the main process may still be printing.
        """
        with self.changed:
            if self.is_leaving:
                return
            self.is_leaving = True
        for link in self.links.values():
            link.send("exit", code=self.exit_code) if self.exit_code else link.send("goodbye")
        if self.rank and code:
            with self.changed:
                self.changed.wait_for(lambda: bool(self.departed), _SECONDS_TO_END)
        for link in self.links.values():
            link.close()
        for thread in self.threads:
            thread.join(1.0)


_current: ProcessWatch | None = None


def current_watch() -> ProcessWatch | None:
    """The watch of this process, if it belongs to a group that has one."""
    return _current


def start_watch(
    rank: int, size: int, host: str, broadcast_text: Callable[[str], str]
) -> ProcessWatch:
    """Connects the processes and starts the watch; every process must call it.

    Args:
        rank: of this process.
        size: the number of processes.
        host: the address of the main process.
        broadcast_text: returns the text of the main process in every process.

    Raises:
        UnavailableError: the processes cannot connect.
    """
    global _current
    try:
        if rank == 0:
            with _listen(host) as server:
                port, token = server.getsockname()[1], secrets.token_hex(16)
                broadcast_text(f"{port} {token}")
                links = _accept(server, size, token)
        else:
            port, token = broadcast_text("").split(" ")
            connection = socket.create_connection((host, int(port)), _SECONDS_TO_CONNECT)
            links = {0: Link(connection)}
            links[0].send("hello", token=token, rank=rank)
        for link in links.values():
            _keep_alive(link.connection)
    except OSError as error:
        raise UnavailableError(
            f"process {rank} of {size} cannot connect to the others at {host}: {error}"
        ) from error
    _current = ProcessWatch(rank, size, links)
    return _current


def _listen(host: str) -> socket.socket:
    """A server on a free port of ``host``, or of every address if ``host`` is none of them."""
    with contextlib.suppress(OSError):
        family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, 0), family=family)
    return socket.create_server(("", 0))


def _accept(server: socket.socket, size: int, token: str) -> dict[int, Link]:
    """Waits for the connection of every other process; the token tells them from strangers."""
    server.settimeout(_SECONDS_TO_CONNECT)
    links: dict[int, Link] = {}
    while len(links) < size - 1:
        link = Link(server.accept()[0])
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            hello = _first_message(link.connection)
            if secrets.compare_digest(hello["token"], token):
                links[int(hello["rank"])] = link
                continue
        link.close()
    return links


def _first_message(connection: socket.socket) -> Any:
    """The first line from a connection; that of a stranger neither grows nor takes for ever.

    Raises:
        OSError: it does not come in time.
        ValueError: it ends before it is complete, is too long, or is no JSON.
    """
    end, line = time.monotonic() + _SECONDS_TO_END, b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(end - time.monotonic(), 1e-3))
        part = connection.recv(1)  # what follows is read by the link
        if not part or len(line) > _LONGEST_FIRST_MESSAGE:
            raise ValueError("is no message")
        line += part
    return json.loads(line)


def _keep_alive(connection: socket.socket) -> None:
    """Lets a connection wait forever, but not for a machine that is gone."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _forget() -> None:
    """Closes the connections of a forked process, which would outlive the death of its parent."""
    global _current
    if _current is not None:
        for link in _current.links.values():
            os.close(link.connection.detach())
        _current = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
