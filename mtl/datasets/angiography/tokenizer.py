"""Tokenisers of reports: WordPiece trained on the corpus, or an external folder with tokens added.

Every tokeniser has, beside its words, ``[PAD]`` (id 0), ``[UNK]``, ``[BOS]``, ``[EOS]``, ``[MASK]``, the task
prefixes ``[CAP]``, ``[AREF]``, ``[GCAP]``, and the tokens of `mtl.datasets.angiography.locations`. A report
that spells such a token out is read as ordinary characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from mtl.datasets.angiography.locations import LOCATION_TOKENS
from mtl.errors import DataError, ParameterError
from mtl.files import read_json, write_text

PAD, UNK, BOS, EOS, MASK = "[PAD]", "[UNK]", "[BOS]", "[EOS]", "[MASK]"
TASKS = CAP, AREF, GCAP = "[CAP]", "[AREF]", "[GCAP]"
SPECIAL_TOKENS = (PAD, UNK, BOS, EOS, MASK, *TASKS, *LOCATION_TOKENS)
FILE = "tokenizer.json"
VOCABULARY = "vocab.txt"


def train_tokenizer(texts: Sequence[str], vocab_size: int = 1000) -> Tokenizer:
    """Learn a lower-casing WordPiece vocabulary of at most ``vocab_size`` tokens, special ones included.

    The same texts give the same tokeniser. Raises `DataError` for no text or an empty one, `ParameterError`
    where not even single characters find room.
    """
    if not texts:
        raise DataError("no report to train a tokeniser on")
    _check_texts(texts)
    draft = _word_piece(WordPiece(unk_token=UNK))
    # The trainer numbers inner characters in the order of a hash table, and so breaks ties at random;
    # given to it as tokens, they have fixed numbers.
    characters = sorted({character for text in texts for character in draft.normalizer.normalize_str(text)})
    inner = [f"##{character}" for character in characters if not character.isspace()]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*SPECIAL_TOKENS, *inner], show_progress=False, min_frequency=1
    )
    draft.train_from_iterator(list(texts), trainer)
    tokenizer = _word_piece(WordPiece(draft.get_vocab(), unk_token=UNK))
    if tokenizer.get_vocab_size() > vocab_size:
        raise ParameterError(
            f"vocab_size={vocab_size}: {len(SPECIAL_TOKENS)} special tokens and the single characters of the "
            f"reports alone are {tokenizer.get_vocab_size()}"
        )
    return _prepared(tokenizer)


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write ``tokenizer.json`` into ``folder``; `load_tokenizer` gives the same tokeniser back."""
    write_text(Path(folder) / FILE, tokenizer.to_str(pretty=True))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Open a tokeniser folder: our own, or one with ``tokenizer.json`` or a BERT's ``vocab.txt``.

    Special tokens that it lacks are added after its vocabulary (the model's table of embeddings must hold
    ``tokenizer.get_vocab_size()`` rows); truncation, padding and tokens that it would put round a text are
    switched off. A ``vocab.txt`` is taken as lower-casing unless ``tokenizer_config.json`` says otherwise.

    Raises `DataError` naming the file: nothing there, damaged, or ``[PAD]`` is not id 0.
    """
    folder = Path(folder)
    try:
        if (folder / FILE).is_file():
            tokenizer = Tokenizer.from_file(str(folder / FILE))
        elif (folder / VOCABULARY).is_file():
            tokenizer = _from_vocabulary(folder)
        else:
            raise DataError(f"{folder}: expected {FILE} or {VOCABULARY} in this folder")
    except DataError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{folder}: the tokeniser cannot be read ({error})") from error
    if tokenizer.id_to_token(0) != PAD:
        raise DataError(f"{folder}: token 0 is {tokenizer.id_to_token(0)!r}; {PAD} is expected there")
    return _prepared(tokenizer)


def encode_reports(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    context: int,
    *,
    truncate: bool = False,
    names: Sequence[str] | None = None,
) -> torch.Tensor:
    """Token ids, int64 ``(B, context)``: ``[BOS]``, the words, ``[EOS]``, then ``[PAD]``.

    Raises `DataError` naming the report (by ``names``, else its position): it is empty, or has more tokens
    than ``context`` holds (with ``truncate`` its end is left out instead; ``[EOS]`` follows what was kept).
    """
    _check_texts(texts, names)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    return pad_rows(tokenizer, rows, context, truncate=truncate, names=names)


def pad_rows(
    tokenizer: Tokenizer,
    rows: Sequence[Sequence[int]],
    context: int,
    *,
    truncate: bool = False,
    names: Sequence[str] | None = None,
) -> torch.Tensor:
    """Rows of ids put between ``[BOS]`` and ``[EOS]`` and padded, as `encode_reports` does."""
    if context < 3:
        raise ParameterError(f"context={context}: at least 3 tokens are expected")
    bos, eos, pad = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD))
    tokens = torch.full((len(rows), context), pad, dtype=torch.int64)
    for position, row in enumerate(rows):
        if len(row) + 2 > context and not truncate:
            name = position if names is None else names[position]
            raise DataError(
                f"report {name}: {len(row)} tokens with {BOS} and {EOS} do not fit context={context}; "
                "raise the context, or shorten the report"
            )
        ids = [bos, *row[: context - 2], eos]
        tokens[position, : len(ids)] = torch.tensor(ids)
    return tokens


def decode_reports(tokenizer: Tokenizer, ids: torch.Tensor) -> list[str]:
    """Texts of token ids, integer ``(B, L)``: each row up to its first ``[EOS]``, special tokens left out.

    Raises `DataError` for an id outside the vocabulary: see `check_ids`.
    """
    check_ids(tokenizer, ids)
    special = {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS} - {tokenizer.token_to_id(UNK)}
    eos = tokenizer.token_to_id(EOS)
    texts = []
    for row in ids.tolist():
        ended = row[: row.index(eos)] if eos in row else row
        words = [token for token in ended if token not in special]
        texts.append(tokenizer.decode(words, skip_special_tokens=False))
    return texts


def check_ids(tokenizer: Tokenizer, ids: torch.Tensor) -> None:
    """Raise `DataError` naming the first id of an integer ``(B, L)`` that is no token of this tokeniser."""
    if ids.ndim != 2 or ids.is_floating_point():
        raise DataError(
            f"token ids of shape {tuple(ids.shape)} and {ids.dtype}; integers (B, L) are expected"
        )
    size = tokenizer.get_vocab_size()
    wrong = ((ids < 0) | (ids >= size)).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"token id {int(ids[row, column])} at row {row}, position {column}; 0 to {size - 1} is expected"
        )


def _word_piece(model: WordPiece, lowercase: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _from_vocabulary(folder: Path) -> Tokenizer:
    settings = folder / "tokenizer_config.json"
    lowercase = bool(read_json(settings).get("do_lower_case", True)) if settings.is_file() else True
    path = folder / VOCABULARY
    words = path.read_text(encoding="utf-8").splitlines()
    if len(set(words)) != len(words) or UNK not in words:
        raise DataError(f"{path}: one token a line, each once, {UNK} among them, is expected")
    return _word_piece(WordPiece({word: row for row, word in enumerate(words)}, unk_token=UNK), lowercase)


def _prepared(tokenizer: Tokenizer) -> Tokenizer:
    """Special tokens known as such, none made from a text's own characters; nothing added to texts."""
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _check_texts(texts: Sequence[str], names: Sequence[str] | None = None) -> None:
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            name = position if names is None else names[position]
            raise DataError(f"report {name}: the text is empty")
