"""The needle model: one code for training and evaluation, tensors named as in the checkpoint.

Shape letters: B sequences, T tokens, S keys, M model width, Hq/Hkv heads, D head width,
N documents, C chunks, P tokens per chunk, k selected documents. Routing, softmax and norms are
f32 even under autocast.
"""
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.memory_bank import ChunkPooling, DocumentGroup, MemoryBank
from training.model_config import ModelConfig

MAX_POSITIONS = 8192
UNROUTED_SCORE = -2.0         # below every cosine
Rope = tuple[Tensor, Tensor]  # cos, sin [T, D/2]


@dataclass
class RoutingTrace:
    """What one MSA layer did with a batch of queries; the training losses need it."""

    document_scores: Tensor   # [B, N]
    query: Tensor             # [B, T, Hq, D] after norm and RoPE
    local_key: Tensor         # [B, T, Hkv, D]
    prefix_key: Tensor        # [template tokens, Hkv, D]


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """RoPE in the rotate-half layout; x [..., T, heads, D]"""
    low, high = x.chunk(2, -1)
    cos, sin = (r[:, None] for r in rope)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, is_msa: bool):
        super().__init__()
        self.config = config
        query_rows = config.num_heads * config.head_dim
        key_rows = config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.width, query_rows, bias=False)
        self.k_proj = nn.Linear(config.width, key_rows, bias=False)
        self.v_proj = nn.Linear(config.width, key_rows, bias=False)
        self.o_proj = nn.Linear(query_rows, config.width, bias=False)
        self.q_norm = RmsNorm(config.head_dim, config.norm_eps)
        self.k_norm = RmsNorm(config.head_dim, config.norm_eps)
        if is_msa:  # in a Sequential only for the checkpoint's names
            self.router_q_proj = nn.Sequential(nn.Linear(config.width, query_rows, bias=False))
            self.router_k_proj = nn.Sequential(nn.Linear(config.width, key_rows, bias=False))

    def queries(self, x: Tensor, rope: Rope) -> Tensor:
        """Normed layer input [..., T, M] -> [..., T, Hq, D]"""
        heads = self.q_proj(x).unflatten(-1, (self.config.num_heads, self.config.head_dim))
        return rotate(self.q_norm(heads), rope)

    def keys_values(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor]:
        """Normed layer input [..., T, M] -> keys and values [..., T, Hkv, D]"""
        shape = (self.config.num_kv_heads, self.config.head_dim)
        keys = rotate(self.k_norm(self.k_proj(x).unflatten(-1, shape)), rope)
        return keys, self.v_proj(x).unflatten(-1, shape)

    def attend(self, query: Tensor, key: Tensor, value: Tensor,
               mask: Tensor | None = None) -> Tensor:
        """query [B, T, Hq, D], key and value [B, S, Hkv, D] -> [B, T, M].
        mask: bool, broadcasts to [B, 1, T, S]; without one T = S and attention is causal."""
        query, key, value = (t.float().transpose(1, 2) for t in (query, key, value))
        with torch.autocast(query.device.type, enabled=False):
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def router_queries(self, x: Tensor) -> Tensor:
        """Normed layer input [..., T, M] -> [..., T, Hkv*D] f32: unit queries of the heads of a key
        head summed, over Hq, so that the product with a routing key is the head mean of cosines."""
        config = self.config
        with torch.autocast(x.device.type, enabled=False):
            heads = self.router_q_proj(x.float()).unflatten(
                -1, (config.num_kv_heads, config.heads_per_kv_head, config.head_dim))
            return F.normalize(heads, dim=-1).sum(-2).flatten(-2) / config.num_heads

    def router_keys(self, x: Tensor, pool: ChunkPooling) -> Tensor:
        """Normed layer input [N, chunks * P, M] -> [C, Hkv*D] f32; pooled first, then normalised"""
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(pool(self.router_k_proj(x.float())), dim=-1).flatten(1)


