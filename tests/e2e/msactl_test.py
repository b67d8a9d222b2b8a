"""msactl against the real server: what goes to stdout and stderr, and the exit codes; wrong use of the Python client."""
import json
import os
import signal
import subprocess
import time
import unittest

from server_program import MSACTL, SAMPLES, ServerProgram, TemporaryFolder, msactl
from msa_client import Document

BANK = "cli"
CODE = {"id": "code", "text": "The code of the gleaming pioneer is 319938.", "metadata": {"lang": "en", "page": 3}}
QUESTION = "Which code belongs to the gleaming pioneer?"


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


class Msactl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = TemporaryFolder()
        cls.addClassCleanup(folder.remove)
        cls.folder = folder.path
        cls.server = ServerProgram(folder.path, "--shards", "2").start()
        cls.addClassCleanup(cls.server.stop)
        assert msactl(cls.server, "bank", "create", BANK).returncode == 0
        assert msactl(cls.server, "ingest", "-b", BANK, "-", stdin=lines(CODE)).returncode == 0

    def run_tool(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        done = msactl(self.server, *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        self.stderr = done.stderr
        return done.stdout

    def run_json(self, *arguments: str, code: int = 0, stdin: str = "") -> list[dict]:
        return [json.loads(line) for line in self.run_tool("--format", "json", *arguments, code=code,
                                                           stdin=stdin).splitlines()]

    def test_ask_prints_answer_and_sources(self):
        out = self.run_tool("ask", "-b", BANK, QUESTION)
        self.assertEqual(out, "319938\nSources:\n  [1] code, cited in round 1\n")
        self.assertIn("1 round" if "1 round," in self.stderr else "2 rounds", self.stderr)
        self.run_tool("-q", "ask", "-b", BANK, QUESTION)
        self.assertEqual(self.stderr, "")

    def test_explain_shows_routed_documents_and_citations(self):
        out = self.run_tool("ask", "-b", BANK, "--explain", QUESTION)
        for part in ("Round 1: ", "layer 2", "layer 3", "layer 4", "Cited: [1] code", "Answer: 319938", "Sources:"):
            self.assertIn(part, out)

    def test_ask_without_question_answers_every_line(self):
        out = self.run_tool("ask", "-b", BANK, stdin=f"{QUESTION}\n\n{QUESTION}\n")
        self.assertEqual(out.count("319938"), 2)
        events = self.run_json("ask", "-b", BANK, QUESTION)
        self.assertIn("started", events[0])
        self.assertEqual(events[-1]["finished"]["answer"], "319938")
        self.assertEqual(events[-1]["finished"]["sources"][0]["document_id"], "code")

    def test_retrieve_prints_a_table_or_raw_numbers(self):
        out = self.run_tool("retrieve", "-b", BANK, "--layers", "--text", QUESTION)
        self.assertIn("gleaming pioneer", out)
        hits = self.run_json("retrieve", "-b", BANK, "-n", "1", QUESTION)[0]["hits"]
        self.assertEqual(len(hits), 1)
        self.assertIsInstance(hits[0]["best_score"], float)

    def test_documents_can_be_read_listed_and_deleted(self):
        document = self.run_json("doc", "get", "-b", BANK, "code")[0]
        self.assertEqual((document["text"], document["metadata"]), (CODE["text"], {"lang": "en", "page": 3.0}))
        self.run_tool("ingest", "-b", BANK, "-", stdin=lines({"id": "gone", "text": "Text."}))
        self.assertIn("gone", self.run_tool("doc", "list", "-b", BANK))
        self.run_tool("doc", "delete", "-b", BANK, "gone", "never", code=3)
        self.assertIn("msactl: no document never", self.stderr)
        self.run_tool("doc", "delete", "-b", BANK, "gone", code=1)
        self.run_tool("doc", "get", "-b", BANK, "gone", code=1)
        self.assertTrue(self.stderr.startswith("msactl: NOT_FOUND: "), self.stderr)
        self.assertIn("(DOCUMENT_NOT_FOUND", self.stderr)

    def test_filters_narrow_questions_lists_and_deletes(self):
        rows = [{"id": f"f{i}", "text": f"Text {i}.", "metadata": {"kind": "filtered", "n": i}} for i in range(6)]
        self.run_tool("ingest", "-b", BANK, "-", stdin=lines(*rows))
        found = self.run_json("retrieve", "-b", BANK, "--filter", 'metadata.kind = "filtered" AND metadata.n < 3',
                              QUESTION)[0]["hits"]
        self.assertEqual(sorted(hit["document_id"] for hit in found), ["f0", "f1", "f2"])
        found = self.run_json("retrieve", "-b", BANK, "--document", "f4", "--document", "code", QUESTION)[0]["hits"]
        self.assertEqual(sorted(hit["document_id"] for hit in found), ["code", "f4"])
        answer = self.run_json("ask", "-b", BANK, "--filter", 'metadata.lang = "en"', QUESTION)[-1]["finished"]
        self.assertEqual((answer["answer"], answer["sources"][0]["document_id"]), ("319938", "code"))
        answer = self.run_json("ask", "-b", BANK, "--filter", 'metadata.lang = "xx"', QUESTION)[-1]["finished"]
        self.assertTrue(answer["without_memory"])
        self.run_tool("ask", "-b", BANK, "--filter", "lang = en", QUESTION, code=1)
        self.assertIn("filter, byte 0: id, metadata.KEY", self.stderr)
        revision = self.run_json("bank", "stats", "-b", BANK)[0]["revision"]
        self.run_tool("retrieve", "-b", BANK, "--min-revision", str(revision), QUESTION)
        self.run_tool("retrieve", "-b", BANK, "--min-revision", str(int(revision) + 1000), QUESTION, code=1)
        self.assertIn("REVISION_NOT_REACHED", self.stderr)
        listed = self.run_json("doc", "list", "-b", BANK, "--filter", "metadata.n >= 4")
        self.assertEqual([document["id"] for document in listed], ["f4", "f5"])
        self.run_tool("doc", "delete", "-b", BANK, "f1", "--filter", "metadata.n:*", code=2)
        deleted = self.run_json("doc", "delete", "-b", BANK, "--filter", 'metadata.kind = "filtered"')
        self.assertEqual(int(deleted[0]["deleted"]), 6)
        self.assertEqual(self.run_json("doc", "list", "-b", BANK, "--filter", "metadata.n:*"), [])

    def test_compaction_leaves_nothing_of_what_was_deleted(self):
        bank = "compacted"
        self.run_tool("bank", "create", bank)
        rows = [{"id": f"secret-{i}", "text": f"The secret number {i} is hidden here."} for i in range(8)]
        kept = {"id": "kept", "text": "This one stays in the bank."}
        self.run_tool("ingest", "-b", bank, "-", stdin=lines(*rows, kept))

        def on_disk(text: bytes) -> bool:
            folder = self.server.data / "banks" / bank
            return any(text in path.read_bytes() for path in folder.rglob("*") if path.is_file())
        self.assertTrue(on_disk(b"The secret number") and on_disk(b"secret-7"))
        self.run_tool("doc", "delete", "-b", bank, "--filter", 'NOT id = "kept"')
        report = self.run_json("bank", "compact", bank)[0]  # it may have begun by itself
        self.assertEqual(int(report["segments"]), 1)
        self.assertEqual(int(self.run_json("bank", "stats", bank)[0].get("tombstones", 0)), 0)
        self.assertFalse(on_disk(b"The secret number") or on_disk(b"secret-"))
        self.assertTrue(on_disk(b"This one stays"))
        self.assertEqual(self.run_json("doc", "list", "-b", bank)[0]["id"], "kept")
        self.run_tool("bank", "compact", bank)
        self.assertIn("Dropped 0 documents", self.stderr)
        self.run_tool("bank", "compact", "nobody", code=1)
        self.assertIn("BANK_NOT_FOUND", self.stderr)

    def test_partial_ingest_names_rejects_and_keeps_them_for_another_try(self):
        rejects = self.folder / "rejects.jsonl"
        text = lines({"id": "new", "text": "The colour of Kowido is yellow."}, {"id": "code", "text": "Other text."},
                     {"id": "bad", "text": ""}) + "not json\n"
        summary = self.run_json("ingest", "-b", BANK, "--rejects", str(rejects), "-", stdin=text, code=3)[0]
        self.assertEqual((summary["documents"], summary["stored"], summary["rejected"]), (4, 1, 3))
        self.assertIn("standard input:2: document code: ALREADY_EXISTS: ", self.stderr)
        self.assertIn("standard input:3: \"text\" is empty", self.stderr)
        self.assertIn("standard input:4: not JSON at byte", self.stderr)
        kept = [json.loads(line) for line in rejects.read_text().splitlines()]
        self.assertEqual(len(kept), 3)
        again = [row for row in kept if row.get("id") == "code"]
        self.assertEqual(again[0]["_error"]["code"], "ALREADY_EXISTS")
        # Try again as it stands, in a mode that allows it; then put the first text back.
        self.run_tool("ingest", "-b", BANK, "--mode", "upsert", "-", stdin=lines(*again))
        self.assertEqual(self.run_json("doc", "get", "-b", BANK, "code")[0]["text"], "Other text.")
        self.run_tool("ingest", "-b", BANK, "--mode", "upsert", "-", stdin=lines(CODE))
        self.run_tool("ingest", "-b", BANK, "-", stdin="not json\n", code=1)
        stopped = self.run_json("ingest", "-b", BANK, "--on-error", "stop", "-", code=1,
                                stdin="not json\n" + lines({"id": "unread", "text": "Text."}))[0]
        self.assertEqual(stopped["documents"], 1)

    def test_rejects_never_replace_an_input(self):
        folder = self.folder / "inputs"
        folder.mkdir()
        path = folder / "rows.jsonl"
        path.write_text("not json\n")
        for source in (path, folder):
            self.run_tool("ingest", "-b", BANK, "--rejects", str(path), str(source), code=2)
            self.assertIn("is also an input", self.stderr)
        with path.open() as stdin:
            done = subprocess.run([str(MSACTL), "ingest", "-b", BANK, "--rejects", str(path), "-"], stdin=stdin,
                                  capture_output=True, env={**os.environ, "MSA_SERVER": self.server.address})
        self.assertEqual(done.returncode, 2)
        self.assertEqual(path.read_text(), "not json\n")

    def test_a_session_is_that_of_its_name_and_input(self):
        self.run_tool("bank", "create", "sessions")
        self.run_tool("ingest", "-b", "sessions", "-", stdin=lines(CODE))
        rejects = self.folder / "session-rejects.jsonl"
        for name in ("first.jsonl", "second.jsonl"):
            path = self.folder / name
            rows = [{"id": f"{name}-{i}", "text": f"Text number {i}."} for i in range(5)]
            path.write_text(lines(*rows, {**CODE, "text": f"Other text in {name}."}))

            def ingest(code: int) -> dict:
                return self.run_json("ingest", "-b", "sessions", "--session", "s", "--rejects", str(rejects),
                                     str(path), code=code)[0]
            first, again = ingest(code=3), ingest(code=0)
            self.assertEqual((first["stored"], first["rejected"], first["passed_over"]), (5, 1, 0))
            self.assertEqual((again["documents"], again["passed_over"]), (0, 6))
        self.assertEqual([json.loads(line)["text"] for line in rejects.read_text().splitlines()],
                         ["Other text in first.jsonl.", "Other text in second.jsonl."])
        self.run_tool("ingest", "-b", "sessions", "--session", "s" * 112, str(path), code=2)

    def test_an_export_that_fails_leaves_the_file_as_it_was(self):
        path = self.folder / "export.jsonl"
        self.run_tool("bank", "export", BANK, "-o", str(path))
        before = path.read_text()
        self.assertIn(CODE["text"], before)
        self.run_tool("bank", "export", "nobody", "-o", str(path), code=1)
        self.assertEqual(path.read_text(), before)
        self.assertEqual([other.name for other in self.folder.glob("export.*")], ["export.jsonl"])
        for command in (("bank", "export", BANK, "-o"), ("ingest", "-b", BANK, "-", "--rejects")):
            self.run_tool(*command, str(self.folder / "absent/file"), code=1)
            self.assertIn("absent/file", self.stderr)
            self.assertIn("No such file or directory", self.stderr)

    def test_folders_of_text_files_are_split_at_paragraphs(self):
        folder = self.folder / "notes"
        (folder / "deep").mkdir(parents=True)
        paragraphs = [f"Paragraph {i}. " + "Many people hurry past the price of milk at the weekend. " * 3
                      for i in range(8)]
        paragraphs = [paragraph.strip() for paragraph in paragraphs]
        (folder / "long.md").write_text("\n\n".join(paragraphs))
        (folder / "deep/short.txt").write_text("A short note.")
        counted = self.run_json("ingest", "--dry-run", "--split", "150", str(folder))[0]
        self.assertGreater(counted["documents"], 2)
        self.assertEqual(counted["rejected"], 0)
        self.run_tool("bank", "create", "notes")
        stored = self.run_json("ingest", "-b", "notes", "--split", "150", str(folder))[0]
        self.assertEqual((stored["documents"], stored["tokens"]), (counted["documents"], counted["tokens"]))
        documents = {row["id"]: row for row in self.run_json("doc", "list", "-b", "notes", "--text")}
        self.assertEqual(documents["deep/short.txt"]["metadata"], {})
        pieces = [documents[f"long.md#{i}"] for i in range(len(documents) - 1)]
        self.assertEqual("\n\n".join(piece["text"] for piece in pieces), "\n\n".join(paragraphs))
        for piece in pieces:
            self.assertLessEqual(piece["tokens"], 150)
            self.assertEqual(piece["metadata"], {"parent": "long.md"})
        self.run_tool("bank", "delete", "notes", code=1)
        self.assertIn("--force", self.stderr)
        self.run_tool("bank", "delete", "notes", "--force")
        self.run_tool("bank", "get", "notes", code=1)

    def test_repeated_ingest_changes_nothing(self):
        sample = (SAMPLES / "documents.jsonl").read_text().splitlines()[:50]
        self.run_tool("bank", "create", "again")
        first = self.run_json("ingest", "-b", "again", "-", stdin="\n".join(sample))[0]
        second = self.run_json("ingest", "-b", "again", "-", stdin="\n".join(sample))[0]
        self.assertEqual((first["stored"], first["unchanged"]), (50, 0))
        self.assertEqual((second["stored"], second["unchanged"]), (0, 50))
        stats = self.run_json("bank", "stats", "again")[0]
        self.assertEqual((stats["documents"], stats["tombstones"]), (50, 0))

    def test_interrupt_is_exit_code_130_and_keeps_what_was_added(self):
        self.run_tool("bank", "create", "stopped")
        tool = subprocess.Popen([str(MSACTL), "ingest", "-b", "stopped", "-"], stdin=subprocess.PIPE,
                                stderr=subprocess.PIPE, env={**os.environ, "MSA_SERVER": self.server.address})
        self.addCleanup(tool.stderr.close)
        self.addCleanup(tool.stdin.close)
        tool.stdin.write(lines(CODE).encode())
        tool.stdin.flush()  # and stays open
        give_up = time.monotonic() + 60
        while self.run_json("bank", "stats", "stopped")[0]["documents"] == 0 and time.monotonic() < give_up:
            time.sleep(0.05)
        tool.send_signal(signal.SIGINT)
        self.assertEqual(tool.wait(20), 130)
        self.assertEqual(self.run_json("bank", "stats", "stopped")[0]["documents"], 1)

    def test_server_commands(self):
        info = self.run_json("server", "info")[0]
        self.assertEqual(info["state"], "ready")
        self.assertEqual(len(info["shards"]), 2)
        self.assertIn("shard", self.run_tool("server", "info"))
        self.assertEqual(self.run_tool("server", "health"), "SERVING\n")
        self.run_tool("server", "health", "--service", "msa.v1.QueryService")
        self.assertGreater(self.run_json("count-tokens", CODE["text"])[0]["tokens"], 10)
        self.assertIn(BANK, [bank["name"] for bank in self.run_json("bank", "list")])

    def test_bad_parameters_and_unreachable_servers_have_their_exit_codes(self):
        self.run_tool("ask", "-b", BANK, "--temperature", "-1", QUESTION, code=1)
        self.assertIn("sampling.temperature", self.stderr)
        self.run_tool("ask", "-b", "none", QUESTION, code=1)
        self.run_tool("ask", "-b", BANK, "--timeout", "0.001", QUESTION, code=4)
        self.run_tool("ask", QUESTION, code=2)
        self.run_tool("--server", "127.0.0.1:1", "bank", "list", code=4)
        self.assertEqual(len(self.stderr.splitlines()), 1)

    def test_wrong_use_of_the_python_client_is_an_exception_that_says_so(self):
        with self.server.client() as client:
            client.create_bank("python")
            list(client.ingest("python", [Document("a", "Text."), Document("b", "Text.")]))
            for wrong in (lambda: client.delete_documents("python", "ab"),
                          lambda: client.retrieve("python", QUESTION, document_ids="ab"),
                          lambda: client.answer("python", QUESTION, document_ids="ab"),
                          lambda: client.answer("python", QUESTION, stop="ab")):
                with self.assertRaisesRegex(TypeError, "is the string 'ab'; give a list of strings"):
                    wrong()
            with self.assertRaisesRegex(ValueError, "mode is 'foo'; allowed: insert, upsert, update-only"):
                list(client.ingest("python", [], mode="foo"))
            broken = OSError("the disk is gone")

            def documents():
                yield Document("c", "Text.")
                raise broken
            results = client.ingest("python", documents())
            self.assertEqual(next(results).document_id, "c")
            with self.assertRaises(OSError) as raised:
                next(results)
            self.assertIs(raised.exception, broken)
            self.assertEqual(client.bank_stats("python").documents, 3)


if __name__ == "__main__":
    unittest.main()
