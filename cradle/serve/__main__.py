"""The one entry point of the container; what is not needed is not imported, so that a health check costs little.

Run:  python -m cradle.serve [serve | health | verify | questions | apply] --help
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cradle import names
from cradle.errors import CradleError

ROOT = Path("/cradle")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    chosen = _parser().parse_args(arguments or ["serve"])
    try:
        return int(chosen.run(chosen))
    except CradleError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cradle", description="A customer's release: API, dashboards, verification.")
    commands = parser.add_subparsers(required=True)
    serve = _command(commands, "serve", _serve, "Serve the API and the dashboards until SIGTERM.")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on")
    serve.add_argument("--base", type=int, help="port base; API at + 2, dashboards at + 3; none: as baked")
    serve.add_argument("--state", type=Path, default=Path("/state"), help="the only writable folder: keys, audit")
    serve.add_argument("--access", action="store_true", help="ask for API keys")
    serve.add_argument("--keys", type=Path, help="keys.json with the first keys, for an empty state folder")
    serve.add_argument("--signature", type=Path, help="the publisher's signed statement, checked at start")
    serve.add_argument("--no-dashboards", dest="dashboards", action="store_false", help="the API alone")
    serve.add_argument("--threads", type=int, default=2, help="threads of DuckDB, of the encoder and of the index")
    health = _command(commands, "health", _health, "Exit with 0 when every service answers.")
    health.add_argument("--base", type=int, help="port base; none: as baked")
    _command(commands, "verify", _verify, "Hash every file of the image again.")
    questions = _command(commands, "questions", _questions, "Put the golden questions to the running service.")
    questions.add_argument("--base", type=int, help="port base; none: as baked")
    questions.add_argument("--key", help="API key, where the service asks for one")
    apply = _command(commands, "apply", _apply, "Turn the installed image into the next one, in an OCI layout.")
    apply.add_argument("delta", type=Path, help="the delta of the package")
    apply.add_argument("--layout", type=Path, required=True, help="folder of the image that is installed")
    apply.add_argument("--statement", type=Path, required=True, help="signature.json of the package")
    apply.add_argument("--trust", type=Path, help="signature.json that is installed: the publisher must be the same")
    return parser


def _command(commands: Any, name: str, run: object, about: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
    made.add_argument("--root", type=Path, default=ROOT, help="folder of the image's files")
    made.set_defaults(run=run)
    return made


def _serve(chosen: argparse.Namespace) -> int:
    from cradle.log import set_up
    from cradle.serve.container import run

    set_up(json=True)
    return run(
        chosen.root,
        host=chosen.host,
        base=chosen.base,
        state=chosen.state,
        access=chosen.access,
        keys=chosen.keys,
        signature=chosen.signature,
        dashboards=chosen.dashboards,
        threads=chosen.threads,
    )


def _health(chosen: argparse.Namespace) -> int:
    # Without the manifest's model: its validation needs longer than all else here.
    base = chosen.base or json.loads((chosen.root / "manifest.json").read_bytes())["port_base"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{base + names.API}/ready", timeout=8) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        print(error.read().decode())
    except OSError as error:
        print(f"the API does not answer on port {base + names.API}: {error}")
    return 1


def _verify(chosen: argparse.Namespace) -> int:
    from cradle.log import set_up
    from cradle.manifest import read_manifest
    from cradle.serve.integrity import Integrity

    set_up(json=True)
    manifest = read_manifest(chosen.root)
    files = Integrity(chosen.root, manifest)
    files.check_start()
    if not files.damage:
        files.check_rest()
    print(json.dumps({"verified": not files.damage, "files": len(manifest.files), "problem": files.damage}))
    return 1 if files.damage else 0


def _questions(chosen: argparse.Namespace) -> int:
    from cradle.manifest import read_manifest
    from cradle.serve.questions import ask

    manifest = read_manifest(chosen.root)
    answers = ask(f"http://127.0.0.1:{(chosen.base or manifest.port_base) + names.API}", manifest, chosen.key)
    print(json.dumps(answers))
    return 0 if all(answer["ok"] for answer in answers) else 1


def _apply(chosen: argparse.Namespace) -> int:
    from cradle.delivery.installed import apply

    image, name = apply(chosen.delta, chosen.layout, chosen.statement, chosen.trust)
    print(json.dumps({"image": image, "name": name, "next": f"tar -cf - -C {chosen.layout} . | docker load"}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
