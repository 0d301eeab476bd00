"""Customers' files: what is refused, what the hash covers, what a change says."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import get_args

import pytest
import yaml

from cradle.config import PROJECT, Settings, load_settings
from cradle.customers import Operation, load_customer, parse_customer
from cradle.errors import ConfigError, UnknownCustomer
from cradle.installation import changed_fields, installation_hash
from cradle.reconcile.findings import Kind

EXAMPLES = sorted(path.stem for path in (PROJECT / "data" / "customers").glob("*.yaml"))


@pytest.mark.parametrize("name", ["demo", "eaton", "lightnet"])
def test_every_example_is_valid(name: str) -> None:
    assert name in EXAMPLES
    assert load_customer(PROJECT / "data" / "customers", name).customer == name


def test_an_unknown_customer_is_answered_with_the_known_ones(settings: Settings) -> None:
    with pytest.raises(UnknownCustomer, match=r"'eatn' is unknown\. Known: demo, eaton, lightnet"):
        load_customer(settings.customers, "eatn")


@pytest.mark.parametrize("name", ["../demo", "DEMO", "demo/x", "", "*", "démo"])
def test_a_name_that_is_a_path_or_a_glob_is_no_customer(settings: Settings, name: str) -> None:
    with pytest.raises(UnknownCustomer):
        load_customer(settings.customers, name)


def demo() -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((PROJECT / "data" / "customers" / "demo.yaml").read_text())
    return loaded


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda yaml: yaml["installation"]["sources"][0].update(delimeter=";"), "installation.sources.0.delimeter"),
        (lambda yaml: yaml["installation"]["sources"][0].update(format="xls"), "installation.sources.0.format"),
        (lambda yaml: yaml["installation"]["sources"][0].update(key=["nr"]), "key nr is not among its columns"),
        (lambda yaml: yaml["installation"]["sources"][3].update(role="products", key=[]), "give all of them one key"),
        (lambda yaml: yaml["operation"].update(timezone="Berlin"), "'Berlin' is not a time zone"),
        (lambda yaml: yaml.update(customer="De mo"), "customer 'De mo' is not a name"),
        (lambda yaml: yaml.pop("installation"), "installation: Field required"),
    ],
)
def test_a_typo_is_named_with_its_place_and_value(spoil: object, place: str) -> None:
    content = demo()
    spoil(content)  # type: ignore[operator]
    with pytest.raises(ConfigError) as error:
        parse_customer(content, "demo.yaml")
    assert place in str(error.value)


def test_broken_yaml_names_file_and_line(settings: Settings) -> None:
    (settings.customers / "demo.yaml").write_text("customer: demo\n  installation: [")
    with pytest.raises(ConfigError, match=r"demo\.yaml is not valid YAML(?s:.)*line 2"):
        load_customer(settings.customers, "demo")


def test_operation_is_not_hashed_and_installation_is() -> None:
    content = demo()
    before = parse_customer(content, "x").params_hash
    content["operation"]["schedule"] = "0 4 * * *"  # type: ignore[index]
    assert parse_customer(content, "x").params_hash == before
    content["installation"]["chunking"]["max_chars"] = 601  # type: ignore[index]
    assert parse_customer(content, "x").params_hash != before


def test_a_value_equal_to_its_default_changes_no_hash() -> None:
    content = demo()
    before = parse_customer(content, "x")
    content["installation"]["sources"][0]["dialect"]["quote"] = '"'  # type: ignore[index]
    assert installation_hash(parse_customer(content, "x").installation) == before.params_hash


def test_changed_fields_are_named_with_both_values() -> None:
    old = {"sources": [{"name": "a", "delimiter": ","}], "n": 1}
    new = {"sources": [{"name": "a", "delimiter": ";"}], "n": 1}
    assert changed_fields(old, new) == ['installation.sources[0].delimiter: "," → ";"']


def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRADLE_HOMEE", str(tmp_path))
    with pytest.raises(ConfigError, match="unknown setting CRADLE_HOMEE"):
        load_settings()


def test_a_wrong_setting_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRADLE_THREADS", "none")
    with pytest.raises(ConfigError, match="CRADLE_THREADS='none'"):
        load_settings()


def test_the_examples_of_alerts_in_the_docs_are_valid() -> None:
    page = (PROJECT / "docs" / "alerts.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = [parse_customer(demo() | yaml.safe_load(one), "alerts.md").operation for one in snippets]
    assert [one.alerts.email[0] for one in found] == ["nights@example.com"] * 2
    assert [one.alerts.webhook for one in found] == [True, False]
    assert [one.image_by for one in found] == [time(6), None]


def test_the_page_on_customers_names_every_field_of_the_block_operation() -> None:
    page = (PROJECT / "docs" / "customers.md").read_text(encoding="utf-8")
    assert not [name for name in Operation.model_fields if f"`{name}`" not in page]


def test_the_runbook_names_every_finding() -> None:
    page = (PROJECT / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert not [kind for kind in get_args(Kind) if f"\n| {kind} |" not in page]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alerts": ["nobody"]}, "'nobody' is not an e-mail address"),
        ({"alerts": {"email": ["a@b.c\nBcc: d@e.f"]}}, "is not an e-mail address"),
        ({"alerts": {"webhook": "https://hooks.example.com/T0/B0/x"}}, "is not the name of a webhook"),
        ({"alerts": {"mail": ["a@b.c"]}}, "operation.alerts.mail"),
        ({"image_by": "25:00"}, "'25:00' is not a time of day"),
        ({"image_by": 960}, "960 is not a time of day; write it in quotes"),
        ({"image_by": 21600}, "write it in quotes"),
    ],
)
def test_wrong_alerts_are_refused_with_what_is_allowed(given: dict[str, object], said: str) -> None:
    content = demo()
    content["operation"] = given
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_customer(content, "demo.yaml")
