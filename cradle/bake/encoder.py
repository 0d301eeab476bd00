"""The query encoder of an image: the factory's model as ONNX, without torch at the customer's.

Exported once per model key and kept beside the images; its loss against the factory's encoder is measured then.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

from cradle.config import Settings
from cradle.digest import file_sha256
from cradle.embed import load_embedder, model_folder, model_key
from cradle.errors import MissingStep, VerifyFailed
from cradle.installation import Embedding
from cradle.manifest import EncoderEntry
from cradle.vectors.encoder import QueryEncoder

ENCODER_FORMAT: Final = 2
FILES: Final = ("model.onnx", "tokenizer.json")
MAX_LOSS: Final = 0.01
OPSET: Final = 17
# German and English, short and long: what people type into a search box.
PROBES: Final = (
    "warm white ceiling light 3000K",
    "LED Anbauleuchte IP65 für Außenbereich",
    "How long may I take to send goods back?",
    "Netzteil 24 V",
    "a quiet keyboard with a number pad for the office, German layout",
    "Lieferzeit und Versandkosten innerhalb Deutschlands",
)


def export_encoder(settings: Settings, embedding: Embedding, key: str) -> tuple[Path, EncoderEntry]:
    """Return the folder of the encoder with a model key and its entry in the manifest; export it when it is not there.

    Raises:
        MissingStep: the model at hand is not the one that made the vectors.
        VerifyFailed: the exported encoder is further from the factory's than `MAX_LOSS`, or was damaged since.
    """
    folder = encoder_folder(settings, key)
    if not (folder / "encoder.json").is_file():
        at_hand = model_key(model_folder(settings, embedding), embedding)
        if at_hand != key:
            raise MissingStep(
                f"the vectors were made by {embedding.model} with key {key[:12]}; the model at hand has key "
                f"{at_hand[:12]}. Put the earlier one where CRADLE_MODEL_FOLDER points, or run a new night."
            )
        _export(settings, embedding, key, folder)
    note = json.loads((folder / "encoder.json").read_bytes())
    for name, promised in note.pop("sha256").items():
        if file_sha256(folder / name) != promised:
            raise VerifyFailed(f"{folder / name} is damaged. Delete {folder} and run the same command again.")
    return folder, EncoderEntry.model_validate(note)


def encoder_folder(settings: Settings, key: str) -> Path:
    """Return where the encoder of a model key lies, whether it was exported or not."""
    return settings.home / "encoders" / f"{key}-{ENCODER_FORMAT}"


def _export(settings: Settings, embedding: Embedding, key: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        made = Path(name)
        source = model_folder(settings, embedding)
        _to_onnx(source, embedding, made / "model.onnx")
        shutil.copyfile(source / "tokenizer.json", made / "tokenizer.json")
        limit = min(embedding.max_tokens, _longest(source))
        entry: dict[str, Any] = {
            "model": embedding.model,
            "revision": embedding.revision,
            "model_key": key,
            "file": "encoder/model.onnx",
            "tokenizer": "encoder/tokenizer.json",
            "query_prefix": embedding.query_prefix,
            "passage_prefix": embedding.passage_prefix,
            "max_tokens": limit,
            "normalize": embedding.normalize,
        }
        loss = _loss(settings, embedding, made, EncoderEntry(**entry, loss=0.0))
        if loss > MAX_LOSS:
            raise VerifyFailed(f"query encoder of {embedding.model}: loss {loss:.4f} is more than {MAX_LOSS}.")
        note = {**entry, "loss": loss, "sha256": {name: file_sha256(made / name) for name in FILES}}
        (made / "encoder.json").write_text(json.dumps(note, sort_keys=True), encoding="utf-8")
        if not folder.exists():
            shutil.copytree(made, folder.with_suffix(".part"), dirs_exist_ok=True)
            folder.with_suffix(".part").rename(folder)


def _longest(source: Path) -> int:
    path = source / "sentence_bert_config.json"
    found = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.is_file() else None
    return int(found or 512)


def _to_onnx(source: Path, embedding: Embedding, target: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(
        str(source), device="cpu", local_files_only=True, model_kwargs={"attn_implementation": "eager"}
    )

    class Sentence(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            pooled = self.model({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]
            return torch.nn.functional.normalize(pooled, dim=1) if embedding.normalize else pooled

    example = torch.ones(2, 8, dtype=torch.long)
    axes = {
        "input_ids": {0: "batch", 1: "tokens"},
        "attention_mask": {0: "batch", 1: "tokens"},
        "embedding": {0: "batch"},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of constants that a fixed model has
        torch.onnx.export(
            Sentence().eval(),
            (example, example),
            str(target),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _loss(settings: Settings, embedding: Embedding, made: Path, entry: EncoderEntry) -> float:
    """Return 1 - mean cosine between both encoders over the probes."""
    theirs = load_embedder(settings, embedding).encode(PROBES, "query")
    encoder = QueryEncoder(made / "model.onnx", made / "tokenizer.json", entry)
    ours = np.vstack([encoder.encode(probe) for probe in PROBES])
    cosines = (ours * theirs).sum(1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    return max(0.0, round(float(1 - cosines.mean()), 6))
