"""Write a folder that `jitrl.testing.tiny.save` made as a GGUF file, for llama.cpp.

    python scripts/tiny_gguf.py FOLDER FILE.gguf [--bos]

Texts begin with no special token, as with the folder's tokenizer, unless --bos is given. For the
checks by hand of docs/servers.md: a Llama in float32 with tied embeddings and a byte-level BPE, and
no other. Needs the packages gguf and safetensors.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Of what every layer has: in the folder, and in GGUF."""


def main() -> None:
    """Read the folder and write the file."""
    parser = argparse.ArgumentParser(description="Write a tiny Llama as GGUF.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bos", action="store_true", help="begin every plain text with <s>")
    given = parser.parse_args()
    config = json.loads((given.folder / "config.json").read_text())
    writer = gguf.GGUFWriter(given.file, "llama")
    write_config(writer, config)
    write_tokenizer(writer, given.folder, config, given.bos)
    for name, values in load_file(given.folder / "model.safetensors").items():
        writer.add_tensor(*tensor(name, values, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_config(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """Write the sizes, and the constants of the norms and of the rotary positions."""
    heads = config["num_attention_heads"]
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def write_tokenizer(
    writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any], bos: bool
) -> None:
    """Write the tokens, their merges, the special ones, and the chat template."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"]}
    ids: dict[str, int] = tokenizer["model"]["vocab"]
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in ids_of(ids)]
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(bos)
    template = folder / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text())


def ids_of(vocabulary: dict[str, int]) -> list[int]:
    """Return the ids in order; they must leave no gap."""
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        raise SystemExit("the ids of the tokens have gaps: not a folder of jitrl.testing.tiny")
    return ids


def tensor(
    name: str, values: NDArray[np.float32], config: dict[str, Any]
) -> tuple[str, NDArray[np.float32]]:
    """Return name and values as GGUF has them."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", values
    if name == "model.norm.weight":
        return "output_norm.weight", values
    _, _, layer, rest = name.split(".", 3)
    part = rest.removesuffix(".weight")
    if part.endswith(("q_proj", "k_proj")):
        heads = config["num_attention_heads" if "q_" in part else "num_key_value_heads"]
        values = rotated(values, heads)
    return f"blk.{layer}.{NAMES[part]}.weight", values


def rotated(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return the rows of q or k in the order of llama.cpp, which turns neighbouring pairs.

    transformers turns row i with row i + half of its head.
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


if __name__ == "__main__":
    main()
