"""The needle language: entities, facts, documents that state one fact among filler, questions.

Everything follows from the random generator that a caller passes in. The order of draws is part of
the language: changing it changes what a seed gives and makes published figures incomparable.
"""
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from training import word_lists

SYLLABLES = [onset + vowel for onset in word_lists.ONSETS for vowel in word_lists.VOWELS]

WORD_VALUES: dict[str, list[str]] = {
    "colour": word_lists.COLOURS,
    "city": word_lists.CITIES,
    "material": word_lists.MATERIALS,
    "symbol": word_lists.SYMBOLS,
    "language": word_lists.LANGUAGES,
    "flower": word_lists.FLOWERS,
}
NUMBER_VALUES: dict[str, range] = {
    "code": range(100_000, 1_000_000),
    "year": range(1000, 2030),
    "weight": range(10, 10_000),
}
ATTRIBUTES = [*NUMBER_VALUES, *WORD_VALUES]
RELATIONS = ["curator", "owner", "founder", "neighbour"]  # their value is another entity
RELATION_SHARE = 0.4

# {k} key, {x} entity, {v} value.
ANY_KEY_SENTENCES = [
    "The {k} of {x} is {v}.", "For {x}, the {k} is {v}.", "Records list {v} as the {k} of {x}."]
KEY_SENTENCES: dict[str, str] = {
    "code": "{x} has the code {v}.",
    "year": "{x} dates from the year {v}.",
    "weight": "{x} has a weight of {v} kg.",
    "colour": "{x} is painted in the colour {v}.",
    "city": "{x} stands in the city of {v}.",
    "material": "{x} is made of the material {v}.",
    "symbol": "{x} carries the symbol {v}.",
    "language": "{x} uses the language {v}.",
    "flower": "{x} is known for the flower {v}.",
    **{relation: "{x} has {v} as its " + relation + "." for relation in RELATIONS},
}
QUESTION_SENTENCES = [
    "What is the {k} of {x}?", "Which {k} belongs to {x}?", "Tell me the {k} of {x}."]

LONG_SHARE = 0.1                  # of documents, unless a caller says otherwise
SHORT_TOKENS = (40, 62)           # about, with the document's number twice: one chunk of 64
LONG_TOKENS = (70, 185)           # two or three chunks


@dataclass(frozen=True)
class Fact:
    """(entity, key) is unique within a bank."""

    entity: str
    key: str
    value: str


@dataclass(frozen=True)
class Document:
    """`value_start` is the character at which the fact's value begins in `text`."""

    number: int
    text: str
    fact: Fact
    value_start: int


def is_held_out(entity: str) -> bool:
    """Whether an entity never occurs in training (one in sixteen)."""
    return zlib.crc32(entity.removeprefix("the ").encode()) % 16 == 0


def draw_pair_entity(rng: random.Random) -> str:
    return f"the {rng.choice(word_lists.ADJECTIVES)} {rng.choice(word_lists.NOUNS)}"


def draw_named_entity(rng: random.Random, syllables: Sequence[str] = SYLLABLES) -> str:
    return "".join(rng.choice(syllables) for _ in range(3)).capitalize()


def draw_value(rng: random.Random, attribute: str) -> str:
    if attribute in NUMBER_VALUES:
        values = NUMBER_VALUES[attribute]
        return str(rng.randrange(values.start, values.stop))
    return rng.choice(WORD_VALUES[attribute])


def draw_filler(rng: random.Random) -> str:
    """A sentence about no entity, of about ten tokens."""
    parts = (word_lists.FILLER_STARTS, word_lists.FILLER_VERBS, word_lists.FILLER_OBJECTS,
             word_lists.FILLER_TIMES)
    return " ".join(rng.choice(part) for part in parts) + "."


def _estimate_tokens(text: str) -> int:
    return text.count(" ") + 2 + sum(c.isdigit() for c in text)


def draw_document(rng: random.Random, number: int, fact: Fact,
                  long_share: float = LONG_SHARE) -> Document:
    """The fact's sentence at a random place among as many filler sentences as the length allows."""
    template = rng.choice([*ANY_KEY_SENTENCES, KEY_SENTENCES[fact.key]])
    before, after = template.format(k=fact.key, x=fact.entity, v="\0").split("\0")
    before = before[0].upper() + before[1:]
    sentence = before + fact.value + after
    tokens = rng.randint(*(LONG_TOKENS if rng.random() < long_share else SHORT_TOKENS))
    # Each digit of the two numbers is a token; brackets and specials are 7; an invented name
    # takes more tokens than words.
    named = not fact.entity.startswith("t")
    tokens -= 2 * len(str(number)) + 7 + _estimate_tokens(sentence) + (3 if named else 0)
    fillers: list[str] = []
    while (tokens := tokens - _estimate_tokens(filler := draw_filler(rng))) >= 0:
        fillers.append(filler)
    place = rng.randint(0, len(fillers))
    text = " ".join([*fillers[:place], sentence, *fillers[place:]])
    start = sum(len(f) + 1 for f in fillers[:place]) + len(before)
    return Document(number, text, fact, start)


def draw_question(rng: random.Random, key: str, entity: str) -> str:
    """`entity` may be `relation_phrase` of a fact: then the question has two hops."""
    question = rng.choice(QUESTION_SENTENCES).format(k=key, x=entity)
    return question.replace("What is", "Who is", 1) if key in RELATIONS else question


def relation_phrase(fact: Fact) -> str:
    """How a two-hop question names the entity that a relation leads to."""
    return f"the {fact.key} of {fact.entity}"


def draw_facts(rng: random.Random, entities: Sequence[str], count: int,
               attributes: Sequence[str] = ATTRIBUTES,
               relations: Sequence[str] = RELATIONS) -> list[Fact]:
    """`count` facts about random entities; no (entity, key) twice, no entity related to itself."""
    facts: dict[tuple[str, str], Fact] = {}
    while len(facts) < count:
        is_relation = rng.random() < RELATION_SHARE
        entity = rng.choice(entities)
        key = rng.choice(relations if is_relation else attributes)
        if (entity, key) in facts:
            continue
        value = rng.choice(entities) if is_relation else draw_value(rng, key)
        if value != entity:
            facts[entity, key] = Fact(entity, key, value)
    return list(facts.values())
