"""Search over an image's own files: meaning, words and article numbers."""

from cradle.search.hits import Hit, Mode, Narrow
from cradle.search.searcher import Searcher

__all__ = ["Hit", "Mode", "Narrow", "Searcher"]
