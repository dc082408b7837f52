"""Language models of transformers: how they are read, made anew, and told apart. No pickle is read and no code run.

It knows nothing of sensors or of how a model is conditioned.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from broker.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOKENIZER = "tokenizer"
"""Where a checkpoint keeps the tokenizer of a language model that it keeps."""
_MOVED = "one that was moved is named by --llm NEWPATH, and --llm none serves by the adapter alone"


def read_llm(llm: str) -> PreTrainedModel:
    """The model of a folder or of a hub's name, in evaluation mode; on a machine with a GPU in its own precision.

    Raises CheckpointError where there is none, or one whose weights are no safetensors. No hub is asked for what can
    be a folder alone: its tries take a minute.
    """
    if _local(llm) and not Path(llm).is_dir():
        raise CheckpointError(f"language model {llm}: no folder has that name; {_MOVED}")
    from transformers import AutoModelForCausalLM

    _hush()
    try:
        found = AutoModelForCausalLM.from_pretrained(
            llm,
            dtype="auto" if torch.cuda.is_available() else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as error:  # damaged weights, a configuration of nothing, a hub that is not there: of every kind
        raise _absent(llm, error) from None
    found.eval()
    return cast("PreTrainedModel", found)


def new_llm(about: dict[str, Any]) -> PreTrainedModel:
    """A model of an architecture, in evaluation mode, float32; its weights are about to be loaded.

    Raises CheckpointError for an architecture that this version of transformers does not know.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.random.fork_rng(devices=[]):  # what is random is overwritten, and the caller's seed is its own
            built = AutoModelForCausalLM.from_config(AutoConfig.for_model(**about), dtype=torch.float32)
    except Exception as error:
        kind = about.get("model_type", "no model_type")
        raise CheckpointError(
            f"language model of architecture {kind}: cannot be built: {_said(error)}; get the checkpoint again, or a "
            "newer transformers"
        ) from None
    return cast("PreTrainedModel", built.eval())


def architecture(llm: PreTrainedModel) -> dict[str, Any]:
    """The model's configuration as plain values: what differs from its kind's own, without where it was read."""
    about = json.loads(json.dumps(llm.config.to_diff_dict(), default=str))
    return {key: value for key, value in about.items() if key not in ("transformers_version", "dtype", "_name_or_path")}


def fingerprint(llm: PreTrainedModel) -> str:
    """sha256 hex of the word embeddings: tells a model from another of its architecture."""
    words = embedding(llm).weight.detach().cpu().float().contiguous()
    return hashlib.sha256(words.numpy().tobytes()).hexdigest()


def read_tokenizer(llm: str, *, here: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a hub's name, or of a folder `here` alone.

    Raises CheckpointError where there is none.
    """
    from transformers import AutoTokenizer

    _hush()
    try:
        found = AutoTokenizer.from_pretrained(llm, local_files_only=here, trust_remote_code=False)
    except Exception as error:
        raise _absent(llm, error) from None
    return cast("PreTrainedTokenizerBase", found)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 hex of what a tokenizer does: how it cuts, its vocabulary, and its chat template."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    cuts = fast.to_str() if fast is not None else tokenizer.get_vocab()
    about = json.dumps({"cuts": cuts, "template": tokenizer.chat_template}, sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()


def decoder(llm: PreTrainedModel) -> nn.Module:
    """Everything but the last layer, which makes words of it."""
    return cast(nn.Module, llm.get_decoder())


def embedding(llm: PreTrainedModel) -> nn.Embedding:
    """The table of words."""
    return cast(nn.Embedding, llm.get_input_embeddings())


def _hush() -> None:
    """No bars, and no word of every try to reach a hub: what fails is told once, by our own error."""
    from transformers.utils import logging as bars

    bars.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _local(llm: str) -> bool:
    """Whether the name is a folder's by its looks; a hub's is NAME or OWNER/NAME."""
    return Path(llm).is_absolute() or llm.startswith(("./", "../", "~")) or llm.count("/") > 1


def _said(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)


def _absent(llm: str, error: Exception) -> CheckpointError:
    absent = not Path(llm).exists()
    there = "no folder here has that name, and no hub gave it; " if absent else ""
    return CheckpointError(
        f"language model {llm}: cannot be read: {there}{_said(error)}; give the folder of a transformers model with "
        f"safetensors (`backend train language` makes one), or a hub's name{f'; {_MOVED}' if absent else ''}"
    )
