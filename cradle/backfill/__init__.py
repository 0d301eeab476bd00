"""What a backfill would change, computed before anything is changed."""

from cradle.backfill.preview import preview, preview_of_run
from cradle.backfill.text import as_text
from cradle.backfill.told import DayPreview, Preview

__all__ = ["DayPreview", "Preview", "as_text", "preview", "preview_of_run"]
