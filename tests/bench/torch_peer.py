#!/usr/bin/env python3
"""A plain torch forward of a checkpoint's transformer on the CPU, the peer of msa_engine_bench: prefill and decode tokens/s.

  tests/bench/torch_peer.py --model DIR [--threads N] [--prompt-tokens N] [--new-tokens N] [--concurrency N] [--dtype bf16|f32]

Needs torch 2.5 or later from PyPI. Weights in the dtype asked for, torch's own attention, a KV cache that is allocated beforehand; without
routing and without memory, so it does less than the engine does. Decoding is checked against a forward over the whole text before it
is timed. The last line is JSON.
"""

import argparse
import json
import pathlib
import struct
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def load(folder, dtype):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = bytearray(path.read_bytes())
        (header_bytes,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + header_bytes])
        for name, entry in header.items():
            if name == "__metadata__" or ".router_" in name:
                continue
            begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
            flat = torch.frombuffer(memoryview(data)[begin:end], dtype=DTYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"]).to(dtype).clone()
    return tensors


class Model:
    def __init__(self, folder, dtype):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = load(folder, dtype)
        self.dtype = dtype
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config["num_key_value_heads"]
        self.head_dim = self.config["head_dim"]
        self.layers = self.config["num_hidden_layers"]

    def cache(self, batch, length):
        shape = (self.layers, 2, batch, self.kv_heads, length, self.head_dim)
        return torch.zeros(shape, dtype=self.dtype)

    def norm(self, x, name):
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return (x32 * scale).to(self.dtype) * self.weights[name]

    def rope(self, x, cos, sin):
        first, second = x.chunk(2, dim=-1)
        return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(self.dtype)

    @torch.inference_mode()
    def forward(self, ids, cache, start):
        """Logits [batch, vocabulary] of the last of ids [batch, rows], at positions start, start + 1, ...

        Many rows only at the start: a later one sees all rows before it.
        """
        assert start == 0 or ids.shape[1] == 1
        batch, rows = ids.shape
        w = self.weights
        frequencies = self.config["rope_theta"] ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angles = torch.arange(start, start + rows).float()[:, None] * frequencies
        cos, sin = (torch.cat((t, t), dim=-1) for t in (angles.cos(), angles.sin()))
        hidden = w["model.embed_tokens.weight"][ids]
        for layer in range(self.layers):
            p = f"model.layers.{layer}."
            x = self.norm(hidden, p + "input_layernorm.weight")
            heads = []
            for kind, count in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
                y = F.linear(x, w[p + f"self_attn.{kind}_proj.weight"])
                y = y.view(batch, rows, count, self.head_dim)
                if kind != "v":
                    y = self.norm(y, p + f"self_attn.{kind}_norm.weight")
                y = y.transpose(1, 2)
                heads.append(y if kind == "v" else self.rope(y, cos, sin))
            query, key, value = heads
            cache[layer, 0, :, :, start : start + rows] = key
            cache[layer, 1, :, :, start : start + rows] = value
            keys, values = cache[layer, 0, :, :, : start + rows], cache[layer, 1, :, :, : start + rows]
            out = F.scaled_dot_product_attention(
                query, keys, values, is_causal=rows > 1 and start == 0, enable_gqa=True)
            out = out.transpose(1, 2).reshape(batch, rows, self.heads * self.head_dim)
            hidden = hidden + F.linear(out, w[p + "self_attn.o_proj.weight"])
            x = self.norm(hidden, p + "post_attention_layernorm.weight")
            gate = F.silu(F.linear(x, w[p + "mlp.gate_proj.weight"]))
            hidden = hidden + F.linear(gate * F.linear(x, w[p + "mlp.up_proj.weight"]), w[p + "mlp.down_proj.weight"])
        head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
        return F.linear(self.norm(hidden[:, -1], "model.norm.weight"), head)


def check(model):
    """One token after another gives what all of them at once give."""
    ids = torch.arange(40).view(1, -1) * 37 % model.config["vocab_size"]
    whole = model.forward(ids, model.cache(1, 40), 0)
    cache = model.cache(1, 40)
    model.forward(ids[:, :39], cache, 0)
    step = model.forward(ids[:, 39:], cache, 39)
    difference = (whole - step).abs().max() / whole.abs().max()
    if difference > 0.05:
        sys.exit(f"decoding differs from one forward by {difference:.3f} of the largest logit; not timed")


def timed(run, seconds=3.0):
    """The shortest run, of at least one after the first."""
    run()
    best, end = float("inf"), time.monotonic() + seconds
    while best == float("inf") or time.monotonic() < end:
        start = time.monotonic()
        run()
        best = min(best, time.monotonic() - start)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = Model(arguments.model, torch.bfloat16 if arguments.dtype == "bf16" else torch.float32)
    check(model)
    result = {"peer": "torch " + torch.__version__, "threads": arguments.threads, "dtype": arguments.dtype}
    prompt = torch.arange(arguments.prompt_tokens).view(1, -1) * 37 % model.config["vocab_size"]
    cache = model.cache(1, arguments.prompt_tokens)
    result["prefill_tokens_per_second"] = arguments.prompt_tokens / timed(lambda: model.forward(prompt, cache, 0))
    context = 64
    for batch in (1, arguments.concurrency):
        ids = torch.arange(batch * context).view(batch, -1) * 37 % model.config["vocab_size"]
        cache = model.cache(batch, context + arguments.new_tokens)
        model.forward(ids, cache, 0)

        def decode():
            token = ids[:, -1:]
            for i in range(arguments.new_tokens):
                token = model.forward(token, cache, context + i).argmax(-1, keepdim=True)

        result[f"decode_{batch}_tokens_per_second"] = batch * arguments.new_tokens / timed(decode)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
