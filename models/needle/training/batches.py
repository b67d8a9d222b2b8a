"""Training batches: banks full of near misses, and samples of every round as inference sees them.

Shape letters: B samples, T tokens, N documents of the batch.
"""
import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from training import conversation, language, word_lists
from training.haystack import draw_numbers
from training.language import ATTRIBUTES, RELATIONS, Document
from training.memory_bank import DocumentGroup, group_documents
from training.mining import MinedBatches
from training.phases import LEVELS, Phase
from training.samples import Sample, Span, make_sample

MAX_SAMPLE_TOKENS = 352                     # longer samples are left out
SAMPLE_TOKEN_BORDERS = (64, 144, 224)       # samples are padded in groups of about one length
TOKEN_MULTIPLE = 16
USUAL_NEAR_ENTITIES = 77                    # of the batches that the near ones were tuned for


@dataclass
class QueryGroup:
    """Samples padded to one length."""

    token_ids: Tensor       # [B, T]
    routed: Tensor          # [B, T] bool
    weights: Tensor         # [B, T] loss weight of the token at this place
    positives: Tensor       # [B, N] bool
    expanded: Tensor        # [B, N] bool, documents already in the text: no negatives
    citing: Tensor          # [n, 2] row, place: the next token is part of a document's number
    copying: Tensor         # [n, 4] row, place, place of the token to be copied, 1 if in the answer

    def to(self, device: torch.device) -> "QueryGroup":
        return QueryGroup(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass
class Batch:
    """Documents are numbered through the groups; queries refer to them by these indices."""

    documents: list[DocumentGroup]
    queries: list[QueryGroup]

    def to(self, device: torch.device) -> "Batch":
        return Batch([g.to(device) for g in self.documents], [g.to(device) for g in self.queries])


# ---- what a batch is about

def _draw_entities(rng: random.Random, count: int) -> list[str]:
    """Entities of which most share words or syllables with others of the batch."""
    adjectives, nouns = rng.sample(word_lists.ADJECTIVES, 14), rng.sample(word_lists.NOUNS, 14)
    syllables = rng.sample(language.SYLLABLES, 8)

    def draw() -> str:
        kind = rng.random()
        if kind < 0.5:
            return f"the {rng.choice(adjectives)} {rng.choice(nouns)}"
        if kind < 0.7:
            return language.draw_pair_entity(rng)
        return language.draw_named_entity(rng, syllables if kind < 0.85 else language.SYLLABLES)

    return _collect_trained(draw, count)


def _draw_near_entities(rng: random.Random, count: int) -> list[str]:
    """Entities that nearly all differ from several others in one word or syllable only, as the
    best-scored ones of a large bank do."""
    crowd = max(1.0, count / USUAL_NEAR_ENTITIES)     # larger batches need more combinations
    side = round(rng.randint(7, 12) * crowd ** (1 / 2))
    adjectives = rng.sample(word_lists.ADJECTIVES, side)
    nouns = rng.sample(word_lists.NOUNS, side)
    syllables = rng.sample(language.SYLLABLES, round(rng.randint(5, 7) * crowd ** (1 / 3)))
    pair_share = rng.choice([0.15, 0.5, 0.85])

    def draw() -> str:
        if rng.random() < 0.1:
            return (language.draw_pair_entity(rng) if rng.random() < 0.5
                    else language.draw_named_entity(rng))
        if rng.random() < pair_share:
            return f"the {rng.choice(adjectives)} {rng.choice(nouns)}"
        return language.draw_named_entity(rng, syllables)

    return _collect_trained(draw, count)


def _collect_trained(draw: Callable[[], str], count: int) -> list[str]:
    entities: dict[str, None] = {}
    while len(entities) < count:
        entity = draw()
        if not language.is_held_out(entity):
            entities[entity] = None
    return list(entities)


def _draw_documents(rng: random.Random, phase: Phase, digits: int) -> list[Document]:
    count, kind = phase.documents, rng.random()
    if kind < phase.near_share + phase.narrow_share:
        entities = (_draw_near_entities(rng, count * 2 // 5) if kind < phase.near_share
                    else _draw_entities(rng, count * 3 // 4))
        facts = language.draw_facts(rng, entities, count, rng.sample(ATTRIBUTES, 2),
                                    rng.sample(RELATIONS, 1))
    else:
        facts = language.draw_facts(rng, _draw_entities(rng, max(8, count // 3)), count)
    numbers = draw_numbers(rng, count, digits)
    return [language.draw_document(rng, number, fact, phase.long_share)
            for number, fact in zip(numbers, facts)]


def _draw_samples(rng: random.Random, phase: Phase, documents: list[Document],
                  mined: list[tuple[list[int], int]]) -> list[Sample]:
    """`mined`: (chain, round) of samples that come first."""
    attributes: dict[str, list[int]] = {}
    for index, document in enumerate(documents):
        if document.fact.key in ATTRIBUTES:
            attributes.setdefault(document.fact.entity, []).append(index)
    chains = [[index, rng.choice(attributes[d.fact.value])] for index, d in enumerate(documents)
              if d.fact.key in RELATIONS and d.fact.value in attributes]
    rng.shuffle(chains)
    singles = [[index] for index in rng.sample(range(len(documents)), len(documents))]

    def sources(index: int, two_hops: bool) -> list[int]:
        pool = chains if two_hops and chains else singles
        return pool[index % len(pool)]

    wanted = [*mined, *((sources(i, i % 3 == 0), 0)
                        for i in range(max(0, phase.first_round - len(mined))))]
    for i in range(phase.second_round):
        chain = sources(i, True)
        wanted.append((chain, min(1, len(chain) - 1)))
    for i in range(phase.answer_round):
        chain = sources(phase.first_round + i, i % 2 == 0)
        wanted.append((chain, len(chain)))
    return [make_sample(rng, documents, chain, round_index, phase.copy_question)
            for chain, round_index in wanted]


# ---- as tensors

class _EncodedSample:
    def __init__(self, sample: Sample, token_ids: list[int], starts: list[int]):
        self.sample = sample
        self.token_ids = token_ids
        self._starts = starts                   # character of each token

    def place(self, character: int) -> int:
        return bisect_left(self._starts, character)

    def places(self, span: Span) -> slice:
        return slice(self.place(span[0]), self.place(span[1]))


def _pad_queries(samples: list[_EncodedSample], num_documents: int) -> QueryGroup:
    longest = max(len(s.token_ids) for s in samples)
    shape = (len(samples), -(-longest // TOKEN_MULTIPLE) * TOKEN_MULTIPLE)
    token_ids = torch.zeros(shape, dtype=torch.long)
    routed, weights = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape)
    positives = torch.zeros(len(samples), num_documents, dtype=torch.bool)
    expanded = torch.zeros_like(positives)
    citing: list[tuple[int, int]] = []
    copying: list[tuple[int, int, int, int]] = []
    for row, encoded in enumerate(samples):
        sample = encoded.sample
        token_ids[row, :len(encoded.token_ids)] = torch.tensor(encoded.token_ids)
        for span in sample.routed:
            routed[row, encoded.places(span)] = True
        for span, weight in sample.labels:
            weights[row, encoded.places(span)] = weight
        if sample.positive is not None:
            positives[row, sample.positive] = True
        expanded[row, sample.expanded] = True
        if sample.number:
            number = encoded.places(sample.number)
            citing += [(row, place) for place in range(number.start, number.stop - 1)]
        for copy in sample.copies:
            source = encoded.place(copy.source)
            target = encoded.places((copy.target, copy.target + copy.length))
            copying += [(row, target.start + i - 1, source + i, copy.is_answer)
                        for i in range(target.stop - target.start)]
    return QueryGroup(token_ids, routed, weights, positives, expanded,
                      torch.tensor(citing, dtype=torch.long).reshape(-1, 2),
                      torch.tensor(copying, dtype=torch.long).reshape(-1, 4))


def make_batch(rng: random.Random, tokenizer: Tokenizer, phase: Phase, digits: int,
               chunk_tokens: int, mined: MinedBatches | None = None) -> Batch:
    """`digits`: of the longest document number. `mined`: what the phase's mined batches are made
    of."""
    rounds: list[tuple[list[int], int]] = []
    if mined and rng.random() < phase.mined_share:
        documents, rounds = mined.draw(rng, phase.mined_rounds, phase.mined_near)
    else:
        documents = _draw_documents(rng, phase, digits)
    texts = [conversation.document_text(d.number, d.text) for d in documents]
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    groups, order = group_documents([e.ids for e in encoded], chunk_tokens)
    place = {index: at for at, index in enumerate(order)}
    samples = _draw_samples(rng, phase, [documents[index] for index in order],
                            [([place[index] for index in chain], at) for chain, at in rounds])
    ready = []
    for sample, e in zip(samples, tokenizer.encode_batch([s.text for s in samples],
                                                         add_special_tokens=False)):
        if len(e.ids) <= MAX_SAMPLE_TOKENS:
            ready.append(_EncodedSample(sample, e.ids, [start for start, _ in e.offsets]))
    by_length: dict[int, list[_EncodedSample]] = {}
    for sample in sorted(ready, key=lambda s: len(s.token_ids)):
        group = bisect_left(SAMPLE_TOKEN_BORDERS, len(sample.token_ids))
        by_length.setdefault(group, []).append(sample)
    return Batch(groups, [_pad_queries(group, len(documents)) for group in by_length.values()])


class BatchSource(Dataset):
    """The batches of a phase, by step: the same phase, level and step give the same batch."""

    def __init__(self, tokenizer_file: Path, phase: Phase, level: int, chunk_tokens: int,
                 mined_file: Path | None = None):
        """`mined_file`: of training.mining, for a phase with mined batches"""
        self._tokenizer_file = tokenizer_file
        self._mined_file = mined_file
        self._mined: MinedBatches | None = None     # read in the process that uses it
        self._phase = phase
        self._digits = LEVELS[level].number_digits
        self._chunk_tokens = chunk_tokens
        self._tokenizer: Tokenizer | None = None    # made in the process that uses it

    def __getitem__(self, step: int) -> Batch:
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
            if self._mined_file and self._phase.mined_share:
                self._mined = MinedBatches(self._mined_file)
        rng = random.Random(f"{self._phase.name}/{self._phase.seed}/{step}")
        return make_batch(rng, self._tokenizer, self._phase, self._digits, self._chunk_tokens,
                          self._mined)
