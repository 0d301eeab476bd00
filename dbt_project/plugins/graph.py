"""The graph of models and tests that Airflow shows: what Cosmos reads of a dbt manifest, free of times and paths.

dbt writes a megabyte with every parse; the nights of all customers read these few lines.

Flow: dbt parse → dbt_manifest.json (`make docs`) → tasks of a night
"""

from __future__ import annotations

import json
import tempfile
from typing import Any

from dbt_project.plugins.invoke import FOLDER

MANIFEST = FOLDER / "dbt_manifest.json"
KEPT = ("resource_type", "package_name", "original_file_path", "fqn", "tags")


def dbt_manifest() -> str:
    """Parse the project and return the content of `dbt_manifest.json`."""
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory() as folder:
        options = ["--project-dir", str(FOLDER), "--profiles-dir", str(FOLDER), "--target-path", folder]
        parsed = dbtRunner().invoke(["parse", *options, "--log-path", folder, "--quiet"])
    if parsed.exception:
        raise parsed.exception
    whole = parsed.result.to_dict()
    nodes = [f' "{name}": {json.dumps(_node(node))}' for name, node in sorted(whole["nodes"].items())]
    project = json.dumps({"project_name": whole["metadata"]["project_name"]})
    return f'{{"metadata": {project}, "nodes": {{\n' + ",\n".join(nodes) + "\n}}\n"


def _node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {name: node[name] for name in KEPT}
    above = sorted(one for one in node["depends_on"]["nodes"] if one.startswith("model."))
    return {**kept, "depends_on": {"nodes": above}}
