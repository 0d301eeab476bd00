"""Reading one original into Arrow, every cell as text, in a child process with limits."""

from dlt_pipelines.reading.airlock import read_original
from dlt_pipelines.reading.answer import Reading

__all__ = ["Reading", "read_original"]
