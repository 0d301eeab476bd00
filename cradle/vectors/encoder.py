"""The query encoder at the customer's: ONNX Runtime and a tokenizer, no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cradle.manifest import EncoderEntry


class QueryEncoder:
    """Turns one query into one vector."""

    def __init__(self, model: Path, tokenizer: Path, entry: EncoderEntry, threads: int = 2) -> None:
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(entry.max_tokens)
        self._prefix = entry.query_prefix

    def encode(self, query: str) -> NDArray[np.float32]:
        """Return the vector of a query, shape (1, dimension)."""
        found = self._tokenizer.encode(self._prefix + query)
        ids = np.array([found.ids], dtype=np.int64)
        (vector,) = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        out: NDArray[np.float32] = vector
        return out
