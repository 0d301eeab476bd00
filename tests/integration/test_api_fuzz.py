"""Requests made from the API's own description: none breaks the service, and every answer is as described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from cradle.access import new_key, write_keys
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.problems import OPEN

pytestmark = pytest.mark.integration
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)
ROUTES = (
    "/health",
    "/ready",
    "/metrics",
    "/stats",
    "/tables",
    "/tables/{table}/rows",
    "/delta/tables",
    "/delta/query/{table}",
    "/lance/datasets",
    "/documents/{document_id}/original",
    "/release-notes",
    "/products/{sku}",
    "/search",
    "/sql",
    "/auth/token",
    "/auth/keys",
    "/auth/keys/{key_id}",
)


@pytest.fixture(scope="module")
def described(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, str]]:
    """The description of a service with access, read from itself, and what opens it."""
    state = tmp_path_factory.mktemp("state")
    key, record = new_key("admin")
    write_keys(state, [record])
    headers = {"Authorization": f"Bearer {key}"}
    app = create_app(root, state=state, access=True, bounds=Bounds(rate="1000000/minute"))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers), headers


def test_every_route_is_tried(described: tuple[Any, dict[str, str]]) -> None:
    schema, _ = described
    assert set(schema.raw_schema["paths"]) == set(ROUTES)


GOOD = [(path, GenerationMode.POSITIVE) for path in ROUTES]
BAD = [(path, GenerationMode.NEGATIVE) for path in ROUTES if path not in OPEN]  # those take nothing that could be wrong


@pytest.mark.parametrize(("path", "mode"), [*GOOD, *BAD])
def test_no_request_breaks_the_service_and_each_answer_is_as_described(
    described: tuple[Any, dict[str, str]], path: str, mode: GenerationMode
) -> None:
    schema, headers = described
    for operation in [one.ok() for one in schema.get_all_operations()]:
        if operation.path == path:

            @settings(
                max_examples=40,
                derandomize=True,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def tried(case: Any) -> None:
                case.validate_response(case.call(headers=headers), checks=CHECKS)

            tried()


@pytest.mark.parametrize("sql", ["select * from orders", "select 1 as a", "select nope", "drop view orders", "x" * 9])
def test_answers_to_statements_are_as_described(described: tuple[Any, dict[str, str]], sql: str) -> None:
    schema, headers = described
    case = schema["/sql"]["POST"].Case(body={"sql": sql, "limit": 5}, media_type="application/json")
    case.validate_response(case.call(headers=headers), checks=CHECKS)


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet", "arrow"])
def test_rows_in_every_format_are_as_described(described: tuple[Any, dict[str, str]], kind: str) -> None:
    schema, headers = described
    operation = schema["/tables/{table}/rows"]["GET"]
    case = operation.Case(path_parameters={"table": "orders"}, query={"format": kind, "limit": 3})
    case.validate_response(case.call(headers=headers), checks=CHECKS)


def test_the_checks_can_fail(described: tuple[Any, dict[str, str]]) -> None:
    schema, headers = described
    case = schema["/stats"]["GET"].Case()
    answer = case.call(headers=headers)
    answer.status_code = 500
    with pytest.raises(FailureGroup):
        case.validate_response(answer, checks=CHECKS)
