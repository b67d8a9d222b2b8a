"""What training minimises: routing, pointing, copying and the written tokens.

Shape letters: B samples, T tokens, N documents, C chunks, Hq/Hkv heads, D head width; n the places
of one loss, h its heads.
"""
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from training.batches import QueryGroup
from training.memory_bank import MemoryBank
from training.model import NeedleModel, RoutingTrace
from training.model_config import ModelConfig
from training.phases import Phase
from training.samples import QUESTION_WEIGHT

ROUTING_TEMPERATURE = 0.05
COPY_HEADS = (4, 6)     # heads that learn to look at the token to be copied
MASKED = -1e4


@dataclass
class Statistics:
    """Means of figures, summed up over query groups and steps."""

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, name: str, total: float, count: float) -> None:
        old_total, old_count = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (old_total + total, old_count + count)

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in sorted(self.sums.items()) if count}


def routing_loss(document_scores: Tensor, queries: QueryGroup) -> Tensor:
    """InfoNCE over the documents of the batch, the mean over samples with a document to find.
    document_scores [B, N]"""
    rows = queries.positives.any(1)
    scores, positives = document_scores[rows] / ROUTING_TEMPERATURE, queries.positives[rows]
    others = torch.logsumexp(
        scores.masked_fill(positives | queries.expanded[rows], MASKED), 1)
    found = scores[positives]       # one per row
    return (torch.logaddexp(found, others) - found).mean()


class HeadLogits:
    """Attention logits of some heads at some places of a query group, in one MSA layer, over the
    template head, the local tokens and all chunks of the batch (not only the selected ones)."""

    def __init__(self, config: ModelConfig, trace: RoutingTrace, bank: MemoryBank, layer: int,
                 row: Tensor, place: Tensor, heads: tuple[int, ...]):
        """row, place [n]"""
        kv_heads = [head // config.heads_per_kv_head for head in heads]
        queries = trace.query[:, :, list(heads)].float() * config.head_dim ** -0.5
        local_keys = trace.local_key[:, :, kv_heads].float()
        local = torch.einsum("bthd,bshd->bhts", queries, local_keys)[row, :, place]
        behind = torch.arange(local.shape[-1], device=place.device) > place[:, None]
        query = queries[row, place]                                              # [n, h, D]
        self.local = local.masked_fill(behind[:, None], MASKED)                  # [n, h, T]
        self.memory = torch.einsum(
            "nhd,chd->nhc", query, bank.memory_key[layer][:, kv_heads].float())  # [n, h, C]
        self.prefix = torch.einsum(
            "nhd,shd->nhs", query, trace.prefix_key[:, kv_heads].float())        # [n, h, 3]


def _cross_entropy(target: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """target [n, h]: log-sum-exp of the wanted logits -> mean loss, mean share of attention"""
    everything = torch.logsumexp(torch.cat(others, -1), -1)
    return (everything - target).mean(), (target - everything).exp().mean().detach()


def pointing_loss(logits: HeadLogits, queries: QueryGroup, bank: MemoryBank,
                  margin: float) -> tuple[Tensor, Tensor]:
    """While a number is written, heads should look at the chunks of its document. Wrong chunks are
    `margin` ahead, so that the right one also wins among the near misses of a large bank."""
    row = queries.citing[:, 0]
    right = queries.positives[row][:, bank.document_of_chunk][:, None]           # [n, 1, C]
    read_before = queries.expanded[row][:, bank.document_of_chunk][:, None]
    memory = logits.memory.masked_fill(read_before, MASKED)
    target = torch.logsumexp(memory.masked_fill(~right, MASKED), -1)
    return _cross_entropy(target, logits.local, memory + margin * ~right, logits.prefix)


def copying_loss(logits: HeadLogits, queries: QueryGroup) -> tuple[Tensor, Tensor]:
    """While copied text is written, heads should look at the token to be copied."""
    source = queries.copying[:, 2, None, None].expand(-1, logits.local.shape[1], 1)
    target = logits.local.gather(-1, source)[..., 0]
    return _cross_entropy(target, logits.local, logits.memory, logits.prefix)


def _written_loss(model: NeedleModel, hidden: Tensor, queries: QueryGroup,
                  statistics: Statistics) -> Tensor:
    """Weighted cross entropy of the tokens that the model writes. hidden [B, T, M]"""
    weights = queries.weights[:, 1:]
    written = weights > 0
    logits = model.logits(hidden[:, :-1][written]).float()
    targets = queries.token_ids[:, 1:][written]
    right = torch.zeros_like(written)
    right[written] = logits.argmax(-1) == targets
    must_be_right = written & (weights != QUESTION_WEIGHT)
    whole = ~(must_be_right & ~right).any(1)
    is_citation = queries.positives.any(1)
    is_answer = queries.copying[:, 3] > 0
    for name, values in (
            ("whole_citations", whole[is_citation]), ("whole_answers", whole[~is_citation]),
            ("digits", right[queries.citing[:, 0], queries.citing[:, 1]]),
            ("values", right[queries.copying[is_answer, 0], queries.copying[is_answer, 1]]),
            ("question", right[queries.copying[~is_answer, 0], queries.copying[~is_answer, 1]])):
        statistics.add(name, values.sum().item(), len(values))
    losses = F.cross_entropy(logits, targets, reduction="none")
    return (losses * weights[written]).sum() / weights.sum()


def query_losses(model: NeedleModel, bank: MemoryBank, prefix: list[tuple[Tensor, Tensor]],
                 queries: QueryGroup, phase: Phase, memory_documents: int,
                 statistics: Statistics) -> dict[str, Tensor]:
    """Losses of one query group by name: route, point, copy, written; those that apply to it."""
    config = model.config
    last_layer = config.msa_layers[0] if phase.routing_only else None
    hidden, traces = model.read(queries.token_ids, queries.routed, bank, prefix, memory_documents,
                                queries.positives, last_layer)
    parts: dict[str, list[Tensor]] = {}
    has_positive = queries.positives.any(1)
    for layer, trace in traces.items():
        if has_positive.any():
            parts.setdefault("route", []).append(routing_loss(trace.document_scores, queries))
            best = trace.document_scores.masked_fill(queries.expanded, -2)[has_positive].argmax(1)
            hits = queries.positives[has_positive].gather(1, best[:, None])
            statistics.add(f"top1_layer{layer}", hits.sum().item(), len(hits))
        if len(queries.citing):
            logits = HeadLogits(config, trace, bank, layer, *queries.citing.T, phase.point_heads)
            loss, share = pointing_loss(logits, queries, bank, phase.point_margin)
            parts.setdefault("point", []).append(loss)
            statistics.add(f"point_layer{layer}", share.item() * len(queries.citing),
                           len(queries.citing))
        if len(queries.copying) and layer > config.msa_layers[0]:
            logits = HeadLogits(config, trace, bank, layer, *queries.copying[:, :2].T, COPY_HEADS)
            loss, share = copying_loss(logits, queries)
            parts.setdefault("copy", []).append(loss)
            statistics.add(f"copy_layer{layer}", share.item() * len(queries.copying),
                           len(queries.copying))
    losses = {name: torch.stack(values).mean() for name, values in parts.items()}
    if not phase.routing_only:
        losses["written"] = _written_loss(model, hidden, queries, statistics)
    return losses
