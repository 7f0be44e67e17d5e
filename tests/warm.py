"""Processes that start with the libraries loaded: a graph's jobs take seconds to start and a moment to do their work.

A server loads what the stages import of other people's, once, and forks for each command line.  The project itself is
read anew by every process, from the folder and the PYTHONPATH that its caller has, so that an edit counts.  A job finds
the server through a ``python`` that is first on its PATH; whatever is not ``python -m hsivi`` with one thread is handed
to the real one, since libraries fix their number of threads as they load.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = (
    *("torch", "torch._dynamo", "torchvision", "diffusers.models.unets.unet_2d"),  # optimisers load _dynamo
    "torch_fidelity.feature_extractor_inceptionv3",
    *("pydantic", "yaml", "safetensors.torch", "pandas", "scipy.stats", "scipy.optimize", "sklearn.datasets"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "seaborn", "jinja2", "PIL.Image"),
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CLIENT = Path(__file__).with_name("warm_client.py")


class Warm:
    """A running server.

    Attributes:
        folder: a folder with a command ``python`` that starts warm processes; it comes first on a PATH.
    """

    def __init__(self) -> None:
        # A socket's name has a hundred characters at most, so this is no folder of pytest's.
        self.folder = Path(tempfile.mkdtemp(prefix="warm"))
        address = self.folder / "socket"
        words = shlex.join([sys.executable, "-IS", str(CLIENT), str(address), sys.executable])
        command = self.folder / "python"
        command.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        command.chmod(0o755)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(address))
        listening.listen(64)
        with listening:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(listening.fileno())],
                env={**os.environ, **dict.fromkeys(THREADS, "1")},
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        """End the server; its processes have ended with those that asked for them."""
        self._server.terminate()
        self._server.wait()
        shutil.rmtree(self.folder)


def serve(listening: socket.socket) -> None:
    """Load the libraries, then fork for every caller, for ever."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is loaded stays shared between processes
    while True:
        connection, _ = listening.accept()
        with connection:
            if os.fork() == 0:
                listening.close()
                _answer(connection)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _answer(connection: socket.socket) -> None:
    """Be the process that a caller asked for, and tell it the exit status."""
    size = array.array("i", [0] * 3).itemsize * 3
    length, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(size))
    streams = array.array("i", ancillary[0][2])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with connection.makefile("rb") as file:
        asked = json.loads(file.read(int(length)))
    status = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ |= asked["environment"]
        sys.path[:0] = [asked["folder"], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        sys.argv = asked["arguments"]
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ModuleNotFoundError):  # as Python does when it starts
            importlib.import_module("sitecustomize")
        runpy.run_module("hsivi", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status & 255]))
        os._exit(status & 255)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]  # the folder of this file is no place to import from
    serve(socket.socket(fileno=int(sys.argv[1])))
