"""Near misses: what a large bank's routing brings along, and batches made of it."""
import json
import random
import tempfile
import unittest
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training import conversation, language
from training.batches import BatchSource, make_batch
from training.mining import MinedBatches, checksum, draw_pool, mine
from training.model_config import CHECKPOINT
from training.phases import CONTINUE

TOKENIZER_FILE = CHECKPOINT / "tokenizer.json"
DOCUMENTS, QUESTIONS, SEED = 160, 8, 3
PHASE = replace(CONTINUE, documents=40, first_round=12, second_round=4, answer_round=4,
                mined_share=1.0, mined_rounds=6, mined_near=5)


class MiningTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        pool = draw_pool(DOCUMENTS, SEED)
        cls.rounds = list(mine(CHECKPOINT, pool, QUESTIONS, SEED, torch.device("cpu")))
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.file = Path(folder.name) / "mined.jsonl"
        cls.write(cls.file, checksum(pool))

    @classmethod
    def write(cls, file: Path, pool_checksum: int) -> None:
        head = {"documents": DOCUMENTS, "seed": SEED, "checksum": pool_checksum}
        file.write_text("".join(json.dumps(line) + "\n"
                                for line in (head, *map(asdict, cls.rounds))))

    def test_pool_has_no_held_out_name_and_no_number_twice(self):
        pool = draw_pool(DOCUMENTS, SEED)
        self.assertEqual(len({d.number for d in pool}), DOCUMENTS)
        self.assertFalse([d for d in pool if language.is_held_out(d.fact.entity)])

    def test_every_round_of_a_question_has_what_routing_selected_without_its_own_documents(self):
        self.assertEqual(len(self.rounds), QUESTIONS // 2 * 3)
        for mined in self.rounds:
            self.assertLess(mined.round, len(mined.chain))
            self.assertFalse(set(mined.near) & set(mined.chain))
            self.assertGreaterEqual(len(mined.near), 14)    # 16 per layer, the chain's left out
            self.assertEqual(len(set(mined.near)), len(mined.near))

    def test_near_misses_are_about_the_key_that_is_asked_for(self):
        pool = draw_pool(DOCUMENTS, SEED)
        same = [pool[i].fact.key == pool[m.chain[m.round]].fact.key
                for m in self.rounds for i in m.near[:3]]
        self.assertGreater(sum(same) / len(same), 0.2)         # of 13 keys

    def test_a_drawn_batch_has_the_near_misses_of_its_rounds(self):
        pool, mined = draw_pool(DOCUMENTS, SEED), MinedBatches(self.file)
        by_chain = {(tuple(m.chain), m.round): m for m in self.rounds}
        place = {d.number: i for i, d in enumerate(pool)}
        documents, rounds = mined.draw(random.Random(1), 6, 5)
        self.assertEqual(len(rounds), 6)
        for chain, index in rounds:
            source = by_chain[tuple(place[documents[i].number] for i in chain), index]
            numbers = {d.number for d in documents}
            self.assertTrue({pool[i].number for i in source.near[:5]} <= numbers)

    def test_batches_cite_what_the_rounds_should_cite(self):
        tokenizer = Tokenizer.from_file(str(TOKENIZER_FILE))
        batch = make_batch(random.Random(2), tokenizer, PHASE, 7, 64, MinedBatches(self.file))
        texts = [tokenizer.decode(ids[:length].tolist(), skip_special_tokens=False)
                 for group in batch.documents
                 for ids, length in zip(group.token_ids, group.lengths)]
        cited = 0
        for group in batch.queries:
            for row in group.citing[:, 0].unique():
                places = group.citing[group.citing[:, 0] == row, 1]
                written = tokenizer.decode(group.token_ids[row, places + 1].tolist())
                document = texts[int(group.positives[row].nonzero())]
                self.assertTrue(document.startswith(f"{conversation.IM_START}[{written}."))
                cited += 1
        self.assertGreaterEqual(cited, PHASE.first_round)

    def test_the_same_step_gives_the_same_batch(self):
        first, again = (BatchSource(TOKENIZER_FILE, PHASE, 7, 64, self.file)[2] for _ in range(2))
        self.assertEqual(len(first.queries), len(again.queries))
        for one, other in zip(first.queries, again.queries):
            self.assertTrue(torch.equal(one.token_ids, other.token_ids))
        for one, other in zip(first.documents, again.documents):
            self.assertTrue(torch.equal(one.token_ids, other.token_ids))

    def test_file_of_other_documents_is_refused(self):
        other = self.file.with_name("other.jsonl")
        self.write(other, 1)
        with self.assertRaisesRegex(ValueError, "mine again"):
            MinedBatches(other)


if __name__ == "__main__":
    unittest.main()
