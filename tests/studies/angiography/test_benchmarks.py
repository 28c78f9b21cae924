"""The benchmarks at sizes that are over at once: peers do what we do, gates see what differs. No timing."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from mtl.errors import ParameterError
from mtl.models.angiography import VideoEncoder
from mtl.reporting.bench_command import IDS
from mtl.studies.angiography import (
    benchmarks,
    contrastive_benchmarks,
    generation_benchmarks,
    masked_benchmarks,
)
from mtl.studies.angiography.contrastive_benchmarks import contrastive_cases, made_pairs, memory_rows
from mtl.studies.angiography.contrastive_peers import (
    full_cross_entropy,
    full_sigmoid,
    full_softmax,
    full_softplus,
)
from mtl.studies.angiography.generation_benchmarks import (
    generation_cases,
    length_exponent,
    lively_decoder,
    same_scores,
    same_tokens,
)
from mtl.studies.angiography.masked_benchmarks import gradient_gate, masked_cases, video_tokens
from mtl.studies.angiography.masked_peers import encoded_in_full

FIELDS = {"id", "workload", "peer", "peer_s", "ours_s", "ratio", "correct", "difference"}


def small_decoder():
    return lively_decoder(vocabulary=50, width=16, depth=2, heads=2, context=16)


def small_encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(4, 16, (2, 4, 4), width=16, depth=2, heads=2, pool="mean")


def small_generation():
    return generation_cases(small_decoder(), workloads=((1, 12, 6.0), (3, 8, 12.0)), video_tokens=5)


def small_masked():
    return masked_cases(small_encoder(), ratios=((0.75, 5.8), (0.9, 14.0)))


def test_all_writers_write_the_same_tokens_and_not_always_the_same() -> None:
    cases = small_generation()
    assert [case.goal for case in cases] == [6.0, 6.0, 0.0, 12.0, 12.0, 0.0]
    for case in cases:
        assert case.gate()
    assert cases[0].ours().shape == cases[1].theirs().shape == (1, 12)
    assert len(cases[3].ours().unique()) > 4
    assert cases[2].ours().dtype == torch.int64


def test_the_gate_of_tokens_sees_one_that_differs() -> None:
    tokens = torch.tensor([[2, 5, 7]])
    assert "3 tokens identical, 3 different" in same_tokens(tokens, tokens.clone())
    with pytest.raises(AssertionError, match="1 of 3 tokens differ"):
        same_tokens(tokens, torch.tensor([[2, 5, 8]]))
    with pytest.raises(AssertionError, match=r"\(1, 3\) tokens, not \(1, 2\)"):
        same_tokens(tokens, tokens[:, :2])


def test_the_gate_of_half_precision_sees_other_weights() -> None:
    decoder, other = small_decoder(), small_decoder().bfloat16()
    memory, tokens = torch.randn(1, 5, 16), torch.randint(4, 50, (1, 8))
    assert "best token the same" in same_scores(decoder, other, memory, tokens)
    with torch.no_grad():
        other.norm.weight += 0.2
    with pytest.raises(AssertionError, match="logits differ by"):
        same_scores(decoder, other, memory, tokens)


def test_the_exponent_of_the_length_is_a_number() -> None:
    assert isinstance(length_exponent(small_decoder(), (4, 8, 16), video_tokens=5, rounds=1), float)


def test_losses_of_the_whole_matrix_equal_a_loop_over_pairs() -> None:
    v, u, t, b = (x.double() for x in made_pairs(5, 4))
    z = t.exp() * v @ u.T
    pairs = [(i, j) for i in range(5) for j in range(5)]
    sigmoid = -sum(torch.sigmoid((z[i, j] + b) * (1 if i == j else -1)).log() for i, j in pairs) / 5
    rows = [z[i, i] - torch.stack([z[i, j] for j in range(5)]).exp().sum().log() for i in range(5)]
    columns = [z[i, i] - torch.stack([z[j, i] for j in range(5)]).exp().sum().log() for i in range(5)]
    softmax = -(sum(rows) + sum(columns)) / 10
    for loss in (full_sigmoid, full_softplus):
        torch.testing.assert_close(loss(v, u, t, b), sigmoid)
    for loss in (full_softmax, full_cross_entropy):
        torch.testing.assert_close(loss(v, u, t), softmax)


def test_contrastive_gates_pass_and_another_loss_fails(monkeypatch) -> None:
    cases = contrastive_cases(batch=40, width=8)
    assert [case.id for case in cases] == ["A2"] * 4
    for case in cases:
        assert float(case.gate().split("by ")[1].split()[0]) < 1e-5
    _, peers = contrastive_benchmarks.LOSSES["softmax"]
    halved = lambda *x: full_softmax(*x) / 2  # noqa: E731
    monkeypatch.setitem(contrastive_benchmarks.LOSSES, "softmax", (halved, peers))
    with pytest.raises(AssertionError, match="gradients differ"):
        contrastive_cases(batch=40, width=8)[-1].gate()


def test_memory_rows_say_how_much_less_and_how_it_grows() -> None:
    rows = memory_rows(batches=(32, 64, 128), width=4)
    assert [row["id"] for row in rows] == ["A2", "A2"]
    for row in rows:
        assert row.keys() >= FIELDS and row["ratio"] is None
        # The whole matrix takes the square of the batch.
        assert row["peer_exponent"] > 1.5 and len(row["memory"]["ours"]) == 3
        assert row["memory_ratio"] > 0 and isinstance(row["exponent"], float)


def test_all_tubelets_in_the_encoder_give_the_same() -> None:
    encoder = small_encoder().double()
    video, keep = masked_benchmarks.made_clip(encoder).double(), torch.tensor([[1, 6, 30]])
    torch.testing.assert_close(encoded_in_full(encoder, video, keep), encoder.encode_visible(video, keep))


def test_masked_gates_pass_and_see_other_gradients() -> None:
    cases = small_masked()
    assert [case.goal for case in cases] == [5.8, 0.0, 14.0, 0.0]
    for case in cases:
        assert "of their norm" in case.gate()
    found = cases[0].ours()
    with pytest.raises(AssertionError, match="gradients differ"):
        gradient_gate(found, [1.01 * gradient for gradient in found])


def test_every_id_has_its_rows(monkeypatch) -> None:
    small = {"A1": small_generation, "A2": lambda: contrastive_cases(24, 4), "A3": small_masked}
    monkeypatch.setattr(benchmarks, "_CASES", {name: lambda f=f: f()[:1] for name, f in small.items()})
    monkeypatch.setattr(benchmarks, "length_exponent", lambda: 1.0)
    monkeypatch.setattr(benchmarks, "memory_rows", lambda: memory_rows((16, 32, 64), 4))
    said: list[str] = []
    rows = list(benchmarks.rows(IDS["angiography"], "", 7, {}, said.append))
    assert [row["id"] for row in rows] == ["A1", "A1", "A2", "A2", "A2", "A3"]
    assert all(row.keys() >= FIELDS and row["correct"] for row in rows)
    assert said[0] == "A1 ..." and "A2: memory ..." in said


def test_a_checkpoint_is_refused() -> None:
    with pytest.raises(ParameterError, match="--checkpoint: no benchmark of angiography"):
        list(benchmarks.rows(["A1"], "folder", 7, {}, print))


class FakeT5:
    """Writes as many tokens as it is asked for."""

    def __init__(self, config: SimpleNamespace) -> None:
        self.start = config.decoder_start_token_id

    def eval(self) -> FakeT5:
        return self

    def generate(self, encoder_outputs, max_new_tokens: int, min_new_tokens: int, **options) -> torch.Tensor:
        assert options["use_cache"] and not options["do_sample"] and min_new_tokens == max_new_tokens
        return torch.full((len(encoder_outputs.last_hidden_state), 1 + max_new_tokens), self.start)


class FakeVideoMAE(torch.nn.Module):
    """Embeds what is visible of the right number of tubelets."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        side = config.image_size // config.patch_size
        self.tokens = config.num_frames // config.tubelet_size * side**2
        self.embed = torch.nn.Parameter(torch.ones(1, self.tokens, config.hidden_size))

    def forward(self, pixels: torch.Tensor, bool_masked_pos: torch.Tensor) -> SimpleNamespace:
        assert pixels.shape == (1, 4, 3, 16, 16) and bool_masked_pos.shape == (1, self.tokens)
        return SimpleNamespace(last_hidden_state=self.embed[~bool_masked_pos][None])


