"""PAD changes nothing, pooling is what it says, and nothing follows the projection."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from mtl.errors import DataError, ParameterError
from mtl.model_folder import load_model, save_model
from mtl.models.angiography import HuggingFaceTextEncoder, TextEncoder, VideoTextModel
from mtl.models.angiography.text_encoder import pooled_text
from mtl.models.angiography.token_checks import check_tokens


def small(**options: object) -> TextEncoder:
    sizes = {"vocabulary": 20, "width": 16, "depth": 2, "heads": 2, "context": 9, "out": 6}
    return TextEncoder(**(sizes | options)).eval()


@pytest.mark.parametrize("pool", ["eos", "mean"])
def test_pad_changes_nothing(pool: str) -> None:
    encoder = small(pool=pool).double()
    short = torch.tensor([[2, 7, 8, 3]])
    padded = torch.tensor([[2, 7, 8, 3, 0, 0, 0], [2, 9, 9, 9, 9, 9, 3]])
    torch.testing.assert_close(encoder(padded)[:1], encoder(short))


def test_pad_has_another_id_where_it_is_told_so() -> None:
    encoder = small(pad=5).double()
    torch.testing.assert_close(encoder(torch.tensor([[2, 0, 3, 5, 5]])), encoder(torch.tensor([[2, 0, 3]])))


def test_pools_equal_a_loop() -> None:
    x, real = torch.randn(3, 5, 4).double(), torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    for b in range(3):
        kept = [x[b, i] for i in range(5) if real[b, i]]
        torch.testing.assert_close(pooled_text(x, real, "eos")[b], kept[-1])
        torch.testing.assert_close(pooled_text(x, real, "mean")[b], sum(kept) / len(kept))


def test_nothing_follows_the_projection() -> None:
    encoder = small().double()
    tokens = torch.randint(1, 20, (8, 6))
    before = encoder(tokens)
    with torch.no_grad():
        encoder.project.weight *= -3
        encoder.project.bias *= -3
    torch.testing.assert_close(encoder(tokens), -3 * before)


def test_order_of_words_matters() -> None:
    encoder = small().double()
    one, other = encoder(torch.tensor([[2, 7, 8, 3], [2, 8, 7, 3]]))
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.full((1, 10), 2), "10 tokens in a row: the context holds 9"),
        (torch.tensor([[2, 20]]), "token id 20 is out of range: the vocabulary has ids 0 to 19"),
        (torch.tensor([[2, -1]]), "token id -1"),
        (torch.zeros(1, 0, dtype=torch.int64), "L from 1 on"),
        (torch.zeros(1, 3), "integers"),
        (torch.zeros(3, dtype=torch.int64), "integers"),
    ],
)
def test_tokens_that_do_not_fit_are_named(tokens: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small()(tokens)


def test_ids_are_not_asked_for_where_a_device_would_have_to_be_waited_for() -> None:
    check_tokens(torch.zeros(1, 3, dtype=torch.int64, device="meta"), 20, 9)
    check_tokens(torch.tensor([[99]]), 20, 9, ids=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"pool": "max"}, "pool: 'max'"), ({"pad": 20}, "pad=20"), ({"context": 0}, "context=0")],
)
def test_arguments_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        small(**options)


CONFIGURATION = {"hidden_size": 5, "vocab_size": 20, "pad_token_id": 0, "max_position_embeddings": 9}


class FakeModel(nn.Module):
    """The outside of a Hugging Face model: mixes each token with the mean of those it may look at."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(**CONFIGURATION, to_json_string=lambda: json.dumps(CONFIGURATION))
        self.words = nn.Embedding(20, 5)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        x, mask = self.words(input_ids), attention_mask[..., None]
        return SimpleNamespace(
            last_hidden_state=x + (x * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        )


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("transformers")

    def from_pretrained(name: str) -> FakeModel:
        if name != "known":
            raise OSError("no such model")
        return FakeModel()

    def from_config(configuration: dict) -> FakeModel:
        assert configuration == CONFIGURATION
        return FakeModel()

    module.AutoModel = SimpleNamespace(from_pretrained=from_pretrained, from_config=from_config)
    module.AutoConfig = SimpleNamespace(for_model=dict)
    monkeypatch.setitem(sys.modules, "transformers", module)
    return module


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("pool", ["first", "eos", "mean"])
def test_a_hugging_face_model_is_pooled_and_projected(pool: str) -> None:
    encoder = HuggingFaceTextEncoder("known", out=4, pool=pool).double()
    padded = encoder(torch.tensor([[2, 7, 3, 0, 0], [2, 8, 9, 9, 3]]))
    assert padded.shape == (2, 4)
    torch.testing.assert_close(padded[:1], encoder(torch.tensor([[2, 7, 3]])))
    if pool == "first":
        hidden = encoder.model(torch.tensor([[2, 7, 3]]), torch.ones(1, 3)).last_hidden_state
        torch.testing.assert_close(padded[:1], encoder.project(hidden[:, 0]))


def test_a_saved_network_does_not_need_the_folder_of_its_text_model(
    transformers: ModuleType, tmp_path: Path
) -> None:
    sizes = {"width": 8, "heads": 2, "frames": 2, "image_size": 16, "tubelet": (2, 16, 16), "context": 9}
    depths = {"video_depth": 1, "caption_depth": 1, "masked_depth": 1, "masked_width": 8}
    model = VideoTextModel(20, **sizes, **depths, text_model="known").eval()
    save_model(model, tmp_path / "saved", "a network without training")
    transformers.AutoModel.from_pretrained = None
    tokens = torch.tensor([[2, 7, 3]])
    for load in (partial(load_model, VideoTextModel), VideoTextModel.from_pretrained):
        loaded = load(tmp_path / "saved")
        assert torch.equal(loaded.eval().text(tokens), model.text(tokens))


@pytest.mark.usefixtures("transformers")
def test_a_model_that_is_not_there_and_tokens_of_another_tokeniser_are_named() -> None:
    with pytest.raises(ParameterError, match="'nowhere'.*can be reached from here.*no such model"):
        HuggingFaceTextEncoder("nowhere")
    with pytest.raises(ParameterError, match="pool: 'max'"):
        HuggingFaceTextEncoder("known", pool="max")
    encoder = HuggingFaceTextEncoder("known")
    with pytest.raises(DataError, match="token id 21"):
        encoder(torch.tensor([[21]]))
    with pytest.raises(DataError, match="the context holds 9"):
        encoder(torch.full((1, 10), 2))


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ParameterError, match="text-models"):
        HuggingFaceTextEncoder("bert")
