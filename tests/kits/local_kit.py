"""Random language models that are small enough to list everything they can write."""

from __future__ import annotations

import itertools
from functools import cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from jitrl.models.transformers import TransformersModel

torch.set_num_threads(1)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
"""What the tests run on: a GPU too, where there is one."""

WORDS = ["</s>", "go", "north", "east", "take", "lamp", "now", "?"]


def llama(vocabulary, *, hidden=16, layers=1, seed=0, dtype=torch.float64, context=64, spread=0.6):
    """Return a random Llama whose next-token distributions are far from uniform."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=spread,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).to(dtype).eval()


def words_tokenizer(words=WORDS):
    """Return a tokenizer whose tokens are whole words; the first ends a sequence."""
    table = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>")


def words_model(device="cpu"):
    """Return a float64 model of eight words, to be shared: its answers begin after "?"."""
    return _words_model(device)


@cache
def _words_model(device):
    return TransformersModel(llama(len(WORDS)).to(device), words_tokenizer())


def everything(vocabulary, limit):
    """Return every sequence of at most `limit` tokens that the token 0 ends."""
    return [
        (*body, 0)
        for length in range(limit)
        for body in itertools.product(range(1, vocabulary), repeat=length)
    ]
