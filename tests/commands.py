"""Commands in processes of their own, forked from one that has imported what commands need.

Importing torch takes ten times as long as a small command. Everything else is as if the process
had been started: it has arguments, a folder, an environment, streams and handlers of signals of
its own, and Python ends it as it ends any other. Tests of imports, and of streams that are closed
before Python starts, need processes that are started.
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
import tempfile
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
    *("vaezoo.runs.sweep", "vaezoo.runs.report.page", "vaezoo.cli.main"),
)


def run_forked(*words, code=VAEZOO, cwd=None, text=True, **environment):
    """Runs Python code with arguments; returns what ``subprocess.run`` does."""
    words = [os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words]
    message = {
        "code": code,
        "words": words,
        "folder": str(Path(cwd or ".").absolute()),
        "environment": {**os.environ, **PLAIN, **environment},
    }
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = _forker().run(message, out, err)
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode() if text else file.read())
    return subprocess.CompletedProcess(words, status, *printed)


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

    def run(self, message, out, err):
        """The exit code of a command, which is killed if it hangs."""
        with open(os.devnull, "rb") as empty:
            streams = [file.fileno() for file in (empty, out, err)]
            socket.send_fds(self.socket, [json.dumps(message).encode()], streams)
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


def become(message, streams):
    """Makes this process that of a command; returns its code."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    sys.argv = ["-c", *message["words"]]
    return compile(message["code"], "<string>", "exec")


if __name__ == "__main__":
    sys.path[0] = ""  # as it is for code that is passed
    exec(become(*fork_commands(socket.socket(fileno=int(sys.argv[1])))), {"__name__": "__main__"})
