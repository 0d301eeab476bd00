"""Keys, tokens, roles, rates and the audit of the data API, where access is checked."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cradle.access import FILE, new_key, read_keys, write_keys
from cradle.errors import ConfigError, Unavailable
from cradle.manifest import read_manifest
from cradle.serve import audit
from cradle.serve.app import create_app
from cradle.serve.bounds import Bounds
from cradle.serve.tokens import FILE as SECRET

pytestmark = pytest.mark.integration
ORDERS = "/tables/marts.orders/rows"


class Service:
    """A service with a key of each role."""

    def __init__(self, root: Path, state: Path, **bounds: Any) -> None:
        self.state = state
        self.reader, reader = new_key("reader", "web shop")
        self.admin, admin = new_key("admin")
        self.ids = {"reader": reader.id, "admin": admin.id}
        write_keys(state, [reader, admin])
        app = create_app(root, state=state, access=True, bounds=Bounds(**bounds))
        self.client = TestClient(app, raise_server_exceptions=False)

    def get(self, path: str, key: str | None = None, **more: Any) -> Any:
        return self.send("GET", path, key, **more)

    def send(self, method: str, path: str, key: str | None = None, **more: Any) -> Any:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.state / audit.FILE).read_text().splitlines()]


@pytest.fixture
def service(root: Path, tmp_path: Path) -> Iterator[Service]:
    made = Service(root, tmp_path / "state")
    with made.client:
        yield made


def test_only_the_state_is_open(service: Service) -> None:
    assert service.get("/health").status_code == 200
    document = service.get("/openapi.json", service.reader).json()
    paths = {path.replace("{table}", "orders") for path in document["paths"]} - {"/health", "/ready", "/metrics"}
    assert len(paths) >= 9
    for path in [*paths, "/nowhere", "/health/", "//health", "/health/../stats", "/HEALTH"]:
        for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
            answer = service.send(method, path)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD":
                assert answer.headers["content-type"] == "application/problem+json"
    assert {tuple(one) for one in document["paths"][ORDERS.replace("marts.orders", "{table}")]["get"]["security"]} == {
        ("bearer",),
        ("key",),
    }
    assert "security" not in document["paths"]["/health"]["get"]


def test_a_key_opens_by_either_header(service: Service) -> None:
    assert service.get(ORDERS, service.reader).status_code == 200
    assert service.get(ORDERS, headers={"X-API-Key": service.reader}).status_code == 200
    assert service.get(ORDERS, headers={"Authorization": f"bearer {service.reader}"}).status_code == 200
    both = {"Authorization": "Bearer wrong", "X-API-Key": service.reader}
    assert service.get(ORDERS, headers=both).status_code == 401


def forged(service: Service, **changed: Any) -> dict[str, str]:
    """Return tokens that each differ from a good one in one thing."""
    secret = bytes.fromhex((service.state / SECRET).read_text())
    begin = int(time.time())
    good = {"iss": "cradle", "aud": "demo", "sub": service.ids["reader"], "iat": begin, "exp": begin + 60}
    signed = {
        "good": good,
        "another customer": {**good, "aud": "eaton"},
        "another issuer": {**good, "iss": "else"},
        "expired": {**good, "iat": begin - 999, "exp": begin - 60},
        "not yet": {**good, "iat": begin + 999},
        "unknown key": {**good, "sub": "000000000000"},
        "without end": {name: value for name, value in good.items() if name != "exp"},
        "without customer": {name: value for name, value in good.items() if name != "aud"},
    }
    made = {name: jwt.encode(claims, secret, "HS256") for name, claims in signed.items()}
    made["another secret"] = jwt.encode(good, b"x" * 32, "HS256")
    made["another algorithm"] = jwt.encode(good, secret * 2, "HS512")
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    made["no algorithm"] = f"{head}.{made['good'].split('.')[1]}."
    made["cut"] = made["good"][:-2]
    made["long"] = made["good"] + "x" * 1_000_000
    return made


def test_what_is_no_valid_key_or_token_is_refused_with_one_message(service: Service) -> None:
    tokens = forged(service)
    assert service.get(ORDERS, tokens.pop("good")).status_code == 200
    other, _ = new_key("admin")
    keys = {"other": other, "cut": service.reader[:-1], "changed": service.reader[:-3] + "___", "empty": "", "é": "é"}
    messages = set()
    for name, wrong in {**tokens, **keys}.items():
        answer = service.get(ORDERS, headers={"Authorization": f"Bearer {wrong}".encode()})
        assert answer.status_code == 401, name
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        messages.add(answer.json()["detail"])
    assert len(messages) == 1
    assert service.get(ORDERS, headers={"Authorization": f"Basic {service.reader}"}).status_code == 401


def test_a_token_stands_for_its_key_until_that_is_revoked(service: Service) -> None:
    made = service.send("POST", "/auth/token", service.reader).json()
    assert (made["token_type"], made["expires_in"], made["role"]) == ("bearer", 900, "reader")
    token = made["access_token"]
    assert service.get(ORDERS, token).status_code == 200
    assert service.send("POST", "/auth/token", token).status_code == 403
    assert service.send("DELETE", f"/auth/keys/{service.ids['reader']}", service.admin).status_code == 200
    assert service.get(ORDERS, token).status_code == 401
    assert service.get(ORDERS, service.reader).status_code == 401


def test_keys_are_for_administrators_and_shown_once(service: Service) -> None:
    wanted = {"role": "reader", "name": "second shop"}
    for method, path in (
        ("GET", "/auth/keys"),
        ("POST", "/auth/keys"),
        ("DELETE", f"/auth/keys/{service.ids['admin']}"),
    ):
        answer = service.send(method, path, service.reader, json=wanted)
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    made = service.send("POST", "/auth/keys", service.admin, json=wanted)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    key = made.json()["key"]
    assert service.get(ORDERS, key).status_code == 200
    listed = service.get("/auth/keys", service.admin)
    assert {one["name"] for one in listed.json()["keys"]} == {"web shop", "", "second shop"}
    kept = (service.state / FILE).read_text()
    for shown in (kept, listed.text):
        assert key not in shown
        assert key.split("_", 2)[2] not in shown
    assert hashlib.sha256(key.split("_", 2)[2].encode()).hexdigest() in kept
    assert (service.state / FILE).stat().st_mode & 0o077 == 0
    assert service.send("POST", "/auth/keys", service.admin, json={"role": "owner"}).status_code == 422
    assert service.send("DELETE", "/auth/keys/000000000000", service.admin).status_code == 404


def test_the_last_administrator_can_not_be_revoked(service: Service) -> None:
    own = f"/auth/keys/{service.ids['admin']}"
    assert service.send("DELETE", own, service.admin).status_code == 409
    second = service.send("POST", "/auth/keys", service.admin, json={"role": "admin"}).json()
    assert service.send("DELETE", own, second["key"]).json()["revoked_at"]
    assert service.get("/auth/keys", service.admin).status_code == 401


def test_keys_that_others_write_count_at_once(service: Service) -> None:
    key, record = new_key("reader")
    assert service.get(ORDERS, key).status_code == 401
    write_keys(service.state, [*read_keys(service.state), record])
    assert service.get(ORDERS, key).status_code == 200
    (service.state / FILE).unlink()
    assert service.get(ORDERS, key).status_code == 401


def test_a_damaged_file_of_keys_lets_nobody_in(service: Service, root: Path) -> None:
    (service.state / FILE).write_text('{"format":1,"keys":[{}]}')
    for key in (service.admin, new_key("admin")[0]):
        answer = service.get(ORDERS, key)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert str(service.state) not in answer.text
    assert service.get("/health").status_code == 200
    with pytest.raises(Unavailable, match="damaged"):
        create_app(root, state=service.state, access=True)


def test_each_key_has_a_rate_of_its_own(root: Path, tmp_path: Path) -> None:
    service = Service(root, tmp_path, rate="5/hour")
    token = service.send("POST", "/auth/token", service.reader).json()["access_token"]
    assert [service.get(ORDERS, key).status_code for key in (service.reader, token) * 3] == [200] * 4 + [429] * 2
    refused = service.get(ORDERS, service.reader, headers={"X-Forwarded-For": "10.1.1.1"})
    assert refused.status_code == 429
    assert 3000 < int(refused.headers["retry-after"]) <= 3600
    assert refused.json()["title"] == "Too Many Requests"
    assert service.get(ORDERS, service.admin).status_code == 200
    assert service.get("/health").status_code == 200
    assert [line["status"] for line in service.audited()] == [200] * 5 + [429] * 3 + [200]


def test_each_request_that_needs_a_key_leaves_one_line_without_a_secret(service: Service, root: Path) -> None:
    service.get("/health")
    service.get(ORDERS, service.reader, params={"limit": 3, "region": "South"})
    service.get(ORDERS, service.reader, params={"format": "csv", "limit": 700})
    service.get(ORDERS)
    service.get("/nowhere", service.reader, params={"api_key": service.reader, "q": f"see {service.admin}!"})
    token = service.send("POST", "/auth/token", service.admin).json()["access_token"]
    service.get(f"/products/{token}", token)
    lines = service.audited()
    assert [(line["status"], line["rows"]) for line in lines] == [
        (200, 3),
        (200, 700),
        (401, None),
        (404, None),
        (200, None),
        (404, None),
    ]
    assert lines[0]["query"] == {"limit": "3", "region": "South"}
    roles = [line["role"] for line in lines]
    assert roles == ["reader", "reader", None, "reader", "admin", "admin"]
    assert lines[0]["key"] == service.ids["reader"]
    assert {line["release"] for line in lines} == {read_manifest(root).release_id}
    wanted = {"time", "key", "role", "method", "path", "query", "status", "rows", "seconds", "release"}
    assert all(set(line) == wanted for line in lines)
    text = (service.state / audit.FILE).read_text()
    for secret in (service.reader, service.admin, token, service.reader.split("_", 2)[2]):
        assert secret not in text


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=20), value=st.text(max_size=20))
def test_no_key_stands_in_what_is_audited(name: str, value: str) -> None:
    from urllib.parse import quote

    key, _ = new_key("reader")
    found = json.dumps(audit.safe_query(f"{quote(name + key)}={quote(value + key + value)}"))
    assert key.split("_", 2)[2] not in found


def test_a_state_folder_that_can_not_be_written_costs_the_audit_and_not_the_answers(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    service = Service(root, tmp_path / "state")
    (service.state / audit.FILE).symlink_to("/dev/full")
    assert service.get(ORDERS, service.reader).status_code == 200
    told = capfd.readouterr()
    assert "the audit log can't be written" in told.out + told.err
    assert service.ids["reader"] in told.out + told.err
    shutil.rmtree(service.state)
    service.state.write_text("no folder")  # nothing can be made below it, whoever runs this
    assert service.get(ORDERS, service.reader).status_code == 503  # its keys are unknown; it stays closed


def test_keys_can_not_be_made_where_nothing_can_be_written(root: Path, tmp_path: Path) -> None:
    service = Service(root, tmp_path / "state")
    before = (service.state / FILE).read_bytes()
    (service.state / ".keys.lock").mkdir()
    answer = service.send("POST", "/auth/keys", service.admin, json={"role": "reader"})
    assert answer.status_code == 503
    assert "can't be written" in answer.json()["detail"]
    assert (service.state / FILE).read_bytes() == before
    assert service.get(ORDERS, service.reader).status_code == 200
    with pytest.raises(Unavailable, match="can't be written"):
        write_keys(tmp_path / "state" / FILE, [])


def test_without_a_place_for_the_secret_tokens_end_with_the_process(root: Path, tmp_path: Path) -> None:
    (tmp_path / SECRET).mkdir(parents=True)
    service = Service(root, tmp_path)
    token = service.send("POST", "/auth/token", service.reader).json()["access_token"]
    assert service.get(ORDERS, token).status_code == 200
    with TestClient(create_app(root, state=tmp_path, access=True)) as other:
        assert other.get(ORDERS, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_access_needs_a_state_folder_and_without_it_all_is_open(root: Path) -> None:
    with pytest.raises(ConfigError, match="state folder"):
        create_app(root, access=True)
    with TestClient(create_app(root)) as client:
        assert client.get(ORDERS).status_code == 200
        assert client.post("/auth/token").status_code == 404
