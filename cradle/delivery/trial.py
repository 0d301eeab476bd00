"""A delivery package as it is installed for a trial: in a folder of its own, under throw-away keys."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from cradle import names
from cradle.access import new_key, write_keys
from cradle.bake.engine import Engine
from cradle.delivery.ports import refuse_taken
from cradle.digest import file_sha256
from cradle.errors import VerifyFailed
from cradle.signed import read_signed

COMMON = re.compile(r"[0-9a-f]{32,64}|\d{4}-\d\d-\d\d.*|.{0,7}")


class Installed:
    """A package, unpacked and started in a folder of its own."""

    def __init__(self, engine: Engine, package: Path, folder: Path) -> None:
        self._engine, self._package, self._folder = engine, package, folder
        self.statement: dict[str, Any] = {}
        self.seconds_to_ready = 0.0
        self.key = ""
        self._compose: dict[str, Any] = {}

    def install(self) -> str:
        """Do all that comes before the questions."""
        for step in (self.unpack, self.check_signature, self.load, self.start):
            said = step()
        return f"{self.statement['customer']} {self.statement['version']}: {said}"

    def unpack(self) -> str:
        """Unpack into the empty folder and check every sum; the keys become throw-away ones."""
        if self._package.is_dir():
            shutil.copytree(self._package, self._folder, copy_function=_link_or_copy)
        else:
            with tarfile.open(self._package) as tar:
                tar.extractall(self._folder, filter="data")
        lines = (self._folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        sums = {name: promised for promised, _, name in (line.partition("  ") for line in lines)}
        present = {path.name for path in self._folder.iterdir()} - {"SHA256SUMS"}
        if present != set(sums):
            raise VerifyFailed(f"the package holds {sorted(present ^ set(sums))} where SHA256SUMS says otherwise")
        for name, promised in sums.items():
            if file_sha256(self._folder / name) != promised:
                raise VerifyFailed(f"{name} is not the file of SHA256SUMS")
        self._compose = yaml.safe_load((self._folder / "compose.yaml").read_text(encoding="utf-8"))
        self.key, record = new_key("admin")
        (self._folder / "keys.json").unlink()
        write_keys(self._folder, [record])
        (self._folder / "keys.json").chmod(0o644)
        return f"{len(sums)} files"

    def check_signature(self) -> str:
        """Check the publisher's statement."""
        self.statement, _ = read_signed((self._folder / "signature.json").read_bytes(), "signature.json")
        return f"{self.statement['customer']} {self.statement['version']}"

    def load(self) -> str:
        """Let the engine read the image's archive."""
        archives = sorted(self._folder.glob("*.tar.gz"))
        if len(archives) != 1:
            raise VerifyFailed(
                f"{len(archives)} archives in the package; a delta is tried with its base: load that first"
            )
        done = self._engine.call("load", "--quiet", "--input", str(archives[0]))
        if done.returncode:
            raise VerifyFailed(f"{self._engine.tool} load: {done.stderr.strip()[-300:]}")
        return f"{archives[0].stat().st_size:,} bytes"

    def start(self) -> str:
        """Start it as the guide says and wait until the engine calls it healthy."""
        refuse_taken(self.statement["port_base"])
        clock = time.monotonic()
        self._call("up", "--detach", "--wait")
        self.seconds_to_ready = round(time.monotonic() - clock, 2)
        return f"healthy after {self.seconds_to_ready:.1f} s"

    def health(self) -> str:
        """Ask every service."""
        ready = json.loads(self.get("/ready"))
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.statement['port_base'] + names.DASHBOARDS}/", timeout=10
        ) as page:
            if page.status != 200:
                raise VerifyFailed(f"the dashboards answer {page.status}")
        if not ready["ready"] or ready["release"] != self.statement["release_id"]:
            raise VerifyFailed(f"not ready, or another release: {ready}")
        return ", ".join(name for name, yes in ready["capabilities"].items() if yes)

    def sign_in(self) -> str:
        """Nothing without a key; everything with one."""
        try:
            self.get("/tables", key="")
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
        else:
            raise VerifyFailed("/tables answers without a key")
        self.get("/tables")
        return "401 without a key, 200 with one"

    def questions(self) -> str:
        """Put the golden questions and the counts of the release to it."""
        answers = json.loads(self._exec("questions", "--key", self.key))
        failed = [f"{one['name']}: {one['detail']}" for one in answers if not one["ok"]]
        if failed:
            raise VerifyFailed("; ".join(failed))
        return f"{len(answers)} answers as promised"

    def verify(self) -> str:
        """Let the image hash its own files."""
        return f"{json.loads(self._exec('verify'))['files']} files"

    def logs(self) -> str:
        """Read what it wrote."""
        said = self._call("logs", "--no-color").stdout
        bad = [line for line in said.splitlines() if "Traceback" in line or '"level": "error"' in line]
        if bad:
            raise VerifyFailed(bad[0][:300])
        return f"{len(said.splitlines())} lines"

    def isolated_from(self, other: Installed) -> str:
        """Ask each for a row of the other; each answers for its own, so the questions are good."""
        tried = 0
        for one, two in ((self, other), (other, self)):
            for path, text in one.own_rows():
                if text not in one.get(path):
                    raise VerifyFailed(f"{one.statement['customer']} does not show its own row {text!r} at {path}")
                try:
                    answer = two.get(path)
                except urllib.error.HTTPError as error:
                    answer = error.read().decode().replace(text, "", 1)  # an error repeats the question
                if text in answer:
                    raise VerifyFailed(
                        f"{two.statement['customer']} shows a row of {one.statement['customer']}: {text}"
                    )
                tried += 1
            try:
                two.get("/tables", key=one.key)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
            else:
                raise VerifyFailed(f"{two.statement['customer']} takes a key of {one.statement['customer']}")
        if not tried:
            raise VerifyFailed("no table has a key that tells two customers apart: nothing could be asked")
        return f"{tried} rows shown by their owner and by no other; keys are refused"

    def own_rows(self) -> list[tuple[str, str]]:
        """Return (path, text that stands in its answer) of a row of some tables."""
        found = []
        for table in json.loads(self.get("/tables"))["tables"]:
            key = table["key"][0] if table["key"] else None
            rows = json.loads(self.get(f"/tables/{table['name']}/rows?limit=1"))["rows"] if key else []
            # Days and hashes of texts may be the same for two customers; a key that people made may not.
            if rows and isinstance(rows[0][key], str) and not COMMON.fullmatch(rows[0][key]):
                quoted = quote(rows[0][key], safe="")
                found.append((f"/tables/{table['name']}/rows?{key}={quoted}", rows[0][key]))
        return found

    def restart(self) -> str:
        """Start it again: what is in the state volume stays."""
        self._call("restart")
        self._call("up", "--detach", "--wait")
        self.get("/tables")
        return "the same key is taken"

    def stop(self) -> str:
        """Stop it and read the exit code."""
        name = self._call("ps", "--quiet").stdout.split()[0]
        code = self._engine.stop(name)
        if code:
            raise VerifyFailed(f"exit code {code}")
        return "exit code 0"

    def take_away(self) -> None:
        """Leave nothing behind but the loaded image's layers that others use."""
        if self._folder.is_dir() and self._compose:
            self._call("down", "--volumes", "--timeout", "20", check=False)
            self._engine.forget(self._compose["services"]["cradle"]["image"])

    def get(self, path: str, key: str | None = None) -> str:
        """Return the text of an answer."""
        given = self.key if key is None else key
        request = urllib.request.Request(f"http://127.0.0.1:{self.statement['port_base'] + names.API}{path}")
        if given:
            request.add_header("Authorization", f"Bearer {given}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def _exec(self, *arguments: str) -> str:
        name = self._call("ps", "--quiet").stdout.split()[0]
        done = self._engine.ask(name, *arguments)
        if done.returncode:
            raise VerifyFailed((done.stdout or done.stderr).strip()[-400:])
        return done.stdout

    def _call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        project = f"cradle-deploy-test-{os.getpid()}-{self._folder.name}"
        named = ("compose", "--project-name", project, "--file", "compose.yaml")
        done = self._engine.call(*named, *arguments, folder=self._folder, variables={"HEALTH_INTERVAL": "1s"})
        if check and done.returncode:
            raise VerifyFailed(f"{' '.join(arguments)}: {done.stderr.strip()[-400:]}")
        return done


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
