"""Banks that are changed, checked, copied, encoded again and taken out, by msactl and the real server."""
import json
import subprocess
import threading
import time
import unittest

from server_program import MSACTL, SAMPLES, ServerProgram, TemporaryFolder, msactl
from msa_client import Document, ServerError

BANK = "care"
CODE = {"id": "code", "text": "The code of the gleaming pioneer is 319938.", "metadata": {"lang": "en", "page": 3}}
QUESTION = "Which code belongs to the gleaming pioneer?"


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


class BankCare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = TemporaryFolder()
        cls.addClassCleanup(folder.remove)
        cls.folder = folder.path
        cls.server = ServerProgram(folder.path, "--shards", "2", "--backup-dir", str(folder.path / "backups")).start()
        cls.addClassCleanup(cls.server.stop)
        assert msactl(cls.server, "bank", "create", BANK).returncode == 0
        samples = [line for line in (SAMPLES / "documents.jsonl").read_text().splitlines(keepends=True)
                   if "gleaming pioneer" not in line][:200]  # who has another code there
        done = msactl(cls.server, "ingest", "-b", BANK, "-", stdin="".join(samples) + lines(CODE))
        assert done.returncode == 0, done.stderr

    def run_tool(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        done = msactl(self.server, *arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        self.stderr = done.stderr
        return done.stdout

    def run_json(self, *arguments: str, code: int = 0, stdin: str = "") -> list[dict]:
        return [json.loads(line) for line in self.run_tool("--format", "json", *arguments, code=code,
                                                           stdin=stdin).splitlines()]

    def answer(self, bank: str, question: str = QUESTION) -> str:
        return self.run_json("ask", "-b", bank, question)[-1]["finished"]["answer"]

    def retrieval(self, bank: str) -> list[tuple]:
        hits = self.run_json("retrieve", "-b", bank, QUESTION)[0]["hits"]
        return [(hit["number"], hit["document_id"], hit["best_score"]) for hit in hits]

    def make_bank(self, name: str, *rows: dict) -> None:
        self.run_tool("bank", "create", name)
        self.addCleanup(msactl, self.server, "bank", "delete", name, "--force")
        if rows:
            self.run_tool("ingest", "-b", name, "-", stdin=lines(*rows))

    def on_disk(self, bank: str, text: bytes) -> bool:
        folder = self.server.data / "banks" / bank
        return any(text in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    def test_settings_stay_and_limits_count(self):
        self.make_bank("settings", CODE)
        self.run_tool("bank", "update", "settings", "--display-name", "Settings", "--max-rounds", "1",
                      "--max-tokens", "1")
        self.assertEqual(self.run_json("bank", "get", "settings")[0]["settings"]["default_limits"]["max_rounds"], 1)
        finished = self.run_json("ask", "-b", "settings", QUESTION)[-1]["finished"]
        self.assertEqual(finished["usage"]["rounds"], 1)
        self.run_tool("bank", "update", "settings", "--clear-limits", "--token-budget", "1")
        self.run_tool("ingest", "-b", "settings", "-", stdin=lines({"id": "b", "text": "No room for this."}), code=1)
        self.assertIn("TOKEN_BUDGET_EXCEEDED", self.stderr)
        self.assertEqual(self.answer("settings"), "319938")

    def test_metadata_change_in_place_and_texts_under_a_new_number(self):
        self.make_bank("documents", CODE)
        before = self.run_json("doc", "get", "-b", "documents", "code")[0]
        self.run_tool("doc", "update", "-b", "documents", "code", "--metadata", "lang=de", "--metadata", "page=4")
        after = self.run_json("doc", "get", "-b", "documents", "code")[0]
        self.assertEqual(after["metadata"], {"lang": "de", "page": 4})
        self.assertEqual((after["number"], after["text"]), (before["number"], before["text"]))
        self.assertEqual(self.run_json("doc", "list", "-b", "documents", "--filter", 'metadata.lang = "en"'), [])
        self.run_tool("doc", "update", "-b", "documents", "code", "--text",
                      "The code of the gleaming pioneer is 555222.")
        changed = self.run_json("doc", "get", "-b", "documents", "code")[0]
        self.assertGreater(changed["number"], before["number"])
        self.assertEqual(changed["metadata"], {"lang": "de", "page": 4})
        self.assertEqual(self.answer("documents"), "555222")
        self.run_tool("doc", "update", "-b", "documents", "nobody", "--text", "x", code=1)
        self.assertIn("DOCUMENT_NOT_FOUND", self.stderr)

    def test_a_sound_bank_verifies_and_a_damaged_one_says_where_and_heals(self):
        self.make_bank("damaged", CODE, {"id": "other", "text": "The colour of Kowido is yellow."})
        result = self.run_json("bank", "verify", "damaged")[-1]["result"]
        self.assertEqual((result["documents"], result["damages"]), (2, 0))
        before = self.retrieval("damaged")
        segment = max((self.server.data / "banks" / "damaged").rglob("*.segment"), key=lambda path: path.stat().st_size)
        with segment.open("r+b") as file:
            file.seek(segment.stat().st_size * 3 // 4)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        found = self.run_json("bank", "verify", "damaged", code=1)
        self.assertGreaterEqual(found[-1]["result"]["damages"], 1)
        self.assertIn(segment.name, found[0]["damage"]["file"])
        give_up = time.monotonic() + 120
        while msactl(self.server, "bank", "verify", "damaged").returncode != 0 and time.monotonic() < give_up:
            time.sleep(0.2)
        self.run_tool("bank", "verify", "damaged")
        self.assertEqual(self.retrieval("damaged"), before)

    def test_a_backup_is_restored_under_another_name_with_the_same_answers(self):
        backup = self.run_tool("bank", "backup", BANK, "--name", "first").strip()
        self.addCleanup(msactl, self.server, "bank", "delete-backup", backup)
        self.assertEqual(backup, "first")
        listed = {row["name"]: row for row in self.run_json("bank", "backups")}
        self.assertEqual((listed["first"]["bank"], listed["first"]["documents"]), (BANK, 201))
        self.run_tool("bank", "backup", BANK, "--name", "first", code=1)
        self.run_tool("bank", "restore", "first", code=1)
        self.assertIn("BANK_EXISTS", self.stderr)
        self.run_tool("bank", "restore", "first", "--as", "restored")
        self.addCleanup(msactl, self.server, "bank", "delete", "restored", "--force")
        self.assertEqual(self.retrieval("restored"), self.retrieval(BANK))
        self.assertEqual(self.answer("restored"), "319938")
        self.run_tool("bank", "verify", "restored")
        self.run_tool("bank", "restore", "none", code=1)

    def test_a_damaged_backup_is_listed_with_its_problem_beside_the_others(self):
        for name in ("intact", "broken"):
            self.run_tool("bank", "backup", BANK, "--name", name)
            self.addCleanup(msactl, self.server, "bank", "delete-backup", name)
        (self.folder / "backups/broken/MANIFEST").write_text("{}")
        listed = {row["name"]: row for row in self.run_json("bank", "backups")}
        self.assertIn("broken/MANIFEST", listed["broken"]["problem"])
        self.assertEqual(listed["intact"].get("problem", ""), "")
        self.assertRegex(self.run_tool("bank", "backups"), r"(?m)^broken +damaged")
        self.assertIn("broken/MANIFEST", self.stderr)
        self.run_tool("bank", "delete-backup", "broken")

    def test_an_export_makes_the_same_documents_elsewhere(self):
        path = self.folder / "export.jsonl"
        self.run_tool("bank", "export", BANK, "-o", str(path))
        rows = {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}
        self.assertEqual(len(rows), 201)
        self.assertEqual(rows["code"], CODE)
        self.assertIn('"page":3}', path.read_text())
        self.make_bank("imported")
        self.run_tool("ingest", "-b", "imported", str(path))
        self.assertEqual(self.run_tool("bank", "export", "imported"), path.read_text())
        self.assertEqual(self.answer("imported"), "319938")
        filtered = self.run_json("bank", "export", BANK, "--filter", 'id = "code"')
        self.assertEqual(filtered, [CODE])

    def test_an_ingest_stream_goes_on_with_the_bank_that_was_encoded_again(self):
        self.make_bank("streamed", CODE)
        may_go_on = threading.Event()

        def documents():
            yield Document("early", "The colour of Kowido is yellow.")
            may_go_on.wait(120)
            for color in ("green", "blue", "red"):  # in this order: the last one counts
                yield Document("late", f"The colour of Kowido is {color}.")

        with self.server.client() as client:
            results = client.ingest("streamed", documents(), upsert=True)
            self.assertFalse(next(results).HasField("error"))
            self.run_tool("bank", "reencode", "streamed")
            may_go_on.set()
            for late in results:
                self.assertFalse(late.HasField("error"), late)
        stored = {row["id"]: row["text"] for row in self.run_json("bank", "export", "streamed")}
        self.assertEqual(sorted(stored), ["code", "early", "late"])
        self.assertEqual(stored["late"], "The colour of Kowido is red.")

    def test_encoding_again_for_the_same_model_changes_no_answer(self):
        self.make_bank("again", CODE, {"id": "other", "text": "The colour of Kowido is yellow."})
        before = self.retrieval("again")
        self.run_tool("bank", "reencode", "again")
        self.assertEqual(self.retrieval("again"), before)
        self.run_tool("bank", "verify", "again")

    def test_what_was_compacted_is_in_no_file_but_in_backups_that_had_it(self):
        self.make_bank("secrets", CODE, {"id": "secret", "text": "The hidden number is 77123441."})
        self.run_tool("bank", "backup", "secrets", "--name", "with-secret")
        self.addCleanup(msactl, self.server, "bank", "delete-backup", "with-secret")
        self.run_tool("doc", "delete", "-b", "secrets", "secret")
        self.assertEqual(self.run_json("bank", "compact", "secrets")[0]["pinned_documents"], 0)
        self.assertFalse(self.on_disk("secrets", b"77123441"))
        backup = self.folder / "backups"
        self.assertTrue(any(b"77123441" in path.read_bytes() for path in backup.rglob("*") if path.is_file()))
        self.run_tool("bank", "delete-backup", "with-secret")
        self.assertFalse(any(b"77123441" in path.read_bytes() for path in backup.rglob("*") if path.is_file()))

    def test_update_only_and_sessions(self):
        rows = [{"id": f"s{i}", "text": f"Text number {i}."} for i in range(20)]
        self.make_bank("sessions")
        self.run_tool("ingest", "-b", "sessions", "--mode", "update-only", "-", stdin=lines(rows[0]), code=1)
        self.assertIn("DOCUMENT_NOT_FOUND", self.stderr)
        first = self.run_json("ingest", "-b", "sessions", "--session", "s", "-", stdin=lines(*rows[:12]))[0]
        second = self.run_json("ingest", "-b", "sessions", "--session", "s", "-", stdin=lines(*rows))[0]
        self.assertEqual((first["stored"], second["stored"], second["passed_over"]), (12, 8, 12))


class Kills(unittest.TestCase):
    """kill -9 in the middle of long jobs: what was there is there, what was not finished leaves nothing."""

    def setUp(self):
        folder = TemporaryFolder()
        self.addCleanup(folder.remove)
        self.server = ServerProgram(folder.path, "--shards", "2", "--backup-dir", str(folder.path / "backups")).start()
        self.addCleanup(lambda: self.server.stop())
        self.backups = folder.path / "backups"

    def kill_within(self, *arguments: str, seconds: float) -> None:
        tool = subprocess.Popen([str(MSACTL), "--server", self.server.address, *arguments],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        self.server.kill()
        tool.wait(60)
        self.server.start()

    def test_a_bank_outlives_kills_in_all_its_jobs(self):
        with self.server.client() as client:
            client.create_bank(BANK)
            rows = map(json.loads, (SAMPLES / "documents.jsonl").read_text().splitlines()[:400])
            for result in client.ingest(BANK, (Document(row["id"], row["text"]) for row in rows)):
                self.assertFalse(result.HasField("error"), result)
        for seconds in (0.02, 0.05, 0.1):
            for job in (("bank", "backup", BANK, "--name", "killed"), ("bank", "compact", BANK),
                        ("bank", "reencode", BANK), ("bank", "verify", BANK)):
                with self.subTest(job=job, seconds=seconds):
                    self.kill_within(*job, seconds=seconds)
                    with self.server.client() as client:
                        self.assertEqual(client.bank_stats(BANK).documents, 400)
                        self.assertEqual(client.verify_bank(BANK).damages, 0)
                        for backup in client.list_backups():  # whole, or not there
                            client.restore_bank(backup.name, "restored")
                            self.assertEqual(client.bank_stats("restored").documents, 400)
                            client.delete_bank("restored", force=True)
                            client.delete_backup(backup.name)
        with self.server.client() as client:
            client.reencode_bank(BANK)
            self.assertEqual(client.verify_bank(BANK).damages, 0)

    def test_an_ingest_goes_on_over_a_kill(self):
        with self.server.client() as client:
            client.create_bank(BANK)
        rows = [{"id": f"k{i}", "text": f"The code of the gleaming pioneer number {i} is {i}."} for i in range(2000)]
        path = self.server.folder / "rows.jsonl"
        path.write_text(lines(*rows))
        done = {}
        # The ports change with the restart, so the tool is run again, as a script would.
        tool = threading.Thread(target=lambda: done.update(first=msactl(
            self.server, "ingest", "-b", BANK, "--session", "s", "--timeout", "5", str(path))))
        tool.start()
        time.sleep(1.0)
        self.server.kill()
        tool.join(120)
        self.server.start()
        again = msactl(self.server, "--format", "json", "ingest", "-b", BANK, "--session", "s", str(path))
        self.assertEqual(again.returncode, 0, again.stderr)
        # The server forgot the session with its restart; what was there already changes nothing.
        self.assertEqual(json.loads(again.stdout)["passed_over"], 0)
        with self.server.client() as client:
            self.assertEqual(client.bank_stats(BANK).documents, 2000)
            self.assertEqual(client.verify_bank(BANK).damages, 0)


class NoBackups(unittest.TestCase):
    def test_a_server_without_a_directory_for_them_says_so(self):
        folder = TemporaryFolder()
        self.addCleanup(folder.remove)
        with ServerProgram(folder.path) as server, server.client() as client:
            client.create_bank(BANK)
            with self.assertRaises(ServerError) as raised:
                client.backup_bank(BANK, "b")
            self.assertEqual(raised.exception.reason, "NO_BACKUP_DIRECTORY")


if __name__ == "__main__":
    unittest.main()
