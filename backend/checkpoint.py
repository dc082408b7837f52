"""A trained model on disk: `model.safetensors` (weights) beside `config.json` (everything else). No pickle.

Calibration (temperature per task), event thresholds, the digests of the encoders and the record of the training
travel with the weights, so that a checkpoint answers the same wherever it is loaded. Auxiliary heads, which only
training asks, stay behind.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from backend.model.sensorlm import ModelConfig, SensorModel
from broker.errors import CheckpointError

FORMAT = 2
AUXILIARY = "unimodal."
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
        sha = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for name, value in sorted(self.weights().items()):
            sha.update(name.encode())
            sha.update(value.numpy().tobytes())
        return sha.hexdigest()

    def weights(self) -> dict[str, Tensor]:
        """All weights that decisions depend on."""
        state = self.model.state_dict().items()
        return {name: value.detach().cpu().contiguous() for name, value in state if not name.startswith(AUXILIARY)}

    def settings(self) -> dict[str, Any]:
        """What decisions depend on besides the weights."""
        return {
            "format": FORMAT,
            "model": self.model.config.to_json(),
            "temperatures": self.temperatures,
            "thresholds": self.thresholds,
        }


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write both files into `folder`, each complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
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


def load_checkpoint(where: Path | str | None = None) -> Checkpoint:
    """The checkpoint in a folder, or the bundled one; raises CheckpointError when it cannot be used."""
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
    missing = [name for name in ("model", "temperatures", "thresholds", "digest") if name not in config]
    if missing:
        raise CheckpointError(f"checkpoint {folder}: config.json lacks {', '.join(missing)}; train it again")
    model = SensorModel(ModelConfig.from_json(config["model"]))
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
    checkpoint = Checkpoint(model, config["temperatures"], config["thresholds"], config.get("training", {}))
    if checkpoint.digest != config["digest"]:
        raise CheckpointError(f"checkpoint {folder}: weights or settings were changed after training; get it again")
    return checkpoint
