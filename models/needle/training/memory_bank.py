"""Encoded documents as tensors, and documents padded for encoding.

Shape letters: N documents, C chunks, P tokens per chunk, Hkv key heads, D head width.
"""
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.model_config import ModelConfig


@dataclass
class MemoryBank:
    """What documents leave behind: per MSA layer and chunk a pooled key, value and routing key."""

    chunks: Tensor                    # [N, most chunks of a document] chunk indices, -1 at the end
    document_of_chunk: Tensor         # [C]
    memory_key: dict[int, Tensor] = field(default_factory=dict)    # layer -> [C, Hkv, D] f32
    memory_value: dict[int, Tensor] = field(default_factory=dict)  # layer -> [C, Hkv, D] f32
    router_key: dict[int, Tensor] = field(default_factory=dict)    # layer -> [C, Hkv*D], unit heads


@dataclass
class DocumentGroup:
    """Documents that have the same number of chunks."""

    token_ids: Tensor                 # [N, chunks * P], padded at the right
    lengths: Tensor                   # [N] tokens

    def to(self, device: torch.device) -> "DocumentGroup":
        return DocumentGroup(self.token_ids.to(device), self.lengths.to(device))


def group_documents(encoded: list[list[int]],
                    chunk_tokens: int) -> tuple[list[DocumentGroup], list[int]]:
    """Token ids of documents -> groups, and the given index of each document in groups' order."""
    members: dict[int, list[int]] = {}
    for index, ids in enumerate(encoded):
        members.setdefault(-(-len(ids) // chunk_tokens), []).append(index)
    groups, order = [], []
    for num_chunks in sorted(members):
        token_ids = torch.zeros(len(members[num_chunks]), num_chunks * chunk_tokens,
                                dtype=torch.long)
        for row, index in enumerate(members[num_chunks]):
            token_ids[row, :len(encoded[index])] = torch.tensor(encoded[index])
        lengths = torch.tensor([len(encoded[index]) for index in members[num_chunks]])
        groups.append(DocumentGroup(token_ids, lengths))
        order += members[num_chunks]
    return groups, order


class ChunkPooling:
    """Means over the real tokens of each chunk of one group of documents."""

    def __init__(self, group: DocumentGroup, config: ModelConfig):
        self._shape = (len(group.lengths), group.token_ids.shape[1] // config.chunk_tokens,
                       config.chunk_tokens)
        self._head_shape = (config.num_kv_heads, config.head_dim)
        num_documents, num_chunks, chunk_tokens = self._shape
        device = group.lengths.device
        first = torch.arange(num_chunks, device=device) * chunk_tokens
        counts = (group.lengths[:, None] - first).clamp(0, chunk_tokens)     # [N, chunks]
        self.is_real = counts > 0
        places = torch.arange(chunk_tokens, device=device)
        self._weights = ((places < counts[..., None]) / counts.clamp(min=1)[..., None])[..., None]

    def __call__(self, x: Tensor) -> Tensor:
        """x [N, chunks * P, Hkv*D or Hkv, D] -> [C, Hkv, D] in f32"""
        x = x.reshape(*self._shape, -1).float()
        return (x * self._weights).sum(2)[self.is_real].unflatten(-1, self._head_shape)
