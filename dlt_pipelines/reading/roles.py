"""Tells from headers, in English and German, whether a table is sales or products, and which column is which."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from cradle import names
from cradle.installation import Column, ColumnType
from dlt_pipelines.reading.values import Kinds, always_filled, unique

# target column → headers without spaces and signs, best first
SALES: Final[dict[str, tuple[str, ...]]] = {
    "order_id": (
        "orderid", "ordernumber", "salesordernumber", "salesorderid", "orderno", "invoiceno", "invoicenumber", "invoice",
        "auftragsnummer", "auftragsnr", "bestellnummer", "bestellnr", "rechnungsnummer", "rechnungsnr", "belegnummer", "order",
    ),
    "order_line": (
        "orderline", "orderlinenumber", "salesorderlinenumber", "linenumber", "lineitem", "lineno", "position", "pos",
        "positionsnummer", "auftragsposition",
    ),
    "customer_id": (
        "customerid", "customernumber", "customerno", "clientid", "kundennummer", "kundennr", "kundenid", "email",
        "emailaddress", "customer", "kunde", "customername", "kundenname",
    ),
    "order_date": (
        "orderdate", "invoicedate", "date", "datum", "auftragsdatum", "bestelldatum", "rechnungsdatum", "salesdate",
        "transactiondate", "verkaufsdatum", "belegdatum",
    ),
    "product": (
        "product", "productname", "item", "itemname", "description", "stockcode", "produkt", "artikel", "artikelbezeichnung",
        "productid", "sku", "artikelnummer",
    ),
    "quantity": ("quantity", "qty", "orderqty", "units", "menge", "anzahl", "stueck", "stueckzahl"),
    "amount": (
        "amount", "unitprice", "price", "saleprice", "preis", "einzelpreis", "stueckpreis", "betrag", "listprice",
        "lineitemtotal",
    ),
    "region": ("region", "salesregion", "country", "state", "gebiet", "verkaufsgebiet", "land", "bundesland"),
}  # fmt: skip
SKU: Final = (
    "sku", "productid", "productcode", "productnumber", "articlenumber", "articleno", "itemnumber", "itemno", "partnumber",
    "partno", "artikelnummer", "artikelnr", "artnr", "materialnummer", "stockcode", "gtin", "ean", "id", "code",
)  # fmt: skip
NAME: Final = (
    "name", "productname", "title", "designation", "articlename", "itemname", "bezeichnung", "artikelbezeichnung",
    "produktname", "kurzbezeichnung", "model", "modell", "description", "beschreibung",
)  # fmt: skip
NEEDED: Final = ("order_date", "quantity", "amount")
Chosen = tuple[tuple[Column, ...], tuple[str, ...]]


def plain(header: str) -> str:
    """Return a header as it is compared: letters and digits only."""
    folded = header.lower().translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"})
    return re.sub(r"[^a-z0-9]", "", folded)


def _pick(headers: list[str], wanted: tuple[str, ...]) -> str | None:
    by_plain = {plain(header): header for header in reversed(headers)}
    return next((by_plain[one] for one in wanted if one in by_plain), None)


def sales_columns(values: pa.Table, kinds: Kinds) -> Chosen | None:
    """Return the mapped columns and the key if the table is sales, else None."""
    headers = list(values.column_names)
    found: dict[str, str] = {}
    for target, wanted in SALES.items():
        header = _pick([one for one in headers if one not in found.values()], wanted)
        if header is not None:
            found[target] = header
    dated = found.get("order_date") and kinds.types[found["order_date"]] in ("date", "timestamp")
    numbers = [found.get(name) and kinds.types[found[name]] in ("integer", "decimal", "double") for name in NEEDED[1:]]
    if not (dated and all(numbers) and "order_id" in found):
        return None
    key = _sales_key(values, found)
    types: dict[str, ColumnType] = {
        "order_line": "integer",
        "order_date": "date",
        "quantity": "integer",
        "amount": "decimal",
    }
    if "order_line" in found and kinds.types[found["order_line"]] != "integer":
        del found["order_line"]
        key = tuple(name for name in key if name != "order_line")
    columns = tuple(
        Column(
            name=target,
            header=header,
            type=types.get(target, "text"),
            required=target in key or (target in NEEDED and always_filled(values, header)),
            description=f"From {header}.",
        )
        for target, header in found.items()
    )
    return columns, key


def _sales_key(values: pa.Table, found: dict[str, str]) -> tuple[str, ...]:
    for key in (("order_id",), ("order_id", "order_line")):
        if all(name in found for name in key) and unique(values, tuple(found[name] for name in key)):
            return key
    return ()


def product_columns(values: pa.Table, kinds: Kinds) -> Chosen | None:
    """Return all columns, one of them called `sku` and one `name`, if the table is products, else None."""
    headers = list(values.column_names)
    sku = _pick([one for one in headers if unique(values, (one,))], SKU)
    name = _pick([one for one in headers if one != sku], NAME)
    if sku is None or name is None:
        return None
    columns, taken = [], {"sku", "name"}
    for header in headers:
        target = {sku: "sku", name: "name"}.get(header) or names.slug(header)
        number = 2
        while header not in (sku, name) and target in taken:
            target, number = f"{names.slug(header)}_{number}", number + 1
        taken.add(target)
        text = header in (sku, name)
        kind: ColumnType = "text" if text else kinds.types[header]
        columns.append(
            Column(
                name=target,
                header=header,
                type=kind,
                required=header == sku,
                label=header,
                in_text=not text,
                description=f"From {header}.",
            )
        )
    return tuple(columns), ("sku",)