class Mlp(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn_width, bias=False)
        self.down_proj = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, is_msa: bool):
        super().__init__()
        self.input_layernorm = RmsNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config, is_msa)
        self.post_attention_layernorm = RmsNorm(config.width, config.norm_eps)
        self.mlp = Mlp(config)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The residual sums of the layer; x and attended [..., T, M]"""
        x = x + attended
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(
            Layer(config, i in config.msa_layers) for i in range(config.num_layers))
        self.norm = RmsNorm(config.width, config.norm_eps)


class NeedleModel(nn.Module):
    """`state_dict()` holds exactly the checkpoint's tensors (embedding and output are tied)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        speeds = config.rope_theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
        angles = torch.arange(MAX_POSITIONS)[:, None] * speeds
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    @staticmethod
    def load(folder: Path) -> "NeedleModel":
        """A checkpoint in Hugging Face form, computed in f32 whatever it is stored in."""
        model = NeedleModel(ModelConfig.read(folder))
        weights = load_file(folder / "model.safetensors")
        weights.pop("temperature", None)  # training's; inference does not use it
        model.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return model

    @property
    def device(self) -> torch.device:
        return self.cos.device

    def rope(self, first: int, count: int) -> Rope:
        return self.cos[first:first + count], self.sin[first:first + count]

    def embed(self, token_ids: Tensor) -> Tensor:
        return self.model.embed_tokens(token_ids)

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states [..., M] -> [..., vocabulary]"""
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)

    def first_position(self, prefix: list[tuple[Tensor, Tensor]]) -> int:
        """Of the prompt: whatever was selected, k places behind the template head are left out."""
        return len(prefix[0][0]) + self.config.top_k

    def template_prefix(self, token_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [T, Hkv, D] of the template head [T], per layer"""
        x, rope, prefix = self.embed(token_ids)[None], self.rope(0, len(token_ids)), []
        for layer in self.model.layers:
            normed = layer.input_layernorm(x)
            key, value = layer.self_attn.keys_values(normed, rope)
            prefix.append((key[0], value[0]))
            query = layer.self_attn.queries(normed, rope)
            x = layer.finish(x, layer.self_attn.attend(query, key, value))
        return prefix

    def encode_documents(self, groups: list[DocumentGroup],
                         last_layer: int | None = None) -> MemoryBank:
        """Documents, numbered through the groups, -> their bank. Layers above `last_layer` (by
        default the last one) are left out."""
        last_layer = self.config.num_layers - 1 if last_layer is None else last_layer
        most_chunks = max(g.token_ids.shape[1] for g in groups) // self.config.chunk_tokens
        layers = [i for i in self.config.msa_layers if i <= last_layer]
        parts = {i: ([], [], []) for i in layers}  # keys, values, routing keys of each group
        tables, owners, num_documents, num_chunks = [], [], 0, 0
        for group in groups:
            pool = ChunkPooling(group, self.config)
            self._encode_group(group, pool, last_layer, parts)
            real = pool.is_real
            table = torch.full((len(real), most_chunks), -1, device=self.device)
            added = int(real.sum())
            table[:, :real.shape[1]][real] = torch.arange(
                num_chunks, num_chunks + added, device=self.device)
            tables.append(table)
            owners.append(num_documents + real.nonzero()[:, 0])
            num_documents, num_chunks = num_documents + len(real), num_chunks + added
        keys, values, router_keys = (
            {i: torch.cat(parts[i][kind]) for i in layers} for kind in range(3))
        return MemoryBank(torch.cat(tables), torch.cat(owners), keys, values, router_keys)

    def _encode_group(self, group: DocumentGroup, pool: ChunkPooling, last_layer: int,
                      parts: dict[int, tuple[list, list, list]]) -> None:
        x, rope = self.embed(group.token_ids), self.rope(0, group.token_ids.shape[1])
        for i, layer in enumerate(self.model.layers[:last_layer + 1]):
            attention, normed = layer.self_attn, layer.input_layernorm(x)
            key, value = attention.keys_values(normed, rope)
            if i in parts:
                made = pool(key), pool(value), attention.router_keys(normed, pool)
                for collected, new in zip(parts[i], made):
                    collected.append(new)
            if i < last_layer:
                x = layer.finish(x, attention.attend(attention.queries(normed, rope), key, value))

    def document_scores(self, router_query: Tensor, routed: Tensor, bank: MemoryBank,
                        layer: int) -> Tensor:
        """router_query [B, T, Hkv*D], routed [B, T] bool -> [B, N]: the largest product over
        routed tokens, then over the document's chunks"""
        with torch.autocast(router_query.device.type, enabled=False):
            products = router_query @ bank.router_key[layer].T
            chunk_scores = products.masked_fill(~routed[..., None], UNROUTED_SCORE).amax(1)
        # Index -1 of the table is the padding column.
        return F.pad(chunk_scores, (0, 1), value=UNROUTED_SCORE)[:, bank.chunks].amax(-1)

    def _gather_memory(self, bank: MemoryBank, layer: int,
                       selected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """selected [B, k] -> keys and values [B, S, Hkv, D], which of them are real [B, S]"""
        chunks = bank.chunks[selected].flatten(1)
        most = int((chunks >= 0).sum(1).max())
        real_first = (chunks < 0).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        chunks = chunks.gather(1, real_first)
        return bank.memory_key[layer][chunks], bank.memory_value[layer][chunks], chunks >= 0

    def read(self, token_ids: Tensor, routed: Tensor, bank: MemoryBank,
             prefix: list[tuple[Tensor, Tensor]], top_k: int, forced: Tensor,
             last_layer: int | None = None) -> tuple[Tensor, dict[int, RoutingTrace]]:
        """Training's pass over queries padded at the right, with routing.

        token_ids and routed [B, T]; forced [B, N] bool: these documents are always selected. With
        `last_layer` (an MSA layer) the pass ends at that layer's routing.
        -> hidden states [B, T, M], a trace per MSA layer"""
        (num_rows, num_tokens), device = token_ids.shape, token_ids.device
        x, rope = self.embed(token_ids), self.rope(self.first_position(prefix), num_tokens)
        causal = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()
        traces = {}
        for i, layer in enumerate(self.model.layers):
            attention, normed = layer.self_attn, layer.input_layernorm(x)
            query = attention.queries(normed, rope)
            local_key, local_value = attention.keys_values(normed, rope)
            prefix_key, prefix_value = prefix[i]
            keys = [prefix_key.expand(num_rows, -1, -1, -1)]
            values = [prefix_value.expand(num_rows, -1, -1, -1)]
            visible = [torch.ones(num_rows, num_tokens, len(prefix_key), dtype=torch.bool,
                                  device=device)]
            if i in self.config.msa_layers:
                scores = self.document_scores(attention.router_queries(normed), routed, bank, i)
                traces[i] = RoutingTrace(scores, query, local_key, prefix_key)
                if i == last_layer:
                    break
                wanted = scores.detach() + forced * 10.0
                selected = wanted.topk(min(top_k, wanted.shape[1]), 1).indices
                memory_key, memory_value, real = self._gather_memory(bank, i, selected)
                keys.append(memory_key)
                values.append(memory_value)
                visible.append(real[:, None].expand(-1, num_tokens, -1))
            keys.append(local_key)
            values.append(local_value)
            visible.append(causal.expand(num_rows, -1, -1))
            # f32 throughout: memory is f32, local keys may be bf16 under autocast.
            key, value = (torch.cat([t.float() for t in part], 1) for part in (keys, values))
            x = layer.finish(x, attention.attend(query, key, value, torch.cat(visible, 2)[:, None]))
        return x, traces
