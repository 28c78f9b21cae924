"""A Hugging Face language model as text encoder (optional: ``pip install mtl[text-models]``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mtl.errors import ParameterError
from mtl.models.angiography.text_encoder import TEXT_POOLS, pooled_text
from mtl.models.angiography.token_checks import check_tokens

HF_POOLS = ("first", *TEXT_POOLS)


class HuggingFaceTextEncoder(nn.Module):
    """A pretrained model and a linear projection; tokens must come from the tokeniser of the same name.

    Args:
        name_or_folder: for ``transformers.AutoModel.from_pretrained``; or the ``configuration`` of such an
            encoder, for one with random weights, into which saved ones are loaded.
        out: of the projection.
        pool: ``first`` ([CLS] of BERT-like models), ``eos`` or ``mean``.
        vocabulary: number of token ids; those beyond the model's own (tokens added to its tokeniser) get
            embeddings of their own. None: the model's.

    Raises:
        ParameterError: transformers is not installed, the model cannot be had, or an unknown pool.
    """

    def __init__(
        self,
        name_or_folder: str | os.PathLike | Mapping[str, Any],
        out: int = 512,
        pool: str = "first",
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        if pool not in HF_POOLS:
            raise ParameterError(f"pool: {pool!r} is not one of {', '.join(HF_POOLS)}")
        self.model = pretrained_model(name_or_folder)
        config = self.model.config
        if vocabulary is not None and vocabulary > config.vocab_size:
            self.model.resize_token_embeddings(vocabulary)
        self.pool_kind, self.pad = pool, getattr(config, "pad_token_id", None) or 0
        self.vocabulary = config.vocab_size
        self.context = getattr(config, "max_position_embeddings", None) or 10**9
        self.project = nn.Linear(config.hidden_size, out)

    @property
    def configuration(self) -> dict[str, Any]:
        """What the model can be made from without its folder, ready for JSON."""
        return json.loads(self.model.config.to_json_string())

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, L)`` int64, PAD at the end, to ``(B, out)``.

        Raises:
            DataError: more tokens than the model takes, or (on the CPU) an id out of range.
        """
        check_tokens(tokens, self.vocabulary, self.context)
        real = tokens != self.pad
        hidden = self.model(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        return self.project(
            hidden[:, 0] if self.pool_kind == "first" else pooled_text(hidden, real, self.pool_kind)
        )


def pretrained_model(name_or_folder: str | os.PathLike | Mapping[str, Any]) -> Any:
    """The model, or one of this configuration with random weights; `ParameterError` says how to get it."""
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise ParameterError(
            f"text model {str(name_or_folder)!r} needs the package transformers, which is an extra: "
            "pip install 'mtl[text-models]'"
        ) from error
    if isinstance(name_or_folder, Mapping):
        return AutoModel.from_config(AutoConfig.for_model(**name_or_folder))
    try:
        return AutoModel.from_pretrained(str(name_or_folder))
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"text model {str(name_or_folder)!r}: a folder with a Hugging Face model, or a name that can be "
            f"reached from here, is expected ({error})"
        ) from error
