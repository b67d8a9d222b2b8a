"""Run: python3 -m unittest discover -s tests/bench/scale -p '*_test.py'"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from growing_bank import (BLOCK_DOCUMENTS, BLOCK_ENTITIES, FIRST_TOKENS, MAX_HELD_OUT_ENTITIES, SYLLABLES, GrowingBank,
                          documents_for)
from training import word_lists
from training.language import ATTRIBUTES, is_held_out

SEED = 31
COUNT = 40 * BLOCK_DOCUMENTS
MIDDLE = 5 * BLOCK_DOCUMENTS + 17, 7 * BLOCK_DOCUMENTS + 3


class GrowingBankTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bank = GrowingBank(SEED)
        cls.documents = list(cls.bank.documents(1, COUNT))
        cls.questions = cls.bank.questions(100)
        cls.again = GrowingBank(SEED)
        cls.middle = list(cls.again.documents(MIDDLE[0], MIDDLE[1]))  # asked for first

    def test_a_smaller_bank_is_the_beginning_of_a_larger_one(self):
        self.assertEqual(list(self.again.documents(1, 700)), self.documents[:700])

    def test_a_bank_goes_on_anywhere(self):
        self.assertEqual(self.middle, self.documents[MIDDLE[0] - 1:MIDDLE[1]])
        self.assertEqual(self.again.document(COUNT), self.documents[-1])
        self.assertEqual([d.number for d in self.documents], list(range(1, COUNT + 1)))

    def test_a_fact_stands_in_one_document_only(self):
        facts = {(d.fact.entity, d.fact.key) for d in self.documents}
        self.assertEqual(len(facts), COUNT)

    def test_entities_stay_distinct_up_to_a_hundred_million_tokens(self):
        blocks = -(-documents_for(100_000_000) // BLOCK_DOCUMENTS)
        roster = self.again._roster
        roster.entities(blocks * BLOCK_ENTITIES, 1)
        self.assertEqual(len(set(roster._entities)), blocks * BLOCK_ENTITIES + 1)
        self.assertTrue(all(map(is_held_out, roster.entities(0, MAX_HELD_OUT_ENTITIES))))
        # Every index is an entity of its own: no word or syllable twice, and each syllable ends with its only vowel.
        for words in (word_lists.ADJECTIVES, word_lists.NOUNS, SYLLABLES):
            self.assertEqual(len(set(words)), len(words))
        self.assertTrue(all(s[-1] in "aeiou" and not set(s[:-1]) & set("aeiou") for s in SYLLABLES))

    def test_every_source_lies_within_the_smallest_bank(self):
        smallest = documents_for(FIRST_TOKENS)
        self.assertGreaterEqual(smallest, BLOCK_DOCUMENTS)
        self.assertTrue(all(source <= smallest for question in self.questions for source in question.sources))

    def test_questions_differ_and_their_sources_hold_the_answers(self):
        self.assertEqual([q.hops for q in self.questions], [1, 2] * 100)
        self.assertEqual(len({q.sources for q in self.questions}), 200)
        self.assertGreater(len({q.sources[0] for q in self.questions if q.hops == 2}), 70)
        for question in self.questions:
            chain = [self.documents[number - 1] for number in question.sources]
            self.assertIn(chain[0].fact.entity, question.question)
            self.assertTrue(is_held_out(chain[0].fact.entity))
            self.assertEqual(chain[-1].fact.value, question.answer)
            if question.hops == 2:
                self.assertEqual(chain[0].fact.value, chain[1].fact.entity)
                self.assertIn(chain[1].fact.key, ATTRIBUTES)

    def test_too_many_questions_are_refused(self):
        with self.assertRaisesRegex(ValueError, "questions of one hop"):
            self.bank.questions(5000)


if __name__ == "__main__":
    unittest.main()
