"""A container engine of this machine: Docker, else Podman; the commands are the same in both.

Nothing is pulled and nothing is built: an image goes in as an archive, is run, and is taken away again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cradle import names, oci
from cradle.bake.archive import write_archive
from cradle.config import clean_environment
from cradle.errors import Unavailable, VerifyFailed

TOOLS: Final = ("docker", "podman")
KEPT: Final = ("HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "XDG_RUNTIME_DIR")
ANSWER_SECONDS: Final = 20  # an engine that does not answer by then is treated as absent
# What a customer's security team asks for; all of it together, always.
HARDENED: Final = (
    *("--network", "none", "--read-only", "--user", names.IMAGE_USER, "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "512"),
    *("--tmpfs", "/tmp", "--tmpfs", "/state:mode=0777"),
)


@dataclass(frozen=True)
class Engine:
    """An engine that answered, by the name of its tool and its version."""

    tool: str
    version: str

    def load(self, layout: Path, image: str, name: str) -> bool:
        """Put an image into the engine under a name; return whether it was not there before.

        Raises:
            VerifyFailed: the engine refuses the archive.
        """
        config = str(oci.get_json(layout, image)["config"]["digest"])
        known = self.call("image", "inspect", "--format", "{{.Id}}", name)
        if known.returncode == 0 and known.stdout.strip().removeprefix("sha256:") == config.removeprefix("sha256:"):
            return False
        command = [self.tool, "load", "--quiet"]
        with subprocess.Popen(
            command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # what the engine said is told below
                write_archive(layout, image, name, process.stdin)
            said = process.communicate()[0].decode(errors="replace").strip()
        if process.returncode:
            raise VerifyFailed(f"{self.tool} load refuses {image}: {said[-400:]}")
        return True

    def start(self, name: str, options: Sequence[str]) -> str:
        """Start a container and return its id.

        Raises:
            VerifyFailed: it can't be started.
        """
        done = self.call("run", "--detach", *options, name)
        if done.returncode:
            raise VerifyFailed(f"{self.tool} run {name}: {done.stderr.strip()[-400:]}")
        return done.stdout.strip()

    def ask(self, container: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the image's own command line inside a container."""
        return self.call("exec", container, "/usr/bin/python3", "-P", "-m", "cradle.serve", *arguments)

    def logs(self, container: str) -> str:
        """Return the last lines that a container wrote."""
        done = self.call("logs", "--tail", "20", container)
        return (done.stdout + done.stderr).strip()

    def stop(self, container: str) -> int:
        """Stop a container in order and return its exit code."""
        self.call("stop", "--time", "20", container)
        found = self.call("inspect", "--format", "{{json .State.ExitCode}}", container)
        return int(json.loads(found.stdout)) if found.returncode == 0 else -1

    def remove(self, container: str) -> None:
        """Take a container away, running or not."""
        self.call("rm", "--force", "--volumes", container)

    def forget(self, name: str) -> None:
        """Take an image away."""
        self.call("image", "rm", "--force", name)

    def call(
        self, *arguments: str, folder: Path | None = None, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the tool, in a folder and with further variables where they are given."""
        command, environment = [self.tool, *arguments], {**_environment(), **(variables or {})}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def find_engine() -> Engine | None:
    """Return the first engine that answers; None when there is none."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            continue
        form = "{{.Server.Version}}" if tool == "docker" else "{{.Client.Version}}"
        command = [tool, "version", "--format", form]
        try:
            done = subprocess.run(
                command, env=_environment(), capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
            )
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0 and done.stdout.strip():
            return Engine(tool, done.stdout.strip())
    return None


def need_engine() -> Engine:
    """Return the engine of this machine.

    Raises:
        Unavailable: there is none.
    """
    found = find_engine()
    if found is None:
        raise Unavailable(
            "no container engine answers here: neither `docker version` nor `podman version`. Start one, or set "
            "DOCKER_HOST, then run this again."
        )
    return found


def _environment() -> dict[str, str]:
    return clean_environment(*KEPT)
