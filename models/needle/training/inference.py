"""Inference of one sequence at a time: encode a bank, prefill a round with routing, decode."""
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from training import conversation
from training.language import Document
from training.memory_bank import MemoryBank, group_documents
from training.model import UNROUTED_SCORE, Layer, NeedleModel

SCORED_CHUNKS = 1 << 18    # chunks scored at a time, so that scratch memory stays small


@torch.no_grad()
def encode_bank(model: NeedleModel, tokenizer: Tokenizer, documents: list[Document],
                use_bf16: bool = False, block: int = 256) -> MemoryBank:
    """Encodes `block` documents at a time. Chunks are not in the order of documents:
    `MemoryBank.chunks` says where they are."""
    config, device = model.config, model.device
    most_chunks, num_chunks = 1, 0
    tables, owners = [], []
    parts = {kind: {i: [] for i in config.msa_layers}
             for kind in ("memory_key", "memory_value", "router_key")}
    for start in range(0, len(documents), block):
        texts = [conversation.document_text(d.number, d.text)
                 for d in documents[start:start + block]]
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        groups, order = group_documents([e.ids for e in encoded], config.chunk_tokens)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bf16):
            bank = model.encode_documents([g.to(device) for g in groups])
        given = torch.tensor(order, device=device)
        table = torch.empty_like(bank.chunks)
        table[given] = torch.where(bank.chunks < 0, -1, bank.chunks + num_chunks)
        tables.append(table)
        owners.append(given[bank.document_of_chunk] + start)
        most_chunks = max(most_chunks, table.shape[1])
        num_chunks += len(bank.document_of_chunk)
        for kind, layers in parts.items():
            for i, made in layers.items():
                made.append(getattr(bank, kind)[i])
    tables = [F.pad(t, (0, most_chunks - t.shape[1]), value=-1) for t in tables]
    return MemoryBank(torch.cat(tables), torch.cat(owners), **{
        kind: {i: torch.cat(made) for i, made in layers.items()} for kind, layers in parts.items()})


@dataclass
class Selection:
    """What one MSA layer selected for a round."""

    documents: list[int]    # indices in the bank, best first; equal scores: the lower index
    margin: float           # score of the last selected one minus that of the best one left out


class Sequence:
    """One round's keys and values. Prefilled once with routing, then fed token by token."""

    def __init__(self, model: NeedleModel, bank: MemoryBank, prefix: list[tuple[Tensor, Tensor]]):
        self._model = model
        self._bank = bank
        self._prefix = prefix
        self._cached = [([key], [value]) for key, value in prefix]  # per layer, [S, Hkv, D] pieces
        self._position = model.first_position(prefix)
        self.selections: dict[int, Selection] = {}                  # MSA layer -> selection

    @torch.no_grad()
    def prefill(self, token_ids: list[int], routed: list[bool]) -> Tensor:
        """The round's prompt, routing by the tokens that are `routed` -> logits of the last one"""
        return self._run(token_ids, torch.tensor(routed, device=self._model.device))

    @torch.no_grad()
    def feed(self, token_ids: list[int]) -> Tensor:
        """Further tokens, causal, on the same selection -> logits of the last one"""
        return self._run(token_ids, None)

    def _run(self, token_ids: list[int], routed: Tensor | None) -> Tensor:
        model, count = self._model, len(token_ids)
        rope = model.rope(self._position, count)
        x = model.embed(torch.tensor(token_ids, device=model.device))
        for i, layer in enumerate(model.model.layers):
            normed = layer.input_layernorm(x)
            if routed is not None and i in model.config.msa_layers:
                self._route(i, layer, normed[routed])
            query = layer.self_attn.queries(normed, rope)
            for pieces, new in zip(self._cached[i], layer.self_attn.keys_values(normed, rope)):
                pieces.append(new)
                pieces[:] = [torch.cat(pieces)]
            key, value = (pieces[0] for pieces in self._cached[i])
            visible = torch.ones(count, len(key), dtype=torch.bool,
                                 device=model.device).tril(len(key) - count)
            x = layer.finish(x, layer.self_attn.attend(query[None], key[None], value[None],
                                                       visible)[0])
        self._position += count
        return model.logits(x[-1])

    def _route(self, i: int, layer: Layer, routed_rows: Tensor) -> None:
        """routed_rows [T, M], normed: selects documents and puts their memory into the cache"""
        bank, top_k = self._bank, self._model.config.top_k
        router_query = layer.self_attn.router_queries(routed_rows)
        keys = bank.router_key[i]
        chunk_scores = torch.cat([(router_query @ keys[at:at + SCORED_CHUNKS].T).amax(0)
                                  for at in range(0, len(keys), SCORED_CHUNKS)])
        chunk_scores = F.pad(chunk_scores, (0, 1), value=UNROUTED_SCORE)  # index -1 of the table
        scores = chunk_scores[bank.chunks].amax(-1)
        best, order = scores.sort(descending=True, stable=True)
        margin = float(best[top_k - 1] - best[top_k]) if len(best) > top_k else float("inf")
        self.selections[i] = Selection(order[:top_k].tolist(), margin)
        chunks = bank.chunks[order[:top_k]]
        chunks = chunks[chunks >= 0]
        for pieces, memory in zip(self._cached[i], (bank.memory_key[i], bank.memory_value[i])):
            pieces.append(memory[chunks])
