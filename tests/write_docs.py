"""Writes the pages of the docs that come from the code; a test holds the files against it.

Run:  make docs
"""

from __future__ import annotations

import json
from pathlib import Path

import typer

from cradle.config import PROJECT, Settings
from cradle.errors import EXIT_CODES
from cradle.manifest import Manifest

CLI = PROJECT / "docs" / "cli.md"
SCHEMA = PROJECT / "docs" / "manifest.schema.json"
SETTINGS = PROJECT / ".env.example"


def cli_page() -> str:
    """Return the reference of the command line."""
    from cradle.cli import app

    lines = ["# Command line", "", "Written by `make docs` from the code.", ""]
    root = typer.main.get_command(app)
    lines += [str(root.help), "", "| exit code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        children = getattr(command, "commands", None)
        for path, one in (
            [(f"{name} {child}", made) for child, made in children.items()] if children else [(name, command)]
        ):
            lines += _command(path, one)
    return "\n".join(lines) + "\n"


def _command(path: str, command: object) -> list[str]:
    text, _, example = str(command.help).partition("Example: ")  # type: ignore[attr-defined]
    lines = ["", f"## cradle {path}", "", " ".join(text.split()), "", "```", example.strip(), "```", ""]
    lines += ["| argument | default | meaning |", "|---|---|---|"]
    for one in command.params:  # type: ignore[attr-defined]
        if one.name != "help":
            shown = f"`{max(one.opts, key=len)}`" if one.param_type_name == "option" else f"`{one.name.upper()}`"
            default = "required" if one.required else "–" if one.default in (None, False) else f"`{one.default}`"
            lines.append(f"| {shown} | {default} | {one.help or ''} |")
    return lines


def settings_page() -> str:
    """Return the settings with their defaults, as a file of variables."""
    lines = ["# Settings of Cradle, all optional. Written by `make docs` from cradle/config.py."]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = default.relative_to(PROJECT) if isinstance(default, Path) else default
        lines += ["", f"# {field.description or name}", f"# CRADLE_{name.upper()}={'' if shown is None else shown}"]
    return "\n".join(lines) + "\n"


def manifest_schema() -> str:
    """Return the JSON schema of the release manifest."""
    return json.dumps(Manifest.model_json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    from dbt_project.plugins import graph

    graph.MANIFEST.write_text(graph.dbt_manifest(), encoding="utf-8")
    SCHEMA.write_text(manifest_schema(), encoding="utf-8")
    CLI.write_text(cli_page(), encoding="utf-8")
    SETTINGS.write_text(settings_page(), encoding="utf-8")
