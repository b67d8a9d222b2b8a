"""Near misses of a large bank: the wrong documents that routing puts first among many.

    python -m training.mining FILE --documents 100000 --questions 6000 --seed 41

encodes a pool of documents about trained names and routes questions about them, of one hop and of
two in turn, every round of a question by itself. FILE (JSON Lines): {"documents", "seed",
"checksum"} of the pool, then {"chain", "round", "near"} for each round. Documents are indices in
the pool; "near" are those that some MSA layer selected, best first, without the chain's own.
training.train --mined FILE makes batches of them. 100,000 documents and 2,000 questions take about
twelve minutes on two cores.
"""
import argparse
import json
import random
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training import conversation, language
from training.haystack import draw_entities, draw_numbers
from training.inference import Sequence, encode_bank
from training.interleave import prompt
from training.language import ATTRIBUTES, RELATIONS, Document
from training.model import NeedleModel
from training.model_config import CHECKPOINT

NUMBER_DIGITS = 7


@dataclass(frozen=True)
class NearMisses:
    """Round `round` (0-based) of a question whose sources are pool[chain]."""

    chain: list[int]
    round: int
    near: list[int]


def draw_pool(count: int, seed: int) -> list[Document]:
    """`count` documents about names that training may see, numbered with any number of digits."""
    rng = random.Random(f"{seed}/pool")
    entities = draw_entities(rng, max(8, count // 3),
                             lambda _, entity: not language.is_held_out(entity))
    facts = language.draw_facts(rng, entities, count)
    numbers = draw_numbers(rng, count, NUMBER_DIGITS)
    return [language.draw_document(rng, number, fact) for number, fact in zip(numbers, facts)]


def checksum(pool: list[Document]) -> int:
    return zlib.crc32("".join(f"{d.number} {d.text}\n" for d in pool).encode())


class MinedBatches:
    """What a file of mined rounds holds, by the key of the document that a round should cite."""

    def __init__(self, file: Path):
        """ValueError where the language has changed since the file was made."""
        with file.open(encoding="utf-8") as lines:
            head = json.loads(next(lines))
            self._pool = draw_pool(head["documents"], head["seed"])
            if checksum(self._pool) != head["checksum"]:
                raise ValueError(f"{file} was made with other documents; mine again")
            self._by_key: dict[str, list[NearMisses]] = defaultdict(list)
            for line in lines:
                mined = NearMisses(**json.loads(line))
                self._by_key[self._pool[mined.chain[mined.round]].fact.key].append(mined)

    def draw(self, rng: random.Random, rounds: int, near: int,
             keys: int = 3) -> tuple[list[Document], list[tuple[list[int], int]]]:
        """`rounds` rounds about `keys` keys with their first `near` near misses -> the documents,
        in random order, and (chain, round) of each with indices in them"""
        chosen = rng.sample(sorted(self._by_key), min(keys, len(self._by_key)))
        drawn = [rng.choice(self._by_key[chosen[i % len(chosen)]]) for i in range(rounds)]
        wanted = {index: None for mined in drawn for index in (*mined.chain, *mined.near[:near])}
        order = rng.sample(list(wanted), len(wanted))
        place = {index: at for at, index in enumerate(order)}
        return ([self._pool[index] for index in order],
                [([place[index] for index in mined.chain], mined.round) for mined in drawn])


def _draw_chains(rng: random.Random, pool: list[Document], count: int) -> list[list[int]]:
    """Chains of one document and of two in turn."""
    attributes = defaultdict(list)
    for index, document in enumerate(pool):
        if document.fact.key in ATTRIBUTES:
            attributes[document.fact.entity].append(index)
    starts = [index for index, document in enumerate(pool)
              if document.fact.key in RELATIONS and document.fact.value in attributes]
    if not starts:
        raise ValueError(f"no question of two hops in {len(pool)} documents; use more of them")
    chains = []
    for i in range(count):
        if i % 2:
            start = rng.choice(starts)
            chains.append([start, rng.choice(attributes[pool[start].fact.value])])
        else:
            chains.append([rng.randrange(len(pool))])
    return chains


def _best_first(sequence: Sequence, left_out: list[int]) -> list[int]:
    """What any layer selected: all layers' first ones, then their second ones, …"""
    ranks = zip(*(selection.documents for selection in sequence.selections.values()))
    selected = {index: None for rank in ranks for index in rank}
    return [index for index in selected if index not in left_out]


def mine(checkpoint: Path, pool: list[Document], questions: int, seed: int, device: torch.device,
         use_bf16: bool = False) -> Iterator[NearMisses]:
    """Every round of the questions, one after the other."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    model = NeedleModel.load(checkpoint).to(device).eval()
    bank = encode_bank(model, tokenizer, pool, use_bf16)
    head = tokenizer.encode(conversation.TEMPLATE_HEAD, add_special_tokens=False).ids
    with torch.no_grad():
        prefix = model.template_prefix(torch.tensor(head, device=device))
    rng = random.Random(f"{seed}/questions")
    for chain in _draw_chains(rng, pool, questions):
        sources = [pool[index] for index in chain]
        entity = (sources[0].fact.entity if len(chain) == 1
                  else language.relation_phrase(sources[0].fact))
        question = language.draw_question(rng, sources[-1].fact.key, entity)
        expansions = ""
        for index, source in enumerate(sources):
            sequence = Sequence(model, bank, prefix)
            sequence.prefill(*prompt(tokenizer, question, expansions))
            yield NearMisses(chain, index, _best_first(sequence, chain))
            expansions += (conversation.citation(source.number)
                           + conversation.expansion([(source.number, source.text)]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--bf16-encoding", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of the CPU; default: all cores")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    temporary = arguments.file.with_name(arguments.file.name + ".new")
    with temporary.open("w", encoding="utf-8") as out:
        pool = draw_pool(arguments.documents, arguments.seed)
        out.write(json.dumps({"documents": arguments.documents, "seed": arguments.seed,
                              "checksum": checksum(pool)}) + "\n")
        count = 0
        for mined in mine(arguments.checkpoint, pool, arguments.questions, arguments.seed,
                          torch.device(arguments.device), arguments.bf16_encoding):
            out.write(json.dumps(asdict(mined)) + "\n")
            count += 1
            if count % 500 == 0:
                print(f"{count} rounds after {time.monotonic() - started:.0f} s", flush=True)
    temporary.replace(arguments.file)


if __name__ == "__main__":
    main()
