"""Writes a GGUF file of a Qwen3.5 shape with random weights in BF16, of which llama.cpp's own tool makes those in fewer bits.

    models.py CONFIG.json OUT.gguf

What a speed depends on is there, and no vocabulary: `tokenizer.ggml.model` is "none".
"""
import json
import sys

import gguf
import numpy as np

SPREAD = 0.02  # what models are initialised with


def dimensions(config):
    text = config.get("text_config", config)
    interval = text.get("full_attention_interval", 4)
    kinds = text.get("layer_types") or [
        "full_attention" if (layer + 1) % interval == 0 else "linear_attention" for layer in range(text["num_hidden_layers"])]
    return text, kinds, interval


def add_metadata(writer, text, kinds, interval):
    rope = text["rope_parameters"]
    numbers = {
        "block_count": text["num_hidden_layers"],
        "context_length": text["max_position_embeddings"],
        "embedding_length": text["hidden_size"],
        "feed_forward_length": text["intermediate_size"],
        "attention.head_count": text["num_attention_heads"],
        "attention.head_count_kv": text["num_key_value_heads"],
        "attention.key_length": text["head_dim"],
        "attention.value_length": text["head_dim"],
        "rope.dimension_count": int(text["head_dim"] * rope["partial_rotary_factor"]),
        "ssm.conv_kernel": text["linear_conv_kernel_dim"],
        "ssm.state_size": text["linear_key_head_dim"],
        "ssm.group_count": text["linear_num_key_heads"],
        "ssm.time_step_rank": text["linear_num_value_heads"],
        "ssm.inner_size": text["linear_num_value_heads"] * text["linear_value_head_dim"],
        "full_attention_interval": interval,
        "vocab_size": text["vocab_size"],
    }
    for key, number in numbers.items():
        writer.add_uint32(f"qwen35.{key}", number)
    writer.add_float32("qwen35.rope.freq_base", rope["rope_theta"])
    writer.add_float32("qwen35.attention.layer_norm_rms_epsilon", text["rms_norm_eps"])
    writer.add_array("qwen35.rope.dimension_sections", [11, 11, 10, 0])
    writer.add_array("qwen35.attention.recurrent_layers", [kind == "linear_attention" for kind in kinds])
    writer.add_string("tokenizer.ggml.model", "none")


class Tensors:
    def __init__(self, writer):
        self.writer = writer
        self.random = np.random.default_rng(0)

    def matrix(self, name, rows, columns):
        weights = self.random.standard_normal((rows, columns), dtype=np.float32) * SPREAD
        halves = (weights.view(np.uint32) >> 16).astype(np.uint16)
        self.writer.add_tensor(
            name, halves.view(np.uint8), raw_shape=(rows, 2 * columns), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def vector(self, name, *shape, around=1.0, spread=0.0):
        values = around + spread * self.random.standard_normal(shape)
        self.writer.add_tensor(name, values.astype(np.float32))


def add_layer(tensors, block, text, kind):
    hidden, inside = text["hidden_size"], text["intermediate_size"]
    tensors.vector(f"{block}.attn_norm.weight", hidden)
    tensors.vector(f"{block}.post_attention_norm.weight", hidden)
    for name in ("ffn_gate", "ffn_up"):
        tensors.matrix(f"{block}.{name}.weight", inside, hidden)
    tensors.matrix(f"{block}.ffn_down.weight", hidden, inside)
    if kind == "full_attention":
        queries, keys = (text[heads] * text["head_dim"] for heads in ("num_attention_heads", "num_key_value_heads"))
        tensors.matrix(f"{block}.attn_q.weight", 2 * queries, hidden)
        for name in ("attn_k", "attn_v"):
            tensors.matrix(f"{block}.{name}.weight", keys, hidden)
        tensors.matrix(f"{block}.attn_output.weight", hidden, queries)
        for name in ("attn_q_norm", "attn_k_norm"):
            tensors.vector(f"{block}.{name}.weight", text["head_dim"])
        return
    heads = text["linear_num_value_heads"]
    values = heads * text["linear_value_head_dim"]
    channels = 2 * text["linear_num_key_heads"] * text["linear_key_head_dim"] + values
    tensors.matrix(f"{block}.attn_qkv.weight", channels, hidden)
    tensors.matrix(f"{block}.attn_gate.weight", values, hidden)
    tensors.matrix(f"{block}.ssm_out.weight", hidden, values)
    for name in ("ssm_alpha", "ssm_beta"):
        tensors.matrix(f"{block}.{name}.weight", heads, hidden)
    tensors.vector(f"{block}.ssm_a", heads, around=-1.0)
    tensors.vector(f"{block}.ssm_dt.bias", heads, around=0.0, spread=0.5)
    tensors.vector(f"{block}.ssm_norm.weight", text["linear_value_head_dim"])
    tensors.vector(f"{block}.ssm_conv1d.weight", channels, text["linear_conv_kernel_dim"], around=0.0, spread=0.4)


def main():
    config, out = sys.argv[1:]
    with open(config) as file:
        config = json.load(file)
    text, kinds, interval = dimensions(config)
    writer = gguf.GGUFWriter(out, "qwen35")
    add_metadata(writer, text, kinds, interval)
    tensors = Tensors(writer)
    tensors.matrix("token_embd.weight", text["vocab_size"], text["hidden_size"])
    if not config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)):
        tensors.matrix("output.weight", text["vocab_size"], text["hidden_size"])
    tensors.vector("output_norm.weight", text["hidden_size"])
    for layer, kind in enumerate(kinds):
        add_layer(tensors, f"blk.{layer}", text, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
