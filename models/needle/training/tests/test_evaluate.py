"""The bundled model on a small bank, end to end."""
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import torch

from training import evaluate
from training.haystack import make_documents, make_questions
from training.interleave import CITATION, Reader


class EvaluateTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.documents = make_documents(200, seed=12, first_number=1)
        cls.questions = make_questions(cls.documents, 20, seed=12)
        cls.reader = Reader.load(evaluate.CHECKPOINT, cls.documents, torch.device("cpu"))

    def records(self, **options) -> list[dict]:
        return [evaluate.make_record(q, self.reader.answer(q.question, **options), self.reader)
                for q in self.questions]

    def test_bundled_model_cites_and_answers_in_a_small_bank(self):
        summary = evaluate.summarise(self.records())
        for hops in ("1-hop", "2-hop"):
            self.assertGreaterEqual(summary[hops]["answers right"], 0.9)
            self.assertEqual(summary[hops]["round 1 recall@16 of all layers"], 1.0)

    def test_constrained_citations_are_selected_documents(self):
        for record in self.records():
            for this in record["rounds"]:
                union = {n for numbers in this["selected"].values() for n in numbers}
                self.assertLessEqual(set(map(int, CITATION.findall(this["written"]))), union)

    def test_one_round_is_not_enough_for_an_answer(self):
        for record in self.records(max_rounds=1):
            self.assertEqual(len(record["rounds"]), 1)
            self.assertEqual(record["answer"], "")

    def test_figures_of_a_round_count_only_after_right_citations(self):
        record = {"hops": 2, "sources": [5, 9], "expected": "x", "answer": "y", "rounds": [
            {"selected": {"2": [5], "3": [5], "4": [1]}, "cited": [4]},
            {"selected": {"2": [9], "3": [9], "4": [9]}, "cited": [9]}]}
        summary = evaluate.summarise([record])["2-hop"]
        self.assertEqual(summary["round 1 recall@16 of all layers"], 0)
        self.assertEqual(summary["round 1 recall@16 mean over layers"], round(2 / 3, 4))
        self.assertEqual(summary["round 1 cited right"], 0)
        self.assertNotIn("round 2 reached", summary)
        self.assertEqual(summary["answers right"], 0)

    def test_records_are_written_one_line_per_question(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.jsonl"
            command = ["evaluate", "--documents", "60", "--questions", "3", "--first-number", "1",
                       "--records", str(path)]
            with mock.patch("sys.argv", command), mock.patch("builtins.print") as printed:
                evaluate.main()
            records = [json.loads(line) for line in path.read_text().splitlines()]
            summary = json.loads(printed.call_args[0][0])
        self.assertEqual(len(records), 3)
        self.assertEqual(summary["1-hop"]["questions"], 2)
        self.assertEqual(sorted(records[0]["rounds"][0]["selected"]), ["2", "3", "4"])


if __name__ == "__main__":
    unittest.main()
