"""A model folder of the shape of intfloat/multilingual-e5-large with random weights, to measure without its weights.

The tokenizer is of its kind (Unigram over words with a leading mark, XLM-R's special tokens), learned from the texts
given, so that its tokens are longer than those of the real one; say the tokens beside the chunks.

Run:  python -m benchmarks.e5_shape data/local/models/acme/e5-shape
      then in a customer's YAML, with CRADLE_MODEL_FOLDER=data/local/models:
      embedding: {model: acme/e5-shape, query_prefix: "query: ", passage_prefix: "passage: ", max_tokens: 512}
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cradle.config import quieten

SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>")
LONGEST: Final = 8  # letters of a piece


@dataclass(frozen=True)
class Shape:
    """What decides the work of a model; the defaults are multilingual-e5-large (560 million parameters)."""

    layers: int = 24
    hidden: int = 1024
    heads: int = 16
    inner: int = 4096
    vocabulary: int = 250_002
    longest: int = 512


def make_model(folder: Path, texts: Iterable[str], shape: Shape | None = None, seed: int = 42) -> None:
    """Write the folder: weights drawn from the seed, a tokenizer learned from the texts, mean pooling, normalised."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    shape = shape or Shape()
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(folder, texts, shape)
    config = XLMRobertaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.longest + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    XLMRobertaModel(config).save_pretrained(folder)
    names = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": shape.longest, "do_lower_case": False})
    _write(
        folder / "1_Pooling/config.json", {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True}
    )
    (folder / "2_Normalize").mkdir(exist_ok=True)


def _tokenizer(folder: Path, texts: Iterable[str], shape: Shape) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(_pieces(texts, shape.vocabulary - 1), unk_id=3))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<mask>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.save(str(folder / "tokenizer.json"))
    named = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    tokens: dict[str, Any] = {f"{name}_token": token for name, token in named.items()}
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": shape.longest, **tokens}
    _write(folder / "tokenizer_config.json", settings)


def _pieces(texts: Iterable[str], count: int) -> list[tuple[str, float]]:
    """Return the pieces of words that are met most often, each with the logarithm of its share.

    The trainer of `tokenizers` gives another vocabulary each time it is run.
    """
    words = Counter(word for text in texts for word in text.split())
    pieces: Counter[str] = Counter()
    for word, times in words.items():
        marked = f"▁{word}"
        pieces.update({marked[at : at + size]: times for size in range(1, LONGEST + 1) for at in range(len(marked))})
    total = sum(pieces.values())
    best = sorted(pieces.items(), key=lambda one: (len(one[0]) == 1, one[1], one[0]), reverse=True)
    return [(token, 0.0) for token in SPECIAL] + [
        (piece, math.log(times / total)) for piece, times in best[: count - 4]
    ]


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    quieten()
    from cradle.indexing.speed import catalogue_texts

    make_model(Path(sys.argv[1]), catalogue_texts(20_000))
