"""Run: python3 -m unittest discover -s tests/quality -p '*_test.py'"""
import copy
import gzip
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from comparison import compare, format_disagreement, format_summary
from query_record import QueryRecord, RoundRecord, read_evaluator_records


def two_hop_record() -> QueryRecord:
    def selected(*numbers):
        return {2: list(numbers), 3: list(numbers)}
    margins = {2: 0.01, 3: 0.01}
    return QueryRecord("Q?", 2, [5, 9], "lilac", [
        RoundRecord(selected(5, 1), "[5]<|object_ref_end|>", [5], dict(margins), 3.0),
        RoundRecord(selected(9, 5), "[9]<|object_ref_end|>", [9], dict(margins), 3.0),
        RoundRecord(selected(9, 5), "<End-of-Retrieve>", [], dict(margins), 3.0)], "lilac", 3.0)


class ComparisonTest(unittest.TestCase):
    def setUp(self):
        self.evaluator, self.server = two_hop_record(), two_hop_record()

    def compare(self):
        return compare([self.evaluator], [self.server])

    def test_equal_outcomes_have_no_disagreement(self):
        comparison = self.compare()
        self.assertEqual(comparison.disagreements, [])
        self.assertEqual(comparison.agreements["selections equal in order"], 6)
        self.assertEqual(comparison.figures["server"][2, "round 2 cited"], 1)
        self.assertIn("1.000", format_summary(comparison))

    def test_order_of_a_selection_counts_but_is_no_disagreement(self):
        self.server.rounds[0].selected[2].reverse()
        comparison = self.compare()
        self.assertEqual(comparison.disagreements, [])
        self.assertEqual(comparison.agreements["selections equal in order"], 5)
        self.assertEqual(comparison.agreements["selections equal as sets"], 6)

    def test_first_difference_is_reported_and_later_rounds_are_not_compared(self):
        self.server.rounds[0].written, self.server.rounds[0].cited = "[1]<|object_ref_end|>", [1]
        self.server.rounds[1].selected[2] = [7, 8]
        self.server.answer = "rose"
        comparison = self.compare()
        found = comparison.disagreements[0]
        self.assertEqual((found.what, found.where), ("text", "round 1"))
        self.assertTrue(found.answers_differ)
        self.assertEqual(comparison.num_unexplained_answers, 1)
        self.assertEqual(comparison.agreements["selections compared"], 2)
        self.assertEqual(comparison.figures["server"][2, "round 2 reached"], 0)
        self.assertIn("[1]<|object_ref_end|>", format_disagreement(found, "Q?"))

    def test_near_tie_in_a_selection_explains_a_later_difference(self):
        self.evaluator.rounds[0].selection_margin[3] = 1e-7
        self.server.rounds[0].selected[3] = [5, 2]
        self.server.answer = "rose"
        comparison = self.compare()
        self.assertEqual(comparison.disagreements[0].what, "selection")
        self.assertEqual(comparison.num_different_answers, 1)
        self.assertEqual(comparison.num_unexplained_answers, 0)

    def test_different_selection_with_the_same_answer_is_listed_but_no_different_answer(self):
        self.server.rounds[1].selected[3] = [9, 4]
        comparison = self.compare()
        self.assertEqual(len(comparison.disagreements), 1)
        self.assertEqual(comparison.num_different_answers, 0)

    def test_missing_rounds_are_a_disagreement(self):
        del self.server.rounds[2]
        self.server.answer = ""
        found = self.compare().disagreements[0]
        self.assertEqual((found.what, found.evaluator, found.server), ("rounds", "3", "2"))

    def test_other_questions_are_refused(self):
        self.server.question = "R?"
        with self.assertRaises(ValueError):
            self.compare()


class QueryRecordTest(unittest.TestCase):
    ROW = {"question": "Q?", "hops": 1, "sources": [5], "expected": "x", "answer": "x",
           "answer_written": "The answer to the question is: x", "answer_margin": None,
           "rounds": [{"selected": {"2": [5, 1]}, "selection_margin": {"2": None},
                       "written": "[5]<|object_ref_end|>", "cited": [5], "margin": 0.5}]}

    def write(self, name: str, rows: list[dict]) -> Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / name
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    def test_plain_and_compressed_files_give_the_same_records(self):
        plain = read_evaluator_records(self.write("r.jsonl", [self.ROW] * 3))
        self.assertEqual(len(plain), 3)
        self.assertEqual(plain[0].rounds[0].selected, {2: [5, 1]})
        self.assertEqual(read_evaluator_records(self.write("r.jsonl.gz", [self.ROW] * 3)), plain)
        first_two = read_evaluator_records(self.write("r.jsonl", [self.ROW] * 3), count=2)
        self.assertEqual(first_two, plain[:2])

    def test_answer_without_its_phrase_is_all_that_was_written(self):
        row = copy.deepcopy(self.ROW) | {"answer": "", "answer_written": "The 5]4]"}
        self.assertEqual(read_evaluator_records(self.write("r.jsonl", [row]))[0].answer, "The 5]4]")


if __name__ == "__main__":
    unittest.main()
