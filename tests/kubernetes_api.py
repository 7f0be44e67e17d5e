"""A server that answers like the API of Kubernetes, as far as Snakemake's executor asks, and runs a job's command here.

It is no Kubernetes: nothing is scheduled, no image is pulled and no volume is mounted.  What it shows is what would be
sent to one, and that the command of a pod does its work in an empty folder, with nothing but the volume in common.
"""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "test",
    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    "users": [{"name": "test", "user": {}}],
}


class Kubernetes:
    """A running server.

    Attributes:
        jobs: the jobs that were sent, as they came.
        said: what their commands printed.
        config: a file that tells clients where the server is.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None) -> None:
        """Start it; without an environment for their commands jobs fail at once."""
        self.jobs: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._status: dict[str, dict[str, int]] = {}
        self._folder, self._environment = folder, environment
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.config = folder / "kubeconfig"
        cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        self.config.write_text(yaml.safe_dump({**KUBECONFIG, "clusters": [cluster]}))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, job: dict[str, Any]) -> None:
        """Take a job and run its command, as a node would."""
        name = job["metadata"]["name"]
        self.jobs.append(job)
        self._status[name] = {"failed": 1} if self._environment is None else {"active": 1}
        if self._environment is not None:
            threading.Thread(target=self._run, args=(name, job), daemon=True).start()

    def _run(self, name: str, job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        empty = self._folder / name
        empty.mkdir()
        done = subprocess.run(
            [*container["command"], *container["args"]],
            cwd=empty,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.said.append(done.stdout + done.stderr)
        self._status[name] = {"failed": 1} if done.returncode else {"succeeded": 1}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return what a server would, for the few calls that are made."""
        *_, kind, name = ["", *path.partition("?")[0].removesuffix("/status").split("/")][-2:]
        if method == "POST" and name == "jobs":
            self.create(body)
        elif method == "GET" and kind == "jobs":
            return {"metadata": {"name": name}, "status": self._status[name]}
        elif method == "GET":
            return {"items": []}
        return body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or "{}")
                text = json.dumps(server.answer(self.command, self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = _handle  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Handler


def node_environment(programs: Path, python: Path, project: Path) -> dict[str, str]:
    """Return the environment that the image gives a pod, with a pip that has everything already."""
    programs.mkdir()
    pip = programs / "pip"
    pip.write_text("#!/bin/sh\n")
    pip.chmod(0o755)
    path = os.pathsep.join([str(programs), str(python.parent), os.environ["PATH"]])
    kept = {name: os.environ[name] for name in ("HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    return {**kept, "PATH": path, "PYTHONPATH": str(project)}
