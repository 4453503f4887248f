"""Commands in processes of their own, forked from one that has imported what commands need.

Importing torch takes ten times as long as a small command. Everything else is as if the process
had been started: it has arguments, a folder, an environment, streams and handlers of signals of
its own, and Python ends it as it ends any other. Tests of imports, and of streams that are closed
before Python starts or that nobody reads, need processes that are started.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VAEZOO = "from vaezoo.__main__ import main; main()"
"""The code of the ``vaezoo`` command."""
PLAIN = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
LIMIT = 300.0
"""Seconds after which a command hangs."""
SIZE = 1 << 18
"""Bytes of the largest message."""
MODULES = (
    *("torch._dynamo", "sklearn.datasets", "sklearn.mixture", "matplotlib.pyplot", "optuna"),
    *("vaezoo.api.users", "vaezoo.api.authors", "vaezoo.runs.start", "vaezoo.runs.dry_run"),
    *("vaezoo.bench.sweep", "vaezoo.runs.report.page", "vaezoo.cli.main"),
)


def run_forked(*words, code=VAEZOO, cwd=None, text=True, **environment):
    """Runs Python code with arguments; returns what ``subprocess.run`` does.

    A variable of the environment that is ``None`` is not set.
    """
    variables = {**os.environ, **PLAIN, **environment}
    words = [os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words]
    message = {
        "code": code,
        "words": words,
        "folder": str(Path(cwd or ".").absolute()),
        "environment": {k: value for k, value in variables.items() if value is not None},
    }
    forker = _forker()
    readers, writers = zip(*(os.pipe() for _ in range(2)), strict=True)
    with ThreadPoolExecutor(2) as pool:
        printed = [pool.submit(_read, reader) for reader in readers]
        status = forker.run(message, writers)
    out, err = (each.result().decode() if text else each.result() for each in printed)
    return subprocess.CompletedProcess(words, status, out, err)


def _read(pipe):
    with open(pipe, "rb") as file:
        return file.read()


class Forker:
    """The process that others are forked from."""

    def __init__(self):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(LIMIT)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **PLAIN},
        )
        theirs.close()

    def run(self, message, writers):
        """The exit code of a command, which is killed if it hangs."""
        with open(os.devnull, "rb") as empty:
            streams = [empty.fileno(), *writers]
            try:
                socket.send_fds(self.socket, [json.dumps(message).encode()], streams)
            finally:
                for writer in writers:
                    os.close(writer)
        process = int(self.socket.recv(SIZE))
        try:
            status = self.socket.recv(SIZE)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            self.socket.recv(SIZE)
            raise
        return os.waitstatus_to_exitcode(int(status))

    def end(self):
        """Ends the process."""
        self.socket.close()
        self.process.wait()


@functools.cache
def _forker():
    result = Forker()
    atexit.register(result.end)
    return result


def fork_commands(server):
    """Forks a process for each message; returns the message and the streams in it."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    while True:
        message, streams, *_ = socket.recv_fds(server, SIZE, 3)
        if not message:
            os._exit(0)
        process = os.fork()
        if not process:
            server.close()
            return json.loads(message), streams
        for stream in streams:
            os.close(stream)
        server.send(b"%d" % process)
        server.send(b"%d" % os.waitpid(process, 0)[1])


def receive_interruptions():
    """Makes SIGINT interrupt this process, and what it starts, where a shell made it be ignored.

    A shell does so in what it starts in the background, and programs inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def become(message, streams):
    """Makes this process that of a command; returns its code."""
    for number, (stream, name) in enumerate(zip(streams, ("stdin", "stdout", "stderr"))):
        os.dup2(stream, number)
        os.close(stream)
        before = getattr(sys, name)  # remembers whether its file can be sought in
        options = {"encoding": before.encoding, "errors": before.errors, "closefd": False}
        file = open(number, before.mode, 1 if name == "stderr" else -1, **options)  # noqa: SIM115
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    sys.argv = ["-c", *message["words"]]
    return compile(message["code"], "<string>", "exec")


if __name__ == "__main__":
    sys.path[0] = ""  # as it is for code that is passed
    exec(become(*fork_commands(socket.socket(fileno=int(sys.argv[1])))), {"__name__": "__main__"})
