"""Weights to start from, and the changes made to them between phases.

The start knows what is needed: the first layer's heads look 1 to 8 tokens back, so that a digit
knows its place in a number and a fact's words meet; gains favour matching by content.
"""
import math
from collections.abc import Sequence

import torch
from torch import nn

from training.model import NeedleModel

EMBEDDING_STD = 0.05
CONSTANT = 0.25                         # channel 0 of every embedding: a query that always matches
PAIR_SHARES = (0.4, 0.3, 0.2, 0.1)      # of the fastest rotary pairs in a distance head's logit
PAIR_GAIN = 1.8
SLOW_PAIR_SPEED = 0.04                  # radians per token; slower pairs carry content
SLOW_PAIR_GAIN = 1.4


@torch.no_grad()
def start_weights(model: NeedleModel) -> None:
    """Small normal weights; head h of layer 0 attends to the token h + 1 places before."""
    config = model.config
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = (EMBEDDING_STD if "embed" in name
                   else 0.012 if is_output else config.width ** -0.5)
            nn.init.normal_(weight, std=std)
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    _make_distance_heads(model)
    half = config.head_dim // 2
    slow = [pair for pair in range(half)
            if config.rope_theta ** (-pair / half) < SLOW_PAIR_SPEED]
    for i in config.msa_layers:
        attention = model.model.layers[i].self_attn
        for norm in (attention.q_norm, attention.k_norm):
            for pair in slow:
                norm.weight[pair] = norm.weight[half + pair] = SLOW_PAIR_GAIN


def _make_distance_heads(model: NeedleModel) -> None:
    """Keys point at angle 0 in each fast rotary pair, queries of head h are turned back by h + 1
    tokens: RoPE makes their product largest at that distance."""
    config, first = model.config, model.model.layers[0].self_attn
    half = config.head_dim // 2
    after_norm = CONSTANT / math.sqrt(EMBEDDING_STD ** 2 + CONSTANT ** 2 / config.width)
    for weight, heads, turns in ((first.q_proj.weight, config.num_heads, 1),
                                 (first.k_proj.weight, config.num_kv_heads, 0)):
        weight.mul_(0.3)
        for head in range(heads):
            for pair, share in enumerate(PAIR_SHARES):
                size = 2 * math.sqrt(config.head_dim * share) / after_norm
                angle = -(head + 1) * turns * config.rope_theta ** (-pair / half)
                row = head * config.head_dim + pair
                weight[row, 0] = size * math.cos(angle)
                weight[row + half, 0] = size * math.sin(angle)
    for norm in (first.q_norm, first.k_norm):
        norm.weight[:len(PAIR_SHARES)] = PAIR_GAIN
        norm.weight[half:half + len(PAIR_SHARES)] = PAIR_GAIN


@torch.no_grad()
def copy_routing_to_later_layers(model: NeedleModel, heads: Sequence[int]) -> None:
    """Gives the later MSA layers the first one's router, and the queries and keys of `heads`, so
    that they route right from their first step."""
    config = model.config
    source = model.model.layers[config.msa_layers[0]]
    for i in config.msa_layers[1:]:
        target = model.model.layers[i]
        target.input_layernorm.load_state_dict(source.input_layernorm.state_dict())
        for name in ("router_q_proj", "router_k_proj", "q_norm", "k_norm"):
            getattr(target.self_attn, name).load_state_dict(
                getattr(source.self_attn, name).state_dict())
        kv_heads = [head // config.heads_per_kv_head for head in heads]
        for name, copied in (("q_proj", heads), ("k_proj", kv_heads)):
            for head in copied:
                rows = slice(head * config.head_dim, (head + 1) * config.head_dim)
                getattr(target.self_attn, name).weight[rows] = (
                    getattr(source.self_attn, name).weight[rows])


@torch.no_grad()
def sharpen(model: NeedleModel, factor: float) -> None:
    """Scales the attention logits of the MSA layers. Memory keys are means of 64 keys, so without
    it the logits of similar documents lie close together."""
    for i in model.config.msa_layers:
        model.model.layers[i].self_attn.q_norm.weight.mul_(factor)
