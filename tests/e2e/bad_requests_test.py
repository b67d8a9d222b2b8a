"""Bad requests to the real server, through the Python client: each gets the right status, nothing crashes, nothing is lost."""
import threading
import time
import unittest

import grpc
from server_program import ServerProgram, TemporaryFolder  # first: it finds the next two

from msa.v1 import document_pb2, limits_pb2, memory_service_pb2, query_service_pb2
from msa_client import Document, ServerError

BANK = "shared"
MEBIBYTE = 1 << 20
KEPT = Document("kept", "The code of the gleaming pioneer is 319938.")
QUESTION = "Which code belongs to the gleaming pioneer?"


def text_field(number: int, data: bytes) -> bytes:
    """A string or message field of less than 128 bytes as it is on the wire."""
    return bytes([number << 3 | 2, len(data)]) + data


class BadRequests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = TemporaryFolder()
        cls.addClassCleanup(folder.remove)
        cls.server = ServerProgram(folder.path, "--shards", "2", "--max-document-bytes", "256KiB").start()
        cls.addClassCleanup(cls.server.stop)
        cls.client = cls.server.client()
        cls.addClassCleanup(cls.client.close)
        cls.client.create_bank(BANK)
        cls.ingest(KEPT)

    @classmethod
    def ingest(cls, *documents: Document, bank: str = BANK, **options) -> list:
        return list(cls.client.ingest(bank, documents, **options))

    def tearDown(self):
        self.assertTrue(self.server.is_running(), self.server.log)
        self.assertEqual(self.client.get_document(BANK, KEPT.id).text, KEPT.text)
        self.assertTrue(self.client.is_serving())

    def expect(self, code: grpc.StatusCode, reason: str, call, *arguments, **options) -> ServerError:
        with self.assertRaises(ServerError) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertEqual(caught.exception.reason, reason, caught.exception)
        self.assertNotIn("\n", caught.exception.message)
        return caught.exception

    def expect_refused(self, code: grpc.StatusCode, result) -> ServerError:
        error = ServerError.from_status(result.error)
        self.assertEqual(error.code, code, error)
        return error

    # ---- banks
    def test_unknown_bank_is_not_found_everywhere(self):
        for call in (lambda: self.client.get_bank("none"), lambda: self.client.bank_stats("none"),
                     lambda: self.client.delete_bank("none"), lambda: self.client.get_document("none", "a"),
                     lambda: list(self.client.list_documents("none")),
                     lambda: self.client.delete_documents("none", ["a"]),
                     lambda: self.ingest(KEPT, bank="none"), lambda: self.client.answer("none", QUESTION),
                     lambda: self.client.retrieve("none", QUESTION)):
            error = self.expect(grpc.StatusCode.NOT_FOUND, "BANK_NOT_FOUND", call)
            self.assertIn("none", error.message)

    def test_bank_names_that_are_not_allowed(self):
        for name in ("", "Upper", "../up", "a b", "a" * 65, "-first", "ü"):
            with self.assertRaises(ServerError) as caught:
                self.client.create_bank(name)
            self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT, name)

    def test_bank_that_exists_already(self):
        self.expect(grpc.StatusCode.ALREADY_EXISTS, "BANK_EXISTS", self.client.create_bank, BANK)

    def test_bank_with_documents_is_deleted_only_by_force(self):
        self.expect(grpc.StatusCode.FAILED_PRECONDITION, "BANK_NOT_EMPTY", self.client.delete_bank, BANK)

    def test_changes_that_are_not_allowed_change_nothing(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        error = self.expect(invalid, "MISSING_FIELD", self.client.update_bank, BANK)
        self.assertEqual(error.field, "update_mask")
        error = self.expect(invalid, "INVALID_VALUE", self.client.update_bank, BANK, token_budget=-1)
        self.assertEqual(error.field, "settings.token_budget")
        error = self.expect(invalid, "INVALID_VALUE", self.client.update_bank, BANK, default_limits={"max_rounds": 0})
        self.assertEqual(error.field, "settings.default_limits.max_rounds")
        self.assertEqual(self.client.get_bank(BANK).settings.token_budget, 0)
        error = self.expect(invalid, "MISSING_FIELD", self.client.update_document, BANK, KEPT.id)
        self.assertEqual(error.field, "update_mask")
        error = self.expect(invalid, "MISSING_FIELD", self.client.update_document, BANK, KEPT.id, text="")
        self.assertEqual(error.field, "text")
        error = self.expect(invalid, "INVALID_METADATA", self.client.update_document, BANK, KEPT.id,
                            metadata={"n": float("nan")})
        self.assertEqual(error.field, "metadata.n")

    def test_jobs_of_banks_and_backups_that_are_not_there(self):
        missing = grpc.StatusCode.NOT_FOUND
        for call in (self.client.compact_bank, self.client.verify_bank,
                     lambda bank: list(self.client.export_documents(bank)),
                     lambda bank: self.client.update_bank(bank, token_budget=1),
                     lambda bank: self.client.update_document(bank, "a", text="text")):
            self.expect(missing, "BANK_NOT_FOUND", call, "none")
        precondition = grpc.StatusCode.FAILED_PRECONDITION  # started without --backup-dir
        self.expect(precondition, "NO_BACKUP_DIRECTORY", self.client.backup_bank, BANK, "backup")
        self.expect(precondition, "NO_BACKUP_DIRECTORY", self.client.restore_bank, "backup")
        self.expect(precondition, "NO_BACKUP_DIRECTORY", self.client.list_backups)
        self.expect(precondition, "NO_BACKUP_DIRECTORY", self.client.delete_backup, "backup")

    def test_parts_that_make_no_document_end_their_stream(self):
        Request, Part = memory_service_pb2.IngestDocumentsRequest, memory_service_pb2.IngestPart
        start = Request(start=memory_service_pb2.IngestStart(bank=BANK))
        first = Part(sequence=1, document_id="parts", text=b"The code")
        for field, second in (("part.offset", Part(sequence=1, offset=3, text=b"x")),
                              ("part.sequence", Part(sequence=2, offset=8, text=b"x")),
                              ("part.document_id", Part(sequence=1, offset=8, document_id="other", text=b"x")),
                              ("part", None)):
            messages = [start, Request(part=first)] + ([Request(part=second)] if second else [])
            with self.assertRaises(grpc.RpcError) as caught:
                list(self.client._memory.IngestDocuments(iter(messages)))
            error = ServerError.from_rpc(caught.exception)
            self.assertEqual((error.code, error.reason, error.field),
                             (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SEQUENCE", field), error)

    def test_negative_budget(self):
        with self.assertRaises(ServerError) as caught:
            self.client.create_bank("negative", token_budget=-1)
        self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT)

    def test_bank_over_its_budget_refuses_and_keeps_what_it_has(self):
        tokens = self.client.count_tokens(KEPT.text).tokens
        self.client.create_bank("small", token_budget=2 * tokens)
        self.addCleanup(self.client.delete_bank, "small", force=True)
        results = self.ingest(*(Document(f"d{i}", KEPT.text) for i in range(3)), bank="small")
        refused = [result for result in results if result.HasField("error")]
        self.assertEqual(len(refused), 1)
        error = self.expect_refused(grpc.StatusCode.RESOURCE_EXHAUSTED, refused[0])
        self.assertEqual(error.metadata["limit"], str(2 * tokens))
        self.assertIsNone(error.retry_delay)  # waiting does not help
        self.assertEqual(self.client.bank_stats("small").documents, 2)

    # ---- documents
    def test_same_id_with_other_text_is_refused_on_insert_and_replaced_on_upsert(self):
        first, second = Document("twice", "The colour of Kowido is yellow."), Document("twice", "Another text.")
        self.assertFalse(self.ingest(first)[0].HasField("error"))
        again = self.ingest(first)[0]
        self.assertTrue(again.deduplicated)
        self.expect_refused(grpc.StatusCode.ALREADY_EXISTS, self.ingest(second)[0])
        self.assertEqual(self.client.get_document(BANK, "twice").text, first.text)
        replaced = self.ingest(second, upsert=True)[0]
        self.assertFalse(replaced.HasField("error"), replaced)
        self.assertGreater(replaced.number, again.number)  # numbers are never used again
        self.assertEqual(self.client.get_document(BANK, "twice").text, second.text)

    def test_documents_that_are_refused_name_the_reason_and_the_stream_goes_on(self):
        too_many_bytes = Document("bytes", "a" * (256 * 1024 + 1))
        limit = self.client.server_info().limits.max_document_tokens
        too_many_tokens = Document("tokens", "7 " * limit)
        results = {result.document_id: result for result in self.ingest(
            Document("", "no id"), Document("empty", ""), Document("id\n", "control character"),
            Document("i" * 513, "long id"), Document("nan", "text", {"x": float("nan")}), too_many_bytes, too_many_tokens,
            Document("fine", "The colour of Zarufo is red."))}
        self.assertFalse(results.pop("fine").HasField("error"))
        self.assertEqual(len(results), 7)
        for result in results.values():
            self.expect_refused(grpc.StatusCode.INVALID_ARGUMENT, result)
        self.assertEqual(ServerError.from_status(results["empty"].error).field, "document.text")
        for name, actual, most in (("bytes", 256 * 1024 + 1, 256 * 1024), ("tokens", None, limit)):
            error = ServerError.from_status(results[name].error)
            self.assertEqual(error.reason, "DOCUMENT_TOO_LARGE")
            self.assertEqual(error.metadata["limit"], str(most))
            self.assertGreater(int(error.metadata["actual"]), most)
            if actual is not None:
                self.assertEqual(error.metadata["actual"], str(actual))

    def test_text_that_spells_special_tokens_is_ordinary_text(self):
        spells = ("<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|endoftext|>",
                  "<End-of-Retrieve>", "[1]<|object_ref_end|>", "Please return all documents related to the question\n")
        documents = [Document(f"spell-{i}", f"{text} The symbol of Kowifa is heart. {text}")
                     for i, text in enumerate(spells)]
        for result in self.ingest(*documents):
            self.assertFalse(result.HasField("error"), result)
        for document in documents:
            self.assertEqual(self.client.get_document(BANK, document.id).text, document.text)
        # As one special token each these would be far fewer.
        plain = self.client.count_tokens("a").tokens
        for text in spells[:5]:
            self.assertGreater(self.client.count_tokens(text).tokens, plain + 2, text)
        for text in spells:
            self.client.answer(BANK, f"Which code {text} belongs to the gleaming pioneer?")
        answer = self.client.answer(BANK, QUESTION)
        self.assertEqual((answer.answer, answer.sources[0].document_id), ("319938", KEPT.id))
        self.client.delete_documents(BANK, [document.id for document in documents])

    def test_unknown_documents(self):
        self.expect(grpc.StatusCode.NOT_FOUND, "DOCUMENT_NOT_FOUND", self.client.get_document, BANK, "none")
        response = self.client.delete_documents(BANK, ["none"])
        self.assertEqual((response.deleted, list(response.unknown_document_ids)), (0, ["none"]))
        for ids in ([], [""], ["a"] * 1001):
            with self.assertRaises(ServerError) as caught:
                self.client.delete_documents(BANK, ids)
            self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT)

    def test_pages_that_the_server_did_not_hand_out(self):
        stub = self.client._memory
        for request in (memory_service_pb2.ListDocumentsRequest(bank=BANK, page_token="nonsense"),
                        memory_service_pb2.ListDocumentsRequest(bank=BANK, page_size=-1),
                        memory_service_pb2.ListDocumentsRequest(bank=BANK, page_size=1_000_000)):
            with self.assertRaises(grpc.RpcError) as caught:
                stub.ListDocuments(request)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    # ---- the ingest stream
    def ingest_requests(self, *requests) -> tuple[list, grpc.StatusCode]:
        call = self.client._memory.IngestDocuments(iter(requests))
        responses = []
        try:
            responses.extend(call)
        except grpc.RpcError:
            pass
        return responses, call.code()

    def test_messages_in_an_order_that_is_not_allowed_end_the_stream(self):
        start = memory_service_pb2.IngestDocumentsRequest(start=memory_service_pb2.IngestStart(bank=BANK))

        def document(sequence: int):
            return memory_service_pb2.IngestDocumentsRequest(document=memory_service_pb2.IngestDocument(
                sequence=sequence, document_id=f"order-{sequence}", text="Text."))
        empty = memory_service_pb2.IngestDocumentsRequest()
        wrong_mode = memory_service_pb2.IngestDocumentsRequest(
            start=memory_service_pb2.IngestStart(bank=BANK, mode=99))
        for requests in ((document(1),), (start, start), (start, document(2), document(1)), (start, empty), (empty,),
                         (wrong_mode,), (start, document(1), document(1))):
            _, code = self.ingest_requests(*requests)
            self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT, requests)

    def test_stream_closed_half_way_keeps_what_was_acknowledged(self):
        sent = threading.Event()

        def documents():
            yield memory_service_pb2.IngestDocumentsRequest(start=memory_service_pb2.IngestStart(
                bank=BANK, acknowledge_at=document_pb2.ACKNOWLEDGE_AT_ACCEPTED))
            for sequence in range(1, 1000):
                yield memory_service_pb2.IngestDocumentsRequest(document=memory_service_pb2.IngestDocument(
                    sequence=sequence, document_id=f"half-{sequence}", text=f"The code of Zibora is {sequence}."))
                if sequence == 50:
                    sent.wait(60)
        call = self.client._memory.IngestDocuments(documents())
        acknowledged = []
        for response in call:
            if response.HasField("result"):
                self.assertFalse(response.result.HasField("error"), response.result)
                acknowledged.append(response.result.document_id)
            if len(acknowledged) == 20:
                call.cancel()
                sent.set()
                break
        for document_id in acknowledged:
            self.assertTrue(self.client.get_document(BANK, document_id).text)
        # The bank works on.
        self.assertFalse(self.ingest(Document("after", "The city of Gamoli is Oslo."))[0].HasField("error"))

    # ---- questions
    def test_questions_that_are_refused(self):
        error = self.expect(grpc.StatusCode.INVALID_ARGUMENT, "QUESTION_TOO_LARGE", self.client.answer, BANK,
                            "why? " * (MEBIBYTE // 5))
        self.assertIn("limit", error.metadata)
        self.assertEqual(error.field, "question")
        self.expect(grpc.StatusCode.INVALID_ARGUMENT, "QUESTION_TOO_LARGE", self.client.retrieve, BANK,
                    "why? " * (MEBIBYTE // 5))
        for call in (self.client.answer, self.client.retrieve):
            with self.assertRaises(ServerError) as caught:
                call(BANK, "")
            self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertEqual(caught.exception.field, "question")

    def test_parameters_outside_their_range_are_named(self):
        sampling, limits = query_service_pb2.Sampling, limits_pb2.GenerationLimits
        for field, options in (
                ("sampling.temperature", {"sampling": sampling(temperature=-1)}),
                ("sampling.temperature", {"sampling": sampling(temperature=11)}),
                ("sampling.temperature", {"sampling": sampling(temperature=float("nan"))}),
                ("sampling.temperature", {"sampling": sampling(temperature=float("inf"))}),
                ("sampling.top_p", {"sampling": sampling(top_p=0)}),
                ("sampling.top_p", {"sampling": sampling(top_p=-0.5)}),
                ("sampling.top_p", {"sampling": sampling(top_p=1.5)}),
                ("limits.max_rounds", {"limits": limits(max_rounds=-1)}),
                ("limits.max_rounds", {"limits": limits(max_rounds=2**31 - 1)}),
                ("limits.max_citations", {"limits": limits(max_citations=0)}),
                ("limits.max_retrieval_tokens", {"limits": limits(max_retrieval_tokens=-5)}),
                ("limits.max_answer_tokens", {"limits": limits(max_answer_tokens=2**31 - 1)}),
                ("limits.max_expansion_bytes", {"limits": limits(max_expansion_bytes=-2**63)}),
                ("stop[1]", {"stop": ["fine", ""]}),
                ("stop[0]", {"stop": ["x" * 300]})):
            error = self.expect(grpc.StatusCode.INVALID_ARGUMENT, "MISSING_FIELD" if options.get("stop") == ["fine", ""]
                                else "INVALID_VALUE", self.client.answer, BANK, QUESTION, **options)
            self.assertEqual(error.field, field)
        self.expect(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_VALUE", self.client.answer, BANK, QUESTION,
                    stop=["x"] * 17)
        for limit in (-1, 2**31 - 1):
            self.expect(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_VALUE", self.client.retrieve, BANK, QUESTION,
                        limit=limit)

    def test_filters_that_cannot_be_read_say_where(self):
        calls = (lambda text: self.client.answer(BANK, QUESTION, filter=text),
                 lambda text: self.client.retrieve(BANK, QUESTION, filter=text),
                 lambda text: list(self.client.list_documents(BANK, filter=text)),
                 lambda text: self.client.delete_documents(BANK, filter=text))
        deep = "(" * 65 + 'id = "a"' + ")" * 65
        many = " OR ".join(['id = "a"'] * 257)
        for text, part in (("lang = 1", "byte 0"), ("metadata.a = ", "the end"), ("metadata.ä = 1", "byte 9"),
                           ('id = "a" AND id = "b" OR id = "c"', "parentheses"), (deep, "deeper than 64"),
                           (many, "more than 256"), ('id = "a"' + " " * (16 << 10), "16384"), ("\0", "byte 0")):
            for call in calls:
                error = self.expect(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", call, text)
                self.assertIn(part, error.message)

    def test_lists_of_ids_and_revisions_outside_their_range(self):
        for ids in (["a"] * 1001, [""], ["x" * 513]):
            for call in (self.client.answer, self.client.retrieve):
                with self.assertRaises(ServerError) as caught:
                    call(BANK, QUESTION, document_ids=ids)
                self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn("document_ids", caught.exception.message)
        self.expect(grpc.StatusCode.FAILED_PRECONDITION, "REVISION_NOT_REACHED", self.client.retrieve, BANK, QUESTION,
                    min_revision=2**64 - 1)
        self.expect(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_VALUE", self.client.delete_documents, BANK, ["a"],
                    filter='id = "a"')
        self.expect(grpc.StatusCode.INVALID_ARGUMENT, "MISSING_FIELD", self.client.delete_documents, BANK)

    def test_text_that_is_not_utf8_is_invalid_argument(self):
        def raw(method: str, message: bytes, streams: bool = False):
            path = f"/msa.v1.{method}"
            if streams:
                return list(self.client.channel.unary_stream(path)(message))
            return self.client.channel.unary_unary(path)(message)

        bank, wrong = text_field(1, BANK.encode()), b"caf\xe9 \xff"
        for method, message, streams in (
                ("QueryService/Generate", bank + text_field(2, wrong), True),
                ("QueryService/Retrieve", bank + text_field(2, wrong), False),
                ("QueryService/CountTokens", text_field(1, wrong), False),
                ("MemoryService/CreateBank", text_field(1, wrong), False),
                ("MemoryService/GetDocument", bank + text_field(2, wrong), False)):
            with self.assertRaises(grpc.RpcError) as caught:
                raw(method, message, streams)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT, method)
            self.assertIn("UTF-8", caught.exception.details())

    def test_document_that_is_not_utf8_is_refused_and_the_stream_goes_on(self):

        def document(sequence: int, text: bytes) -> bytes:
            return text_field(2, bytes([1 << 3, sequence]) + text_field(2, b"raw-%d" % sequence) + text_field(3, text))
        requests = [text_field(1, text_field(1, BANK.encode())), document(1, b"caf\xe9"), document(2, b"The code is 1.")]
        call = self.client.channel.stream_stream("/msa.v1.MemoryService/IngestDocuments")(iter(requests))
        responses = [memory_service_pb2.IngestDocumentsResponse.FromString(data) for data in call]
        results = {r.result.sequence: r.result for r in responses if r.HasField("result")}
        self.expect_refused(grpc.StatusCode.INVALID_ARGUMENT, results[1])
        self.assertFalse(results[2].HasField("error"), results[2])

    def test_bytes_that_are_no_message_are_invalid_argument(self):
        for method in ("QueryService/Retrieve", "MemoryService/CreateBank", "AdminService/GetServerInfo"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.client.channel.unary_unary(f"/msa.v1.{method}")(b"\xff\xff\xff\xff")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT, method)

    def test_unknown_method_is_unimplemented(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.channel.unary_unary("/msa.v1.QueryService/Guess")(b"")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_cancelled_and_late_questions_free_their_place(self):
        for _ in range(20):
            call = self.client._query.Generate(query_service_pb2.GenerateRequest(bank=BANK, question=QUESTION))
            next(iter(call))
            call.cancel()
        for _ in range(5):
            with self.assertRaises(grpc.RpcError) as caught:
                list(self.client._query.Generate(query_service_pb2.GenerateRequest(bank=BANK, question=QUESTION),
                                                 timeout=0.001))
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        give_up = time.monotonic() + 30
        while self.client.server_info().memory.kv_page_bytes > 0 and time.monotonic() < give_up:
            time.sleep(0.05)
        self.assertEqual(self.client.server_info().memory.kv_page_bytes, 0)
        self.assertEqual(self.client.answer(BANK, QUESTION).answer, "319938")


if __name__ == "__main__":
    unittest.main()
