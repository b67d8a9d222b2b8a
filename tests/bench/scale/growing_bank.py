"""A bank of the needle language that grows: every bank is the beginning of each larger one of the same seed.

As training.haystack makes banks, with the same shares of pairs and names, three facts per entity on average and the first 3,000
entities never seen in training; but document after document, with little memory: only the order of the entities is kept. The
documents come in blocks with entities of their own, so that (entity, key) is unique in the whole bank by construction. All
questions are about the first block.
"""
import random
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "models/needle"))
from training import word_lists  # noqa: E402
from training.haystack import MAX_HELD_OUT_ENTITIES, MAX_PAIR_ENTITIES, PAIR_SHARE, Question  # noqa: E402
from training.language import (  # noqa: E402
    ATTRIBUTES, RELATIONS, SYLLABLES, Document, draw_document, draw_facts, draw_question, is_held_out, relation_phrase)

TOKENS_PER_DOCUMENT = 52     # as encoded, a little less than the average
BLOCK_DOCUMENTS = 288
BLOCK_ENTITIES = 96
FIRST_TOKENS = 16_000        # the smallest bank; it holds the first block


def documents_for(tokens: int) -> int:
    """How many documents have at least so many tokens, and not many more."""
    return -(-tokens // TOKENS_PER_DOCUMENT)


def _pair(index: int) -> str:
    adjective, noun = divmod(index, len(word_lists.NOUNS))
    return f"the {word_lists.ADJECTIVES[adjective]} {word_lists.NOUNS[noun]}"


def _name(index: int) -> str:
    rest, last = divmod(index, len(SYLLABLES))
    first, middle = divmod(rest, len(SYLLABLES))
    return (SYLLABLES[first] + SYLLABLES[middle] + SYLLABLES[last]).capitalize()


class Roster:
    """Distinct entities in the order that a seed gives, as far as they were asked for."""

    def __init__(self, seed: int):
        self._random = random.Random(f"{seed}/entities")
        self._pairs = self._shuffled(len(word_lists.ADJECTIVES) * len(word_lists.NOUNS))
        self._names = self._shuffled(len(SYLLABLES) ** 3)
        self._passed: dict[bool, list[int]] = {True: [], False: []}  # not held out, where such were wanted
        self._num_pairs = 0
        self._entities = array("i")  # a pair's index, or -1 minus a name's

    def _shuffled(self, count: int) -> array:
        order = array("i", range(count))
        self._random.shuffle(order)
        return order

    def _take(self, is_pair: bool) -> int:
        order, text = (self._pairs, _pair) if is_pair else (self._names, _name)
        if len(self._entities) >= MAX_HELD_OUT_ENTITIES:
            return self._passed[is_pair].pop() if self._passed[is_pair] else order.pop()
        while not is_held_out(text(order[-1])):
            self._passed[is_pair].append(order.pop())
        return order.pop()

    def entities(self, first: int, count: int) -> list[str]:
        while len(self._entities) < first + count:
            is_pair = self._random.random() < PAIR_SHARE and self._num_pairs < MAX_PAIR_ENTITIES
            if not is_pair and not self._names and not self._passed[False]:
                raise ValueError(f"the language has no more than {len(self._entities)} entities")
            index = self._take(is_pair)
            self._num_pairs += is_pair
            self._entities.append(index if is_pair else -1 - index)
        return [_pair(index) if index >= 0 else _name(-1 - index) for index in self._entities[first:first + count]]


class GrowingBank:
    """Documents are numbered from 1, as a server numbers what one stream brings."""

    def __init__(self, seed: int):
        self.seed = seed
        self._roster = Roster(seed)

    def block(self, index: int) -> list[Document]:
        """The same whichever blocks were asked for before."""
        entities = self._roster.entities(index * BLOCK_ENTITIES, BLOCK_ENTITIES)
        rng = random.Random(f"{self.seed}/block {index}")
        first_number = index * BLOCK_DOCUMENTS + 1
        return [draw_document(rng, first_number + place, fact)
                for place, fact in enumerate(draw_facts(rng, entities, BLOCK_DOCUMENTS))]

    def documents(self, first: int, last: int) -> Iterator[Document]:
        """Those with the numbers first to last."""
        for index in range((first - 1) // BLOCK_DOCUMENTS, (last - 1) // BLOCK_DOCUMENTS + 1):
            yield from (d for d in self.block(index) if first <= d.number <= last)

    def document(self, number: int) -> Document:
        return next(self.documents(number, number))

    def questions(self, count: int) -> list[Question]:
        """`count` different ones of each kind, one and two hops in turn, all about the first block. ValueError where it has
        fewer."""
        documents = self.block(0)
        rng = random.Random(f"{self.seed}/questions")
        chains = _chains(rng.sample(documents, len(documents)))
        if count > min(len(documents), len(chains)):
            raise ValueError(f"seed {self.seed} has {len(documents)} questions of one hop and {len(chains)} of two")
        questions = []
        for single, (start, end) in zip(rng.sample(documents, count), chains):
            fact = single.fact
            questions.append(Question(draw_question(rng, fact.key, fact.entity), 1, (single.number,), fact.value))
            text = draw_question(rng, end.fact.key, relation_phrase(start.fact))
            questions.append(Question(text, 2, (start.number, end.number), end.fact.value))
        return questions


def _chains(documents: list[Document]) -> list[tuple[Document, Document]]:
    """All pairs of a relation and an attribute of the entity that it leads to; the first ones share as few documents as they can,
    so that an error on one document does not count many times."""
    attributes: dict[str, list[Document]] = {}
    for document in documents:
        if document.fact.key in ATTRIBUTES:
            attributes.setdefault(document.fact.entity, []).append(document)
    left = [(start, list(attributes.get(start.fact.value, []))) for start in documents if start.fact.key in RELATIONS]
    uses: Counter[int] = Counter()
    chains = []
    while left := [(start, ends) for start, ends in left if ends]:
        for start, ends in left:
            end = min(ends, key=lambda document: uses[document.number])
            ends.remove(end)
            uses[end.number] += 1
            chains.append((start, end))
    return chains
