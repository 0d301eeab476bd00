"""What is proposed for a new customer's files, and that it reads them whole."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from cradle.config import Settings
from cradle.customers import parse_customer
from cradle.errors import InputError
from cradle.installation import Source
from dlt_pipelines.inbox import matching
from dlt_pipelines.reading.look import Look, look, to_yaml
from tests.reading import read_original

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("CRADLE_HOME", str(settings.home))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for a customer's files."""
    path = tmp_path / "files"
    path.mkdir()
    return path


def proposed(folder: Path) -> Look:
    """Look at a folder; what is written as YAML must load again, and each file belong to one source or be left out."""
    seen = look(folder, "acme")
    assert parse_customer(yaml.safe_load(to_yaml(seen)), "acme.yaml") == seen.customer
    taken = [path for source in seen.customer.installation.sources for path in matching(folder, source)]
    everything = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted({*taken, *seen.left_out}) == sorted(everything)
    return seen


def only(seen: Look) -> Source:
    (source,) = seen.customer.installation.sources
    return source


def mapping(source: Source) -> dict[str, tuple[str, str]]:
    return {column.name: (column.delivered_as, column.type) for column in source.columns}


def test_real_sales_that_nobody_here_wrote(folder: Path, corpus: Path, settings: Settings) -> None:
    original = corpus / "8-sales" / "MicrosoftLearning__dp-data" / "sales.csv"
    (folder / "sales.csv").symlink_to(original)
    source = only(proposed(folder))
    assert (source.role, source.key) == ("sales", ("order_id", "order_line"))
    assert mapping(source)["customer_id"] == ("EmailAddress", "text")
    rows = read_original(original, source, settings, source_file="sales.csv").rows.to_pydict()
    total = sum(Decimal(one) * Decimal(price) for one, price in zip(rows["quantity"], rows["amount"], strict=True))
    assert (len(rows["order_id"]), total) == (32_718, Decimal("20928022.4307"))
    assert (len(set(rows["order_id"])), len(set(rows["product"]))) == (16_459, 130)


def test_german_sales_with_decimal_commas_and_a_code_page(folder: Path) -> None:
    lines = ["Auftragsnummer;Position;Kundennummer;Bestelldatum;Artikel;Menge;Einzelpreis;Verkaufsgebiet"]
    lines += [f"00{at};1;K{at};{at:02d}.03.2024;Möbel {at};{at};1.{at:03d},50;Süd" for at in range(1, 20)]
    (folder / "Verkäufe.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    source = only(proposed(folder))
    assert (source.role, source.key) == ("sales", ("order_id",))
    dialect = source.dialect
    assert (dialect.encoding, dialect.delimiter, dialect.decimal, dialect.thousands) == ("cp1252", ";", ",", ".")
    assert dialect.date_format == "%d.%m.%Y"
    assert mapping(source) == {
        "order_id": ("Auftragsnummer", "text"),
        "order_line": ("Position", "integer"),
        "customer_id": ("Kundennummer", "text"),
        "order_date": ("Bestelldatum", "date"),
        "product": ("Artikel", "text"),
        "quantity": ("Menge", "integer"),
        "amount": ("Einzelpreis", "decimal"),
        "region": ("Verkaufsgebiet", "text"),
    }


def test_products_documents_and_files_without_a_parser(folder: Path) -> None:
    (folder / "items.csv").write_text("Artikelnummer,Bezeichnung,EAN,Gewicht\n007,Lampe,4711081512345,1.5\n008,,1,2\n")
    (folder / "guide.md").write_text("# Guide\ntext")
    (folder / "drawing.dwg").write_bytes(b"AC1032")
    seen = proposed(folder)
    products, guides = sorted(seen.customer.installation.sources, key=lambda one: one.role, reverse=True)
    assert (products.role, products.key, guides.role, guides.format) == ("products", ("sku",), "documents", "markdown")
    assert mapping(products)["sku"] == ("Artikelnummer", "text")
    assert mapping(products)["name"] == ("Bezeichnung", "text")
    assert seen.left_out == ("drawing.dwg",)
    assert "# Left out, no parser yet: drawing.dwg" in to_yaml(seen)


def test_daily_files_with_one_header_become_one_source(folder: Path) -> None:
    for day in range(1, 4):
        text = f"order_id,order_date,quantity,price\n{day},2024-03-0{day},1,2.5\n"
        (folder / f"2024-03-0{day}.csv").write_text(text)
    source = only(proposed(folder))
    assert (source.role, source.files) == ("sales", ("*.csv",))


def test_a_type_is_told_from_every_value(folder: Path) -> None:
    count = 3000
    rows = [f"{at},{at},{at}.5,2024-01-01,0{at},{at}E5" for at in range(1, count)]
    rows.append("x,1.5,n/a,2024-13-01,1,1")
    (folder / "odd.csv").write_text("late_text,late_decimal,late_na,late_date,zeros,codes\n" + "\n".join(rows))
    types = {name: kind for name, (_, kind) in mapping(only(proposed(folder))).items()}
    assert types == {
        "late_text": "text",
        "late_decimal": "decimal",
        "late_na": "text",
        "late_date": "text",
        "zeros": "text",
        "codes": "text",
    }


def test_a_folder_without_readable_files(folder: Path) -> None:
    (folder / "a.pdf").write_bytes(b"%PDF")
    (folder / "b.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 2 files can be read\. Readable are \.csv"):
        look(folder, "acme")


@pytest.mark.parametrize("name", ["a.json", "a.xlsx", "a.parquet", "a.jsonl", "a.csv"])
def test_a_broken_file_beside_a_good_one_is_left_out_and_noted(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x00\xff{broken")
    (folder / "good.csv").write_text("x,y\n1,2\n")
    seen = proposed(folder)
    assert name in seen.left_out
    assert [source.files for source in seen.customer.installation.sources] == [("good.csv",)]
