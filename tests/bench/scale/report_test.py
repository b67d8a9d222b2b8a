"""Run: python3 -m unittest discover -s tests/bench/scale -p '*_test.py'"""
import json
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chart import HEIGHT, WIDTH, draw
from process_figures import bound, memory, processor_seconds
from report import table, write_report
from roofline import add_rooflines, scored

SVG = "{http://www.w3.org/2000/svg}"


LIMITS = {"threads": 2, "read_bytes_per_second": 1e9, "bf16_operations_per_second": 1e11}


def times(median: float) -> dict:
    return {"calls": 100, "median_ms": median, "p99_ms": 1.5 * median, "least_ms": 0.9 * median}


def one_size(tokens: int, loss: float) -> dict:
    retrieve = {**times(2 + tokens / 4e5), "processor_ms": 3, "prompt_tokens": 37, "stage_median_ms": {"score": 0.2 + tokens / 5e5},
                "share_of_roofline": 0.5, "scoring_share_of_roofline": 0.6, "processor_share_of_roofline": 0.7}
    shares = {"questions": 100, "routed": 1.0, "routed_in_every_layer": 0.99, "round 1 cited": 1 - loss, "round 2 cited": None,
              "round 2 routed": 1.0, "cited": 1 - loss, "answered": 0.98 - loss, "answer": times(50), "first_token": times(8)}
    memory_bytes = {"resident": 10**8, "anonymous": 9 * 10**7, "file": 10**7, "peak": 10**8}
    start = {"serving_seconds": 0.1, "first_retrieve_seconds": 0.2, "memory": memory_bytes}
    return {
        "tokens_wanted": tokens, "documents": tokens // 54, "tokens": tokens + 7, "chunks": tokens // 50,
        "note": "the machine was <quiet>", "growth": {"documents_per_second": None}, "instruction_set": "avx512",
        "limits": LIMITS, "restart": start, "restart_after_kill": start,
        "bank": {"router_key_bytes": 1, "content_bytes": 2, "text_bytes": 3, "index_bytes": 4, "segments": 5,
                 "bytes_on_disk": 6},
        "memory": {"weights_bytes": 7 * 10**6, "grown": memory_bytes, "after_questions": memory_bytes, "bound_bytes": 4 * 10**8,
                   "bound_bytes_without_content": 3 * 10**8, "scratch": {"peak": 10**6, "peak_anonymous": 10**6}},
        "roofline": {"roofline_ms": tokens / 1e6, "key_bytes": 2 * tokens, "dtype": "bf16", "routed_rows": 30},
        "retrieve": retrieve, "retrieve_before_restart": retrieve,
        "quality": {"1-hop": shares, "2-hop": shares}}


def figures(*tokens: int) -> dict:
    return {"settings": {"seed": 31, "questions_per_kind": 100, "calls": 100, "shards": 2, "server_options": []},
            "sizes": [one_size(count, 0.04 * index) for index, count in enumerate(tokens)]}


class ReportTest(unittest.TestCase):
    def test_table_names_every_size_and_what_is_lost(self):
        text = table(figures(16_000, 1_000_000, 100_000_000))
        lines = text.splitlines()
        self.assertEqual(lines[0].split(), ["16K", "1M", "100M"])
        self.assertIn("1-hop cited 8.0", lines[-1])
        self.assertIn(["cited,", "one", "hop", "1.000", "0.960", "0.920"], [line.split() for line in lines])
        self.assertEqual(len({len(line) for line in lines[:-1]}), 1)

    def test_nothing_measured_is_a_table_too(self):
        self.assertEqual(table(figures()), "nothing measured yet\n")

    def test_json_table_and_picture_are_written(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            write_report(figures(16_000, 100_000), out)
            written = json.loads((out / "scale.json").read_text())
            self.assertEqual([size["tokens"] for size in written["sizes"]], [16_007, 100_007])
            self.assertEqual(sorted(path.name for path in out.iterdir()), ["scale.json", "scale.svg", "scale.txt"])
            xml.parse(out / "scale.svg")

    def test_picture_has_a_line_for_every_figure_within_its_frame(self):
        for sizes in ((16_000,), (16_000, 100_000, 1_000_000, 10_000_000, 100_000_000)):
            root = xml.fromstring(draw(figures(*sizes)))
            lines = root.findall(f"{SVG}polyline")
            self.assertEqual(len(lines), 12)
            for line in lines:
                points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
                self.assertEqual(len(points), len(sizes))
                self.assertTrue(all(0 < x < WIDTH and 90 < y < HEIGHT - 150 for x, y in points))
            labels = [text.text for text in root.findall(f"{SVG}text")]
            self.assertIn("While this was measured: the machine was <quiet>.", labels)
            for label in ("16K", "cited, one hop", "Retrieve, p99", "tokens in the bank"):
                self.assertIn(label, labels)

    def test_slower_is_higher_and_worse_is_lower(self):
        root = xml.fromstring(draw(figures(16_000, 1_000_000)))
        ends = [[float(point.split(",")[1]) for point in line.get("points").split()] for line in root.findall(f"{SVG}polyline")]
        cited, retrieve = ends[2], ends[9]
        self.assertGreater(cited[1], cited[0])
        self.assertLess(retrieve[1], retrieve[0])


class RooflineTest(unittest.TestCase):
    def sizes(self, slow: dict) -> list[dict]:
        sizes = figures(1_000_000, 10_000_000)["sizes"]
        sizes[0]["limits"] = {**LIMITS, **slow}
        add_rooflines(sizes)
        return sizes

    def test_the_longer_of_reading_and_computing_counts_by_the_best_limits_of_all_sizes(self):
        for slow in ({}, {"read_bytes_per_second": 5e8}, {"bf16_operations_per_second": 1e9}):
            small, large = self.sizes(slow)
            # 2 MB at 1 GB/s; a million numbers times 30 rows, two operations each, at 1e11 per second.
            self.assertEqual((small["roofline"]["read_ms"], small["roofline"]["compute_ms"]), (2.0, 0.6))
            self.assertEqual((small["roofline"]["roofline_ms"], large["roofline"]["roofline_ms"]), (2.0, 20.0))
            self.assertAlmostEqual(large["retrieve"]["share_of_roofline"], 20 / 27, places=4)

    def test_what_one_retrieve_goes_over(self):
        self.assertEqual(scored(1000, 3, 128, "bf16", 37), {"key_bytes": 768_000, "dtype": "bf16", "routed_rows": 34})


class ProcessFiguresTest(unittest.TestCase):
    def test_memory_of_this_process(self):
        now = memory(os.getpid())
        self.assertEqual(set(now), {"resident", "anonymous", "file", "peak"})
        self.assertGreaterEqual(now["peak"], now["resident"] * 0.9)
        self.assertGreaterEqual(now["resident"], now["anonymous"])

    def test_processor_time_grows_with_work(self):
        before = processor_seconds(os.getpid())
        sum(i * i for i in range(1_000_000))
        self.assertGreater(processor_seconds(os.getpid()), before)

    def test_bound(self):
        self.assertEqual(bound(100, 900), 300_001_100)


if __name__ == "__main__":
    unittest.main()
