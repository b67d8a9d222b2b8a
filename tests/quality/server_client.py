"""What the quality test asks of a server."""
import concurrent.futures
from collections.abc import Iterable, Iterator

import grpc

import msa_stubs
from query_record import QueryRecord, RoundRecord

bank_pb2, document_pb2, memory_pb2, memory_grpc, query_pb2, query_grpc = msa_stubs.load(
    "bank_pb2", "document_pb2", "memory_service_pb2", "memory_service_pb2_grpc",
    "query_service_pb2", "query_service_pb2_grpc")

# The evaluator's bounds.
MAX_ROUNDS = 4
MAX_TOKENS = 40
QUERY_SECONDS = 600


class ServerClient:
    """One bank of one server. gRPC errors pass through as grpc.RpcError."""

    def __init__(self, address: str, bank: str):
        self._channel = grpc.insecure_channel(address)
        self._memory = memory_grpc.MemoryServiceStub(self._channel)
        self._query = query_grpc.QueryServiceStub(self._channel)
        self._bank = bank

    def close(self) -> None:
        self._channel.close()

    def create_bank(self) -> None:
        self._memory.CreateBank(memory_pb2.CreateBankRequest(bank=self._bank))

    def ingest(self, documents: Iterable[tuple[int, str]]) -> int:
        """Documents (number, text) in the order of their numbers, on one stream -> how many. The
        server gives the numbers itself: a document that is refused or gets another number is a
        RuntimeError."""
        expected: dict[int, int] = {}

        def requests() -> Iterator:
            yield memory_pb2.IngestDocumentsRequest(start=memory_pb2.IngestStart(
                bank=self._bank, mode=document_pb2.INGEST_MODE_INSERT,
                acknowledge_at=document_pb2.ACKNOWLEDGE_AT_ACTIVE))
            for sequence, (number, text) in enumerate(documents, start=1):
                expected[sequence] = number
                yield memory_pb2.IngestDocumentsRequest(document=memory_pb2.IngestDocument(
                    sequence=sequence, document_id=f"doc-{number}", text=text))

        num_results = 0
        for response in self._memory.IngestDocuments(requests()):
            if response.HasField("result"):
                result = response.result
                if result.HasField("error"):
                    raise RuntimeError(f"{result.document_id}: {result.error.message}")
                if result.number != expected[result.sequence]:
                    raise RuntimeError(f"{result.document_id} got the number {result.number}, not "
                                       f"{expected[result.sequence]}")
                num_results += 1
        if num_results != len(expected):
            raise RuntimeError(f"{num_results} results for {len(expected)} documents")
        return num_results

    def ask(self, paired: QueryRecord, constrained: bool) -> QueryRecord:
        """The server's outcome of the question of an evaluator's record."""
        request = query_pb2.GenerateRequest(
            bank=self._bank, question=paired.question, constrain_citations=constrained,
            explain_layers=True, limits=query_pb2.GenerationLimits(
                max_rounds=MAX_ROUNDS, max_retrieval_tokens=MAX_TOKENS,
                max_answer_tokens=MAX_TOKENS))
        rounds: list[RoundRecord] = []
        answer = ""
        for event in self._query.Generate(request, timeout=QUERY_SECONDS):
            kind = event.WhichOneof("event")
            if kind == "round":
                rounds.append(RoundRecord(
                    {layer.layer: list(layer.numbers) for layer in event.round.layers}, "", []))
            elif kind == "token" and event.token.phase == query_pb2.GENERATION_PHASE_RETRIEVAL:
                rounds[event.token.round].written += event.token.text
            elif kind == "citations":
                rounds[event.citations.round].cited = [
                    c.number for c in event.citations.documents]
            elif kind == "finished":
                answer = event.finished.answer
        return QueryRecord(paired.question, paired.hops, paired.sources, paired.expected, rounds,
                           answer.strip())

    def ask_all(self, records: list[QueryRecord], constrained: bool,
                concurrency: int) -> list[QueryRecord]:
        """In the order of `records`, `concurrency` of them at a time."""
        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            return list(pool.map(lambda record: self.ask(record, constrained), records))
