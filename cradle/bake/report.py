"""The report of a verification: JSON for programs and a page for people, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cradle.config import Settings
from cradle.files import write_whole

if TYPE_CHECKING:
    from cradle.bake.verify import VerifyResult


def report_path(settings: Settings, customer: str, digest: str) -> Path:
    """Return where the report of an image lies; the page lies beside it, as `.html`."""
    return settings.images(customer) / "verify" / f"{digest.removeprefix('sha256:')}.json"


def write_report(settings: Settings, customer: str, result: VerifyResult) -> Path:
    """Write both forms; return the page's path."""
    path = report_path(settings, customer, result.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = Environment(
        loader=PackageLoader("cradle.bake"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
    )
    page = path.with_suffix(".html")
    page.write_text(pages.get_template("report.html").render(result=result), encoding="utf-8")
    write_whole(path, result.model_dump_json(indent=1))
    return page
