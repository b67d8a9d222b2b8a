"""Retrieve with a filter or a list of ids against Retrieve on a bank that holds only the documents that match, under the same
numbers: two banks take the same random changes, then a copy of the second one loses the rest. 1,000 cases with
MSA_LONG_TESTS=1."""
import json
import os
import random
import time
import unittest

from server_program import SAMPLES, ServerProgram, TemporaryFolder  # first: it finds the next one

from msa_client import Client, Document

IS_LONG = "MSA_LONG_TESTS" in os.environ
SHARDS = (1, 2, 3)
CASES_PER_BANK = 12 if IS_LONG else 10
BANKS_PER_SHARDS = 28 if IS_LONG else 2
CHANGES = 12  # batches
IDS = 60
YEARS = range(2018, 2025)
LANGUAGES = ("en", "de", "fr")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]


class Condition:
    """A random filter, a list of ids or both, as text for the server and as a function of id and metadata for the test."""

    def __init__(self, chance: random.Random):
        self.filter, self._matches = "", lambda document_id, metadata: True
        self.document_ids: list[str] = []
        kind = chance.choice(("filter", "filter", "ids", "both"))
        if kind != "ids":
            self.filter, self._matches = self._term(chance, depth=0)
        if kind != "filter":
            count = chance.randint(1, IDS)
            self.document_ids = [f"d{i}" for i in chance.sample(range(IDS + 5), count)]  # some of nobody

    def matches(self, document_id: str, metadata: dict) -> bool:
        if self.document_ids and document_id not in self.document_ids:
            return False
        return self._matches(document_id, metadata)

    def _term(self, chance: random.Random, depth: int):
        kind = chance.choice(("year", "language", "draft", "has", "id") + (("not", "and", "or") * 2 if depth < 3 else ()))
        if kind == "year":
            name, compare = chance.choice([("<", lambda a, b: a < b), (">=", lambda a, b: a >= b), ("=", lambda a, b: a == b),
                                           ("!=", lambda a, b: a != b)])
            year = chance.choice(YEARS)
            return f"metadata.year {name} {year}", lambda _, m: "year" in m and compare(m["year"], year)
        if kind == "language":
            language = chance.choice(LANGUAGES)
            return f'metadata.lang = "{language}"', lambda _, m: m.get("lang") == language
        if kind == "draft":
            wanted = chance.random() < 0.5
            return (f"metadata.draft != {'false' if wanted else 'true'}", lambda _, m: m.get("draft") is wanted)
        if kind == "has":
            return "metadata.draft:*", lambda _, m: "draft" in m
        if kind == "id":
            other = f"d{chance.randrange(IDS)}"
            return f'id != "{other}"', lambda document_id, _: document_id != other
        text, matches = self._term(chance, depth + 1)
        if kind == "not":
            return f"NOT ({text})", lambda *document: not matches(*document)
        right_text, right = self._term(chance, depth + 1)
        if kind == "and":
            return f"({text}) AND ({right_text})", lambda *document: matches(*document) and right(*document)
        return f"({text}) OR ({right_text})", lambda *document: matches(*document) or right(*document)


