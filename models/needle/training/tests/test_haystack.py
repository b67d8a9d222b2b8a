"""The language is fixed by its seeds: published figures refer to these banks and questions."""
import hashlib
import json
import tempfile
import unittest
from dataclasses import asdict
from pathlib import Path

from training.haystack import make_documents, make_questions, write_haystack
from training.language import is_held_out

# (documents, seed, first number) -> SHA-256 of the documents, of 200 questions of both kinds.
HASHES = {
    (200, 7, None): ("c5a0ef40ed062789", "4a3f3582883ad321"),
    (2000, 11, 1): ("81bc32141f783462", "830305469535ecea"),
    (2000, 11, None): ("761d917b66149e23", "42f6a0840f047e49"),
    (2000, 5, None): ("2d6c204d8b6f55d1", "77af77f13a82a019"),
    (20000, 11, 1): ("deb324439862fcda", "7ad142d8cd40e937"),
    (5000, 123, 1000): ("aaa78ef5a66aa5a2", "8d26a91c740eba0f"),
}


def digest(rows: list) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


class HaystackTest(unittest.TestCase):
    def test_seeds_give_the_published_documents_and_questions(self):
        for (count, seed, first_number), (documents_hash, questions_hash) in HASHES.items():
            with self.subTest(count=count, seed=seed, first_number=first_number):
                documents = make_documents(count, seed, first_number)
                rows = [[d.number, d.text, d.fact.entity, d.fact.key, d.fact.value, d.value_start]
                        for d in documents]
                self.assertEqual(digest(rows), documents_hash)
                questions = make_questions(documents, 200, seed)
                rows = [[q.question, q.hops, list(q.sources), q.answer] for q in questions]
                self.assertEqual(digest(rows), questions_hash)

    def test_value_start_points_at_the_value(self):
        for document in make_documents(500, seed=4):
            self.assertTrue(document.text.startswith(document.fact.value, document.value_start))

    def test_questions_name_held_out_entities_and_their_sources_hold_the_answer(self):
        documents = make_documents(1000, seed=9, first_number=1)
        by_number = {d.number: d for d in documents}
        for question in make_questions(documents, 100, seed=9):
            chain = [by_number[number] for number in question.sources]
            self.assertEqual(len(chain), question.hops)
            self.assertTrue(is_held_out(chain[0].fact.entity))
            self.assertEqual(chain[-1].fact.value, question.answer)
            if question.hops == 2:
                self.assertEqual(chain[0].fact.value, chain[1].fact.entity)

    def test_written_files_hold_the_documents_and_the_questions(self):
        documents = make_documents(30, seed=2)
        questions = make_questions(documents, 3, seed=2, hops=1)
        with tempfile.TemporaryDirectory() as folder:
            write_haystack(Path(folder), documents, questions)
            lines = (Path(folder) / "documents.jsonl").read_text().splitlines()
            self.assertEqual([json.loads(line) for line in lines],
                             [{"id": d.number, "text": d.text} for d in documents])
            lines = (Path(folder) / "questions.jsonl").read_text().splitlines()
            expected = [{**asdict(q), "sources": list(q.sources)} for q in questions]
            self.assertEqual([json.loads(line) for line in lines], expected)


if __name__ == "__main__":
    unittest.main()