@pytest.fixture
def hugging_face(monkeypatch) -> None:
    """A ``transformers`` that is there."""
    fake, outputs = ModuleType("transformers"), ModuleType("transformers.modeling_outputs")
    fake.T5Config = fake.VideoMAEConfig = outputs.BaseModelOutput = SimpleNamespace
    fake.T5ForConditionalGeneration, fake.VideoMAEModel = FakeT5, FakeVideoMAE
    monkeypatch.setitem(sys.modules, "transformers", fake)
    monkeypatch.setitem(sys.modules, "transformers.modeling_outputs", outputs)
    for module in (generation_benchmarks, masked_benchmarks):
        monkeypatch.setattr(module, "find_spec", lambda name: name)


@pytest.mark.usefixtures("hugging_face")
def test_hugging_face_is_a_peer_where_it_is_installed() -> None:
    for cases, goal in ((small_generation(), 1.15), (small_masked(), 1.0)):
        theirs = [case for case in cases if case.peer.startswith("Hugging Face")]
        assert [case.goal for case in theirs] == [goal, goal]
        for case in theirs:
            assert case.gate().startswith("as many tokens") and case.theirs() is not None


def test_the_sizes_are_those_of_the_goals() -> None:
    assert video_tokens(masked_benchmarks.vit_s()) == 1568
    assert generation_benchmarks.VIDEO_TOKENS == 392 and contrastive_benchmarks.BATCH == 4096
