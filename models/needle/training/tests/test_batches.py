"""What a training batch says about its texts."""
import random
import unittest
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training import conversation
from training.batches import Batch, BatchSource, make_batch
from training.phases import CONTINUE, PHASES

TOKENIZER_FILE = Path(__file__).resolve().parents[2] / "checkpoint" / "tokenizer.json"
PHASE = replace(CONTINUE, documents=48, first_round=18, second_round=8, answer_round=8)
CHUNK_TOKENS = 64


class BatchesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tokenizer = Tokenizer.from_file(str(TOKENIZER_FILE))
        cls.batches = [make_batch(random.Random(seed), cls.tokenizer, PHASE, 7, CHUNK_TOKENS)
                       for seed in range(6)]
        cls.queries = [group for batch in cls.batches for group in batch.queries]

    def text(self, token_ids) -> str:
        return self.tokenizer.decode(token_ids.tolist(), skip_special_tokens=False)

    def documents(self, batch: Batch) -> list[str]:
        return [self.text(ids[:length]) for group in batch.documents
                for ids, length in zip(group.token_ids, group.lengths)]

    def test_batch_holds_all_samples_of_ordinary_length(self):
        for batch in self.batches:
            self.assertEqual(sum(len(g.lengths) for g in batch.documents), 48)
            self.assertGreaterEqual(sum(len(g.token_ids) for g in batch.queries), 32)

    def test_documents_of_a_group_have_the_same_number_of_chunks(self):
        for batch in self.batches:
            for group in batch.documents:
                chunks = (group.lengths + CHUNK_TOKENS - 1) // CHUNK_TOKENS
                self.assertEqual(chunks.tolist(),
                                 [group.token_ids.shape[1] // CHUNK_TOKENS] * len(chunks))

    def test_question_routes_and_template_tail_does_not(self):
        for group in self.queries:
            for ids, routed, expanded in zip(group.token_ids, group.routed, group.expanded):
                text = self.text(ids[routed])
                self.assertTrue(text.startswith(conversation.BEFORE_QUESTION))
                self.assertNotIn(conversation.IM_END, text)
                head, _, appended = text.partition(conversation.AFTER_QUESTION)
                # Round 1 routes the newline too, later rounds the documents appended last.
                self.assertEqual(appended.startswith("["), bool(expanded.any()))
                if not expanded.any():
                    self.assertEqual(appended, "\n")

    def test_cited_number_is_the_one_of_the_positive_document(self):
        seen = 0
        for batch in self.batches:
            documents = self.documents(batch)
            for group in batch.queries:
                for row in group.citing[:, 0].unique():
                    places = group.citing[group.citing[:, 0] == row, 1]
                    written = self.text(group.token_ids[row, places + 1])
                    document = documents[int(group.positives[row].nonzero())]
                    self.assertTrue(document.startswith(f"{conversation.IM_START}[{written}."))
                    seen += 1
        self.assertGreater(seen, 100)

    def test_copied_tokens_equal_their_source(self):
        for group in self.queries:
            row, place, source, _ = group.copying.T
            self.assertTrue(torch.equal(group.token_ids[row, place + 1],
                                        group.token_ids[row, source]))
            self.assertTrue((group.weights[row, place + 1] > 0).all())

    def test_two_documents_of_a_batch_never_have_one_number(self):
        for batch in self.batches:
            numbers = [d.split("]")[0] for d in self.documents(batch)]
            self.assertEqual(len(set(numbers)), len(numbers))

    def test_same_step_gives_the_same_batch_and_another_step_another(self):
        phase = replace(PHASES["cite"], documents=20, first_round=6, second_round=2)
        first, again = (BatchSource(TOKENIZER_FILE, phase, 0, CHUNK_TOKENS)[3] for _ in range(2))
        other = BatchSource(TOKENIZER_FILE, phase, 0, CHUNK_TOKENS)[4]
        self.assertEqual(self.documents(first), self.documents(again))
        self.assertNotEqual(self.documents(first), self.documents(other))


if __name__ == "__main__":
    unittest.main()
