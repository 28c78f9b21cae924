"""Tokenisers: ids and back, folders, special tokens, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, processors
from tokenizers.models import WordPiece

from mtl.datasets.angiography import SEGMENTS, write_report
from mtl.datasets.angiography.locations import LOCATION_TOKENS
from mtl.datasets.angiography.tokenizer import (
    SPECIAL_TOKENS,
    decode_reports,
    encode_reports,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from mtl.errors import DataError, ParameterError

BERT = [
    "[PAD]",
    "[unused0]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "mlad",
    "m",
    "##lad",
    "70",
    "%",
    ".",
]


def test_special_tokens_come_first_and_their_numbers_in_a_row(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert len(SPECIAL_TOKENS) == 5 + 3 + 16 + 64 and SPECIAL_TOKENS[0] == "[PAD]"
    assert {"[FRAME15]", "[LOC63]", "[CAP]", "[AREF]", "[GCAP]"} <= set(SPECIAL_TOKENS)


def test_rows_begin_end_and_are_padded(tokenizer: Tokenizer) -> None:
    texts = ["No significant stenosis.", "mLAD 70%."]
    ids = encode_reports(tokenizer, texts, 16)
    assert ids.shape == (2, 16) and ids.dtype == torch.int64
    bos, eos = tokenizer.token_to_id("[BOS]"), tokenizer.token_to_id("[EOS]")
    for row, text in zip(ids.tolist(), texts, strict=True):
        words = tokenizer.encode(text).ids
        assert row == [bos, *words, eos] + [0] * (14 - len(words))
    assert tokenizer.token_to_id("[UNK]") not in ids.flatten().tolist()


def test_reports_come_back_in_lower_case(tokenizer: Tokenizer) -> None:
    texts = [
        write_report("left", [("mLAD", 70), ("D1", 35)], 3),
        write_report("right", [], 1),
        write_report("right", [("PLB", 95)], 2),
    ]
    decoded = decode_reports(tokenizer, encode_reports(tokenizer, texts, 64))
    assert [text.replace(" ", "") for text in decoded] == [text.lower().replace(" ", "") for text in texts]
    assert "mlad with 70" in decoded[0]


def test_decoding_stops_at_the_first_end_and_leaves_special_tokens_out(tokenizer: Tokenizer) -> None:
    word, eos, loc = (tokenizer.token_to_id(token) for token in ("stenosis", "[EOS]", "[LOC5]"))
    assert decode_reports(tokenizer, torch.tensor([[2, loc, word, eos, word], [0, 0, 0, 0, 0]])) == [
        "stenosis",
        "",
    ]


def test_special_tokens_spelt_in_a_report_are_characters(tokenizer: Tokenizer) -> None:
    ids = encode_reports(tokenizer, ["mLAD [PAD] [EOS] 70%."], 40)[0].tolist()
    end = ids.index(tokenizer.token_to_id("[EOS]"))
    assert 0 not in ids[:end] and all(token == 0 for token in ids[end + 1 :])
    assert tokenizer.token_to_id("70") in ids[:end]


def test_a_folder_gives_the_same_tokeniser_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "words")
    again = load_tokenizer(tmp_path / "words")
    assert again.get_vocab() == tokenizer.get_vocab() and again.to_str() == tokenizer.to_str()
    texts = [write_report(view, [(SEGMENTS[view][0], 55)], 4) for view in SEGMENTS] + ["a [PAD] b"]
    assert torch.equal(encode_reports(again, texts, 40), encode_reports(tokenizer, texts, 40))


def test_training_is_deterministic_and_keeps_to_its_size() -> None:
    texts = [write_report("left", [(name, 50)], wording) for name in SEGMENTS["left"] for wording in range(6)]
    first, again = (train_tokenizer(texts, 180) for _ in range(2))
    assert first.get_vocab() == again.get_vocab() and first.get_vocab_size() <= 180


def test_a_vocabulary_file_gets_the_missing_tokens_after_its_own(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(BERT) + "\n")
    tokenizer = load_tokenizer(tmp_path)
    assert [tokenizer.id_to_token(number) for number in range(len(BERT))] == BERT
    added = len(SPECIAL_TOKENS) - 3  # [PAD], [UNK], [MASK] are there
    assert tokenizer.get_vocab_size() == len(BERT) + added
    first = tokenizer.token_to_id("[FRAME0]")
    assert [tokenizer.token_to_id(token) for token in LOCATION_TOKENS] == list(range(first, first + 80))
    ids = encode_reports(tokenizer, ["The mLAD 70%."], 10)[0].tolist()
    bos, eos = tokenizer.token_to_id("[BOS]"), tokenizer.token_to_id("[EOS]")
    assert ids == [bos, 6, 7, 10, 11, 12, eos, 0, 0, 0]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    cased = encode_reports(load_tokenizer(tmp_path), ["the mLAD"], 10)[0].tolist()
    assert cased[1:3] == [6, 2], "mLAD is not known as it is spelt"


def test_an_external_tokeniser_adds_and_cuts_nothing_of_its_own(tmp_path: Path) -> None:
    theirs = Tokenizer(WordPiece({word: row for row, word in enumerate(BERT)}, unk_token="[UNK]"))
    theirs.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    theirs.enable_truncation(1)
    theirs.enable_padding(length=7)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert encode_reports(ours, ["mlad"], 5)[0].tolist() == [
        ours.token_to_id("[BOS]"), 7, ours.token_to_id("[EOS]"), 0, 0,
    ]  # fmt: skip


def test_wrong_texts_and_ids_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="report 1: the text is empty"):
        encode_reports(tokenizer, ["a", " \n"], 16)
    long = "stenosis " * 15
    with pytest.raises(
        DataError, match=r"report 1: 15 tokens with \[BOS\] and \[EOS\] do not fit context=16"
    ):
        encode_reports(tokenizer, ["stenosis", long], 16)
    cut = encode_reports(tokenizer, [long], 16, truncate=True)[0].tolist()
    assert cut[0] == 2 and cut[-1] == 3 and len(set(cut[1:-1])) == 1
    assert encode_reports(tokenizer, ["stenosis " * 14], 16).shape == (1, 16)
    size = tokenizer.get_vocab_size()
    for wrong in (size, -1):
        with pytest.raises(DataError, match=rf"token id {wrong} at row 1, position 2; 0 to {size - 1}"):
            decode_reports(tokenizer, torch.tensor([[2, 3, 0], [2, 100, wrong]]))
    with pytest.raises(DataError, match="integers"):
        decode_reports(tokenizer, torch.zeros(2, 3))
    with pytest.raises(ParameterError, match="context=2"):
        encode_reports(tokenizer, ["a"], 2)


def test_what_cannot_be_trained_or_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no report"):
        train_tokenizer([])
    with pytest.raises(DataError, match="report 1: the text is empty"):
        train_tokenizer(["a", ""])
    with pytest.raises(ParameterError, match="vocab_size=60: 88 special tokens"):
        train_tokenizer(["mLAD 70%."], 60)
    with pytest.raises(DataError, match=r"expected tokenizer\.json or vocab\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\na\n")
    with pytest.raises(DataError, match="each once"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("<s>\n[UNK]\na\n")
    with pytest.raises(DataError, match=r"token 0 is '<s>'; \[PAD\] is expected"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        load_tokenizer(tmp_path)