class TwinBanks:
    """Two banks that take the same changes and so give the same numbers."""

    def __init__(self, client: Client, chance: random.Random, texts: list[str], name: str):
        self.client, self.chance, self.texts = client, chance, texts
        self.whole, self.twin, self.narrowed = f"{name}-whole", f"{name}-twin", f"{name}-narrowed"
        self.metadata: dict[str, dict] = {}  # of the documents that are there
        for bank in (self.whole, self.twin):
            client.create_bank(bank)

    def drop(self) -> None:
        for bank in (self.whole, self.twin):
            self.client.delete_bank(bank, force=True)
        self.client.delete_backup(self.twin)

    def change(self) -> None:
        present = sorted(self.metadata)
        absent = [f"d{i}" for i in range(IDS) if f"d{i}" not in self.metadata]
        kind = self.chance.choice(("insert", "upsert", "metadata", "delete", "compact"))
        if len(present) < IDS // 3 or (kind == "insert" and absent):
            self._put(self.chance.sample(absent, min(len(absent), self.chance.randint(1, IDS // 2))), "insert")
        elif kind == "upsert":
            self._put([f"d{i}" for i in self.chance.sample(range(IDS), 8)], "upsert")
        elif kind == "metadata":
            for document_id in self.chance.sample(present, 3):
                self.metadata[document_id] = self._random_metadata()
                for bank in (self.whole, self.twin):
                    self.client.update_document(bank, document_id, metadata=self.metadata[document_id])
        elif kind == "delete":
            gone = self.chance.sample(present, self.chance.randint(1, 8))
            for document_id in gone:
                del self.metadata[document_id]
            for bank in (self.whole, self.twin):
                self.client.delete_documents(bank, gone)
        elif kind == "compact":
            self.client.compact_bank(self.whole)  # only there: it changes nothing that a query sees

    def narrow(self, condition: Condition) -> int:
        """Makes `narrowed` from the twin without what does not match; returns how many documents it has."""
        self.client.restore_bank(self.twin, self.narrowed)
        others = [document_id for document_id, metadata in self.metadata.items()
                  if not condition.matches(document_id, metadata)]
        if others:
            self.client.delete_documents(self.narrowed, others)
        return len(self.metadata) - len(others)

    def _random_metadata(self) -> dict:
        values = {"year": self.chance.choice(YEARS), "lang": self.chance.choice(LANGUAGES), "draft": self.chance.random() < 0.5}
        return {key: value for key, value in values.items() if self.chance.random() < 0.8}

    def _put(self, ids: list[str], mode: str) -> None:
        documents = []
        for document_id in ids:
            self.metadata[document_id] = self._random_metadata()
            documents.append(Document(document_id, self.chance.choice(self.texts), self.metadata[document_id]))
        for bank in (self.whole, self.twin):
            failed = [r.error.message for r in self.client.ingest(bank, documents, mode=mode) if r.HasField("error")]
            if failed:
                raise AssertionError(failed[0])


def result_of(response) -> tuple:
    """All that the two must agree in; repr of a float32 tells its bits."""
    hits = [(hit.number, hit.document_id, repr(hit.best_score), hit.text, [(l.layer, repr(l.score), l.rank) for l in hit.layers])
            for hit in response.hits]
    layers = [(layer.layer, list(layer.numbers), [repr(score) for score in layer.scores]) for layer in response.layers]
    return hits, layers


class FilteredRetrieval(unittest.TestCase):
    def setUp(self):
        self.texts = [row["text"] for row in lines("documents.jsonl")]
        self.questions = [row["question"] for row in lines("questions.jsonl")]
        self.chance = random.Random(11)
        self.cases = self.hits = self.without_hits = self.left = self.documents = 0

    def test_a_filter_finds_what_a_bank_of_only_the_matching_documents_finds(self):
        begun = time.monotonic()
        for shards in SHARDS:
            folder = TemporaryFolder()
            self.addCleanup(folder.remove)
            server = ServerProgram(folder.path, "--shards", str(shards), "--backup-dir", str(folder.path / "backups"))
            with server, server.client() as client:
                for number in range(BANKS_PER_SHARDS):
                    with self.subTest(shards=shards, bank=number):
                        self.compare(client, f"b{number}")
        print(f"\ncases {self.cases}, hits {self.hits}, cases without a hit {self.without_hits}, matching documents {self.left} of "
              f"{self.documents}, {time.monotonic() - begun:.0f} s")
        self.assertGreater(self.hits, self.cases)

    def compare(self, client: Client, name: str) -> None:
        banks = TwinBanks(client, self.chance, self.texts, name)
        for _ in range(CHANGES):
            banks.change()
        listed = [{d.id: d.number for d in client.list_documents(bank)} for bank in (banks.whole, banks.twin)]
        self.assertEqual(listed[0], listed[1])
        client.backup_bank(banks.twin, banks.twin)
        for _ in range(CASES_PER_BANK):
            condition, question = Condition(self.chance), self.chance.choice(self.questions)
            self.left += banks.narrow(condition)
            self.documents += len(banks.metadata)
            expected = client.retrieve(banks.narrowed, question, explain_layers=True, with_text=True)
            found = client.retrieve(banks.whole, question, explain_layers=True, with_text=True, filter=condition.filter,
                                    document_ids=condition.document_ids)
            self.assertEqual(result_of(found), result_of(expected), (question, condition.filter, condition.document_ids))
            client.delete_bank(banks.narrowed, force=True)
            self.cases += 1
            self.hits += len(found.hits)
            self.without_hits += not found.hits
        banks.drop()


if __name__ == "__main__":
    unittest.main()
