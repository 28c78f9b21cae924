"""What generation is measured against: no cache, as it is usually written, and Hugging Face's T5."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mtl.models.angiography import CaptioningDecoder


@torch.inference_mode()
def plain_greedy(decoder: CaptioningDecoder, memory: Tensor, tokens: Tensor, length: int) -> Tensor:
    """``(B, length)``: the network as in training for each token, of whose logits the last are looked at."""
    while tokens.shape[1] < length:
        logits = decoder(tokens, memory)[:, -1].clone()
        logits[:, decoder.pad] = -torch.inf
        tokens = torch.cat([tokens, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return tokens


def hugging_face_writer(decoder: CaptioningDecoder, memory: Tensor, length: int) -> Callable[[], Tensor]:
    """Greedy generation, with its cache, by a T5 whose decoder has the size of ours (random weights).

    The video tokens stand where its encoder's output would. Needs ``transformers``.
    """
    from transformers import T5Config, T5ForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutput

    width, heads = decoder.words.weight.shape[1], decoder.blocks[0].attention.heads
    torch.manual_seed(0)
    layers = len(decoder.blocks)  # the encoder has as many, unused: the cache is as deep as it is
    config = T5Config(
        vocab_size=decoder.vocabulary, d_model=width, d_kv=width // heads, num_heads=heads,
        d_ff=decoder.blocks[0].mlp[0].out_features, num_layers=layers, num_decoder_layers=layers,
        feed_forward_proj="gelu", pad_token_id=decoder.pad, eos_token_id=decoder.eos,
        decoder_start_token_id=decoder.pad,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    new = length - 1  # the start token is there

    def write() -> Tensor:
        return model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory), do_sample=False, num_beams=1,
            use_cache=True, min_new_tokens=new, max_new_tokens=new,
        )  # fmt: skip

    return torch.inference_mode()(write)
