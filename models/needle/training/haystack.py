"""Banks of documents and the questions about them, from a seed.

    python -m training.haystack FOLDER --documents 2000 --questions 20 --seed 7 [--first-number 1]

writes documents.jsonl ({"id", "text"}) and questions.jsonl ({"question", "hops", "sources",
"answer"}). Questions are only asked about held-out names.
"""
import argparse
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from training.language import (
    ATTRIBUTES, RELATIONS, Document, draw_document, draw_facts, draw_named_entity,
    draw_pair_entity, draw_question, is_held_out, relation_phrase)

NUMBER_LIMIT = 2_000_000      # random document numbers are below this
MAX_PAIR_ENTITIES = 60_000    # of a bank; further entities get invented names
MAX_HELD_OUT_ENTITIES = 3000  # of a bank
PAIR_SHARE = 0.75


@dataclass(frozen=True)
class Question:
    """`sources` are document numbers in the order in which they must be read."""

    question: str
    hops: int
    sources: tuple[int, ...]
    answer: str


def draw_entities(rng: random.Random, count: int,
                  is_allowed: Callable[[int, str], bool]) -> list[str]:
    """Distinct entities; `is_allowed(place, entity)` decides which one may be at a place."""
    entities: dict[str, None] = {}
    pairs = 0
    while len(entities) < count:
        is_pair = rng.random() < PAIR_SHARE and pairs < MAX_PAIR_ENTITIES
        entity = draw_pair_entity(rng) if is_pair else draw_named_entity(rng)
        if entity not in entities and is_allowed(len(entities), entity):
            entities[entity] = None
            pairs += is_pair
    return list(entities)


def draw_numbers(rng: random.Random, count: int, digits: int) -> list[int]:
    """Distinct document numbers: half of them the longest allowed, the others of any length; longer
    ones where those run out."""
    numbers: dict[int, None] = {}
    while len(numbers) < count:
        length = digits if rng.random() < 0.5 else rng.randint(1, digits)
        numbers[rng.randrange(min(NUMBER_LIMIT, 10 ** length))] = None
        if len(numbers) >= 10 ** digits:
            digits += 1
    return list(numbers)


def make_documents(count: int, seed: int, first_number: int | None = None) -> list[Document]:
    """A bank of `count` documents; half of the entities (at most 3,000) are held-out names.

    Numbers are random below NUMBER_LIMIT, or count up from `first_number` as a server numbers
    what it ingests. Texts depend a little on the numbers: more digits leave less room for filler.
    """
    rng = random.Random(seed)
    num_entities = max(8, count // 3)
    num_held_out = min(num_entities // 2, MAX_HELD_OUT_ENTITIES)
    entities = draw_entities(rng, num_entities, lambda place, entity:
                             place >= num_held_out or is_held_out(entity))
    numbers = rng.sample(range(NUMBER_LIMIT), count)
    if first_number is not None:
        numbers = list(range(first_number, first_number + count))
    facts = draw_facts(rng, entities, count)
    return [draw_document(rng, number, fact) for number, fact in zip(numbers, facts)]


def make_questions(documents: list[Document], count: int, seed: int,
                   hops: int | None = None) -> list[Question]:
    """Questions of one and two hops in turn, or all of `hops` hops."""
    rng = random.Random(seed + 1)
    attributes: dict[str, list[Document]] = {}
    for document in documents:
        if document.fact.key in ATTRIBUTES:
            attributes.setdefault(document.fact.entity, []).append(document)
    singles = [d for d in documents if is_held_out(d.fact.entity)]
    starts = [d for d in singles if d.fact.key in RELATIONS and is_held_out(d.fact.value)
              and d.fact.value in attributes]
    questions = []
    for index in range(count):
        if (hops or 1 + index % 2) == 1:
            chain = [rng.choice(singles)]
            entity = chain[0].fact.entity
        else:
            first = rng.choice(starts)
            chain = [first, rng.choice(attributes[first.fact.value])]
            entity = relation_phrase(first.fact)
        fact = chain[-1].fact
        questions.append(Question(draw_question(rng, fact.key, entity), len(chain),
                                  tuple(d.number for d in chain), fact.value))
    return questions


def _write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_haystack(folder: Path, documents: list[Document], questions: list[Question]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_jsonl(folder / "documents.jsonl", ({"id": d.number, "text": d.text} for d in documents))
    _write_jsonl(folder / "questions.jsonl", map(asdict, questions))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose a bank and its questions."""
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--first-number", type=int,
                        help="number documents from here in order; random numbers otherwise")
    parser.add_argument("--hops", type=int, choices=[1, 2], help="only questions of this kind")


def from_arguments(arguments: argparse.Namespace) -> tuple[list[Document], list[Question]]:
    documents = make_documents(arguments.documents, arguments.seed, arguments.first_number)
    return documents, make_questions(documents, arguments.questions, arguments.seed, arguments.hops)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    add_arguments(parser)
    arguments = parser.parse_args()
    write_haystack(arguments.folder, *from_arguments(arguments))


if __name__ == "__main__":
    main()
