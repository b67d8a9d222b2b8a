"""The whole way with the bundled model: documents in, questions, answers with sources, restarts."""
import json
import signal
import time
import unittest

from server_program import SAMPLES, ServerProgram, TemporaryFolder  # first: it finds the next one

from msa_client import Document

BANK = "samples"
NUM_DOCUMENTS = 2000
NUM_QUESTIONS = 20


def read_lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]


def sample_documents() -> list[Document]:
    return [Document(row["id"], row["text"]) for row in read_lines("documents.jsonl")]


def ingest_all(client, documents: list[Document]) -> None:
    results = list(client.ingest(BANK, documents))
    errors = [result.error.message for result in results if result.HasField("error")]
    if errors or len(results) != len(documents):
        raise AssertionError(f"{len(results)} results for {len(documents)} documents; errors: {errors[:3]}")


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = TemporaryFolder()
        cls.addClassCleanup(folder.remove)
        cls.server = ServerProgram(folder.path, "--shards", "2").start()
        cls.addClassCleanup(cls.server.stop)
        with cls.server.client() as client:
            client.create_bank(BANK)
            ingest_all(client, sample_documents())
        cls.questions = read_lines("questions.jsonl")[:NUM_QUESTIONS]

    def setUp(self):
        self.client = self.server.client()
        self.addCleanup(lambda: self.client.close())

    def summary(self, client) -> list:
        return [(finished.answer, [(s.number, s.document_id, s.round) for s in finished.sources])
                for finished in (client.answer(BANK, row["question"]) for row in self.questions)]

    def test_questions_of_one_and_two_hops_are_answered_from_their_sources(self):
        right = {1: 0, 2: 0}
        for row in self.questions:
            finished = self.client.answer(BANK, row["question"])
            sources = [source.document_id for source in finished.sources]
            right[row["hops"]] += finished.answer == row["answer"] and sources == row["sources"]
            self.assertGreater(finished.usage.rounds, 0)
        half = NUM_QUESTIONS // 2  # of each kind; the model itself is wrong now and then
        self.assertGreaterEqual(right[1], half - 1)
        self.assertGreaterEqual(right[2], half - 1)

    def test_events_tell_the_story_in_order(self):
        row = next(row for row in self.questions if row["hops"] == 2)
        events = list(self.client.ask(BANK, row["question"], explain_layers=True))
        kinds = [event.WhichOneof("event") for event in events]
        self.assertEqual(kinds[0], "started")
        self.assertEqual(kinds[-1], "finished")
        self.assertEqual(kinds.count("finished"), 1)
        rounds = [event.round for event in events if event.HasField("round")]
        self.assertEqual([r.round for r in rounds], list(range(len(rounds))))
        citations = [event.citations for event in events if event.HasField("citations")]
        for routed, cited in zip(rounds, citations):
            numbers = {document.number for document in routed.documents}
            self.assertTrue({document.number for document in cited.documents} <= numbers)  # none is invented
            self.assertEqual(len(cited.unknown_numbers), 0)
            self.assertEqual(len(routed.layers), len(self.client.server_info().model.msa_layers))
            scores = [document.best_score for document in routed.documents]
            self.assertEqual(scores, sorted(scores, reverse=True))
        started = events[0].started
        self.assertEqual(started.bank_documents, NUM_DOCUMENTS)
        self.assertEqual(rounds[0].prompt_tokens, started.prompt_tokens)

    def test_retrieve_gives_what_the_first_round_of_an_answer_routes(self):
        for row in self.questions[:4]:
            hits = self.client.retrieve(BANK, row["question"], explain_layers=True, with_text=True)
            first = next(event.round for event in self.client.ask(BANK, row["question"], explain_layers=True)
                         if event.HasField("round"))
            self.assertEqual([(hit.number, hit.best_score) for hit in hits.hits],
                             [(document.number, document.best_score) for document in first.documents])
            self.assertEqual(list(hits.layers), list(first.layers))
            self.assertTrue(all(hit.text for hit in hits.hits))
            limited = self.client.retrieve(BANK, row["question"], limit=3)
            self.assertEqual([hit.number for hit in limited.hits], [hit.number for hit in hits.hits[:3]])

    def test_documents_are_spread_over_both_shards(self):
        stats = self.client.bank_stats(BANK)
        self.assertEqual(stats.documents, NUM_DOCUMENTS)
        self.assertEqual([shard.shard for shard in stats.shards], [0, 1])
        self.assertEqual(sum(shard.documents for shard in stats.shards), NUM_DOCUMENTS)
        self.assertLess(abs(stats.shards[0].chunks - stats.shards[1].chunks), stats.chunks // 20)

    def test_list_gives_every_document_once_in_order(self):
        listed = list(self.client.list_documents(BANK, page_size=333))
        ids = [document.id for document in listed]
        self.assertEqual(ids, sorted(document.id for document in sample_documents()))
        self.assertEqual(len({document.number for document in listed}), NUM_DOCUMENTS)

    def test_empty_bank_answers_without_memory_and_says_so(self):
        self.client.create_bank("empty")
        self.addCleanup(self.client.delete_bank, "empty")
        finished = self.client.answer("empty", self.questions[0]["question"])
        self.assertTrue(finished.without_memory)
        self.assertEqual(len(finished.sources), 0)
        self.assertEqual(len(self.client.retrieve("empty", "Where?").hits), 0)

    def test_banks_do_not_see_each_other(self):
        self.client.create_bank("other")
        self.addCleanup(self.client.delete_bank, "other", force=True)
        list(self.client.ingest("other", [Document("mine", "The code of the gleaming pioneer is 319938.")]))
        for row in self.questions[:5]:
            hits = self.client.retrieve("other", row["question"]).hits
            self.assertEqual([hit.document_id for hit in hits], ["mine"])


class Restarts(unittest.TestCase):
    """Smaller banks: each test starts servers of its own."""

    def setUp(self):
        folder = TemporaryFolder()
        self.addCleanup(folder.remove)
        self.folder = folder.path
        rows = read_lines("questions.jsonl")[:6]
        sources = {source for row in rows for source in row["sources"]}
        documents = sample_documents()
        self.questions = [row["question"] for row in rows]
        self.documents = [d for i, d in enumerate(documents) if i < 200 or d.id in sources]

    def results(self, client) -> list:
        out = []
        for question in self.questions:
            events = list(client.ask(BANK, question, explain_layers=True))
            selections = [list(event.round.layers) for event in events if event.HasField("round")]
            out.append((events[-1].finished.answer, list(events[-1].finished.sources), selections))
        return out

    def test_answers_and_scores_are_the_same_after_kill_9_and_after_a_stop(self):
        server = ServerProgram(self.folder, "--shards", "2")
        self.addCleanup(server.kill)
        with server.start().client() as client:
            client.create_bank(BANK)
            ingest_all(client, self.documents)
            before = self.results(client)
        server.kill()
        with server.start().client() as client:
            self.assertEqual(client.bank_stats(BANK).documents, len(self.documents))
            self.assertEqual(self.results(client), before)
        server.stop()
        with server.start().client() as client:
            self.assertEqual(self.results(client), before)
        server.stop()

    def test_any_number_of_shards_gives_the_same_results(self):
        before = None
        for shards in ("1", "2", "3"):
            with ServerProgram(self.folder, "--shards", shards) as server, server.client() as client:
                if before is None:
                    client.create_bank(BANK)
                    ingest_all(client, self.documents)
                    before = self.results(client)
                self.assertEqual(self.results(client), before, shards)

    def test_kill_9_during_ingest_keeps_what_was_acknowledged(self):
        server = ServerProgram(self.folder, "--shards", "2")
        self.addCleanup(server.kill)
        acknowledged = []
        with server.start().client() as client:
            client.create_bank(BANK)
            try:
                for result in client.ingest(BANK, sample_documents(), wait_until_active=False):
                    acknowledged.append(result.document_id)
                    if len(acknowledged) == 100:
                        server.kill()
            except Exception:  # the connection is gone
                pass
        self.assertGreaterEqual(len(acknowledged), 100)
        texts = {document.id: document.text for document in sample_documents()}
        with server.start().client() as client:
            for document_id in acknowledged:
                self.assertEqual(client.get_document(BANK, document_id).text, texts[document_id])
            # The rest can be added as if nothing had happened, and every document is searchable once.
            ingest_all(client, self.documents)
            listed = list(client.list_documents(BANK))
            self.assertEqual(len({document.number for document in listed}), len(listed))
        server.stop()

    def test_stop_while_starting_ends_it_and_keeps_every_document(self):
        server = ServerProgram(self.folder, "--shards", "2", "--no-metrics")
        self.addCleanup(server.kill)
        with server.start().client() as client:
            client.create_bank(BANK)
            ingest_all(client, self.documents)
            before = self.results(client)
        server.stop()
        for milliseconds in range(0, 150, 10):  # the model loads, the bank opens, it serves
            server.launch()
            time.sleep(milliseconds / 1000)
            server.process.send_signal(signal.SIGTERM)
            self.assertIn(server.wait(), (0, -signal.SIGTERM))  # the latter before the program minds signals
        with server.start().client() as client:
            self.assertEqual(self.results(client), before)
        server.stop()

    def test_deleted_documents_are_gone_for_later_questions_also_after_a_restart(self):
        row = next(row for row in read_lines("questions.jsonl") if row["hops"] == 1)
        question, (source,) = row["question"], row["sources"]
        with ServerProgram(self.folder) as server, server.client() as client:
            client.create_bank(BANK)
            ingest_all(client, self.documents)
            self.assertEqual([s.document_id for s in client.answer(BANK, question).sources], [source])
            self.assertEqual(client.delete_documents(BANK, [source]).deleted, 1)
            self.expect_gone(client, question, source)
        with ServerProgram(self.folder) as server, server.client() as client:
            self.expect_gone(client, question, source)

    def expect_gone(self, client, question: str, document_id: str) -> None:
        self.assertNotIn(document_id, [hit.document_id for hit in client.retrieve(BANK, question).hits])
        self.assertNotIn(document_id, [source.document_id for source in client.answer(BANK, question).sources])
        self.assertNotIn(document_id, [document.id for document in client.list_documents(BANK)])


if __name__ == "__main__":
    unittest.main()
