"""A trained model on disk: `model.safetensors` (weights) beside `config.json` (everything else). No pickle.

Calibration (temperature per task), event thresholds, the digests of the encoders and the record of the training
travel with the weights, so that a checkpoint answers the same wherever it is loaded. Auxiliary heads, which only
training asks, stay behind.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from backend.model.llms import TOKENIZER, read_tokenizer, tokenizer_digest
from backend.model.sensorlm import ModelConfig, SensorModel
from broker.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = 2
AUXILIARY = "unimodal."
NEEDED = ("model", "temperatures", "thresholds", "digest")
ALONE = "none"
"""In the place of a language model's name: do without."""
PRETRAINED = Path(__file__).parent / "pretrained"
"""The checkpoint that comes with the package."""


@dataclass
class Checkpoint:
    """A model and what belongs to it. `encoders` maps a modality to its encoder's digest."""

    model: SensorModel
    temperatures: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def encoders(self) -> dict[str, str]:
        """Digest of each encoder, the identity that frames of tokens carry."""
        return {modality: self.model.encoder(modality).digest() for modality in self.model.encoders}

    @property
    def digest(self) -> str:
        """sha256 hex of all weights, the configuration and the calibration: the identity of the decisions."""
        return _digest(self.settings(), self.weights())

    def weights(self) -> dict[str, Tensor]:
        """All weights that decisions depend on; where a language model is kept, in half precision if this is exact."""
        state = self.model.state_dict().items()
        found = {name: value.detach().cpu().contiguous() for name, value in state if not name.startswith(AUXILIARY)}
        if self.tokenizer is None:
            return found
        return {name: value if name.startswith("encoders.") else _halved(value) for name, value in found.items()}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """That of a language model which the checkpoint keeps."""
        language = self.model.language
        return language.words if language is not None and language.config.kept else None

    def settings(self) -> dict[str, Any]:
        """What decisions and text depend on besides the weights."""
        tokenizer = self.tokenizer
        return {
            "format": FORMAT,
            "model": self.model.config.to_json(),
            "temperatures": self.temperatures,
            "thresholds": self.thresholds,
            **({} if tokenizer is None else {"tokenizer": tokenizer_digest(tokenizer)}),
        }


def _digest(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(weights.items()):
        sha.update(name.encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()


def _halved(value: Tensor) -> Tensor:
    """The tensor as float16 if nothing is lost by it."""
    half = value.half() if value.is_floating_point() else value
    return half if half.to(value.dtype).equal(value) else value


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write both files into `folder`, each complete or not at all, and the tokenizer of a language model beside."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / TOKENIZER, ignore_errors=True)  # of what was there before, nothing is to be mixed in
    if (tokenizer := checkpoint.tokenizer) is not None:
        tokenizer.save_pretrained(folder / f"{TOKENIZER}.part")
        (folder / f"{TOKENIZER}.part").replace(folder / TOKENIZER)
    config = {
        **checkpoint.settings(),
        "encoders": checkpoint.encoders,
        "digest": checkpoint.digest,
        "training": checkpoint.record,
    }
    (folder / "model.safetensors.part").write_bytes(save(checkpoint.weights()))
    (folder / "config.json.part").write_text(json.dumps(config, indent=1) + "\n")
    for name in ("model.safetensors", "config.json"):
        (folder / f"{name}.part").replace(folder / name)


def load_checkpoint(where: Path | str | None = None, llm: str | None = None) -> Checkpoint:
    """The checkpoint in a folder, or the bundled one; `llm` is where its language model lies now, if it keeps none.

    With `llm` "none" it comes without its language model, and is a checkpoint of its own: it answers faster, and has
    no words.

    Raises:
        CheckpointError: it cannot be used.
    """
    folder = PRETRAINED if where is None else Path(where)
    try:
        config = json.loads((folder / "config.json").read_text())
        weights = load_file(folder / "model.safetensors")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"checkpoint {folder}: {error.filename or error} is missing; train one first") from error
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {folder}: unreadable ({error}); train it again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        config = config if isinstance(config, dict) else {}
        raise CheckpointError(
            f"checkpoint {folder}: format {config.get('format')!r}, this version reads {FORMAT}; train it again"
        )
    missing = [name for name in NEEDED if name not in config]
    if missing:
        raise CheckpointError(f"checkpoint {folder}: config.json lacks {', '.join(missing)}; train it again")
    about = ModelConfig.from_json(config["model"])
    if llm == ALONE and about.language is not None:
        settings = {name: config[name] for name in (*NEEDED, "format", "tokenizer") if name in config}
        if _digest({k: v for k, v in settings.items() if k != "digest"}, weights) != config["digest"]:
            raise _changed(folder)
        about, llm = replace(about, language=None), None
        weights = {name: value for name, value in weights.items() if not name.startswith("language.")}
        config["digest"] = ""
    model = SensorModel(about if llm in (None, ALONE) else _placed(about, llm, folder))
    if model.language is not None and model.language.config.kept:
        model.language.tokenizer = read_tokenizer(str(folder / TOKENIZER), here=True)
    try:
        lacking, strange = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()  # torch names one weight a line
        raise CheckpointError(
            f"checkpoint {folder}: weights do not fit the configuration ({reason}); get it again"
        ) from error
    if unfit := [name for name in (*lacking, *strange) if not name.startswith(AUXILIARY)]:
        raise CheckpointError(f"checkpoint {folder}: weights do not fit the configuration ({unfit[0]}); get it again")
    model.eval()
    model.config = about  # where a language model lies is no part of what the checkpoint is
    checkpoint = Checkpoint(model, config["temperatures"], config["thresholds"], config.get("training", {}))
    if config["digest"] and checkpoint.digest != config["digest"]:
        raise _changed(folder)
    return checkpoint


def learned_from(where: Path | str) -> dict[str, set[str]]:
    """By data set, the people that a checkpoint, or one that it started from, has learned from."""
    try:
        record = json.loads((Path(where) / "config.json").read_text())["training"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # whoever loads it says what is wrong
    found = {name: set(people) for name, people in record.get("start", {}).get("people", {}).items()}
    for name, roles in record.get("people", {}).items():
        found[name] = found.get(name, set()) | set(roles["train"])
    return found


def _changed(folder: Path) -> CheckpointError:
    return CheckpointError(f"checkpoint {folder}: weights or settings were changed after training; get it again")


def _placed(config: ModelConfig, llm: str, folder: Path) -> ModelConfig:
    """The configuration with its language model at another place."""
    if config.language is None:
        raise CheckpointError(
            f"--llm {llm}: checkpoint {folder} was trained without a language model; train stage 2 on it with "
            "`backend train instruct --llm`, or leave --llm out"
        )
    if config.language.kept:
        raise CheckpointError(
            f"--llm {llm}: checkpoint {folder} brings its own language model, and knows no other; leave --llm out, or "
            "train stage 2 on this one with `backend train instruct --llm`"
        )
    return replace(config, language=replace(config.language, llm=llm))
