"""Rules that the design sets and a machine can hold: light imports, sizes, names, docs that follow the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cradle.config import PROJECT
from tests import write_docs

HEAVY = ("torch", "dlt", "pandas", "chromadb", "pyarrow", "duckdb", "pyiceberg", "airflow", "dbt", "streamlit", "faiss")
FOLDERS = ("cradle", "dags", "dlt_pipelines", "dbt_project", "streamlit_apps")
MODULES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py"))
BANNED_NAMES = {"utils", "helpers", "common", "manager", "misc"}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after some code."""
    tail = "; import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + tail], cwd=PROJECT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy() -> None:
    assert not loaded_by("import cradle.cli.main") & set(HEAVY)


def test_the_rule_on_imports_can_fail() -> None:
    assert "pyarrow" in loaded_by("import cradle.catalog")


@pytest.mark.parametrize(
    "module", ["cradle.serve.app", "cradle.serve.container", "cradle.search", "cradle.vectors.flat", "cradle.manifest"]
)
def test_what_goes_into_the_image_needs_the_serve_extra_alone(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert not loaded & {
        "torch",
        "pyiceberg",
        "chromadb",
        "dlt",
        "dbt",
        "airflow",
        "streamlit",
        "sentence_transformers",
    }


def test_modules_and_functions_stay_small() -> None:
    assert len(MODULES) > 50
    long_modules, long_functions = [], []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(PROJECT))
        if len(text.splitlines()) > 300:
            long_modules.append(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno + 1 > 40:
                long_functions.append(f"{name}:{node.name}")
    assert not long_modules
    assert not long_functions


def test_no_module_is_called_what_says_nothing() -> None:
    assert not [path for path in MODULES if path.stem in BANNED_NAMES]


def test_every_module_says_what_it_is() -> None:
    bare = [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not bare


def test_dag_files_stay_within_eighty_lines() -> None:
    files = sorted((PROJECT / "dags").glob("*.py"))
    assert files
    assert not [path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 80]


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    assert write_docs.CLI.read_text(encoding="utf-8") == write_docs.cli_page(), "run `make docs`"


def test_the_list_of_settings_is_up_to_date() -> None:
    assert write_docs.SCHEMA.read_text(encoding="utf-8") == write_docs.manifest_schema(), "run `make docs`"
    assert write_docs.SETTINGS.read_text(encoding="utf-8") == write_docs.settings_page(), "run `make docs`"


def test_every_command_has_help_with_an_example() -> None:
    page = write_docs.cli_page()
    for command in ("ingest", "build", "chunk", "embed", "index", "release", "bake", "verify", "serve", "night"):
        assert re.search(rf"## cradle {command}\n\n\S.*\n\n```\ncradle {command}", page), command


def pages() -> list[Path]:
    return sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    """Commands of `cradle` and targets of `make`, as far as they stand in blocks of code."""
    known = set(re.findall(r"^## cradle (.+)$", write_docs.cli_page(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for block in re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            words = line.split("#")[0].split()
            if words[:1] == ["cradle"] and len(words) > 1 and not words[1].startswith("-"):
                assert words[1] in known or " ".join(words[1:3]) in known, line
            if words[:1] == ["make"]:
                assert words[1] in targets, line


def test_locks_carry_hashes_and_no_address() -> None:
    for name in ("dev", "serve", "uv"):
        text = (PROJECT / "requirements" / f"{name}.txt").read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index-url", text)
