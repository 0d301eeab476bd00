"""Reading one original into Arrow, every cell as text, in a child process with limits."""

from dlt_pipelines.reading.airlock import Reading, read_original

__all__ = ["Reading", "read_original"]
