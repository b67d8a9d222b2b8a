"""The client against a server that replays given outcomes.

Run: python3 -m unittest discover -s tests/quality -p '*_test.py'
"""
import concurrent.futures
import sys
import unittest
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent))

import server_client
from comparison import compare
from msa.v1 import (
    memory_service_pb2 as memory_pb2, memory_service_pb2_grpc as memory_grpc,
    query_service_pb2 as query_pb2, query_service_pb2_grpc as query_grpc)
from msa_client import Client, ServerError
from query_record import QueryRecord, RoundRecord

DOCUMENTS = [(number, f"text {number}") for number in range(1, 41)]


def make_record(index: int) -> QueryRecord:
    return QueryRecord(f"Question {index}?", 1, [index], f"answer {index}", [
        RoundRecord({2: [index, 50], 3: [index, 51]}, f"[{index}]<|object_ref_end|>", [index]),
        RoundRecord({2: [index, 50], 3: [index, 51]}, "<End-of-Retrieve>", [])], f"answer {index}")


class ReplayingServer(memory_grpc.MemoryServiceServicer, query_grpc.QueryServiceServicer):
    def __init__(self, records: list[QueryRecord], first_number: int = 1,
                 refused: str | None = None):
        self.records = {r.question: r for r in records}
        self.next_number = first_number
        self.refused = refused
        self.constrained: list[bool] = []

    def CreateBank(self, request, context):
        return memory_pb2.CreateBankResponse()

    def IngestDocuments(self, requests, context):
        assert next(requests).start.bank == server_client.BANK
        for request in requests:
            document = request.document
            result = memory_pb2.IngestResult(
                sequence=document.sequence, document_id=document.document_id)
            if document.document_id == self.refused:
                result.error.message = "no room"
            else:
                result.number = self.next_number
                self.next_number += 1
            yield memory_pb2.IngestDocumentsResponse(result=result)

    def Generate(self, request, context):
        self.constrained.append(request.constrain_citations)
        if request.question not in self.records:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unknown question")
        record = self.records[request.question]
        for index, this in enumerate(record.rounds):
            event = query_pb2.GenerateResponse()
            event.round.round = index
            for layer, numbers in this.selected.items():
                event.round.layers.add(layer=layer, numbers=numbers)
            yield event
            for character in this.written:
                yield query_pb2.GenerateResponse(token=query_pb2.GenerateToken(
                    phase=query_pb2.GENERATION_PHASE_RETRIEVAL, round=index, text=character))
            if this.cited:
                event = query_pb2.GenerateResponse()
                event.citations.round = index
                for number in this.cited:
                    event.citations.documents.add(number=number)
                yield event
        yield query_pb2.GenerateResponse(token=query_pb2.GenerateToken(
            phase=query_pb2.GENERATION_PHASE_ANSWER, round=len(record.rounds) - 1,
            text=record.answer))
        yield query_pb2.GenerateResponse(
            finished=query_pb2.GenerateFinished(answer=record.answer))


class ServerClientTest(unittest.TestCase):
    def start(self, servicer: ReplayingServer) -> Client:
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        memory_grpc.add_MemoryServiceServicer_to_server(servicer, server)
        query_grpc.add_QueryServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(server.stop, None)
        client = Client(f"127.0.0.1:{port}")
        self.addCleanup(client.close)
        return client

    def test_replayed_outcomes_compare_as_equal(self):
        records = [make_record(index) for index in range(1, 30)]
        servicer = ReplayingServer(records)
        client = self.start(servicer)
        self.assertEqual(server_client.ingest(client, DOCUMENTS), 40)
        answers = server_client.ask_all(client, records, constrained=False, concurrency=5)
        self.assertEqual(answers, records)
        comparison = compare(records, answers)
        self.assertEqual(comparison.disagreements, [])
        self.assertEqual(comparison.agreements["selections compared"], 29 * 4)
        self.assertEqual(servicer.constrained, [False] * 29)

    def test_document_with_another_number_is_an_error(self):
        client = self.start(ReplayingServer([], first_number=2))
        with self.assertRaisesRegex(RuntimeError, "doc-1 got the number 2"):
            server_client.ingest(client, DOCUMENTS)

    def test_refused_document_is_an_error(self):
        client = self.start(ReplayingServer([], refused="doc-7"))
        with self.assertRaisesRegex(RuntimeError, "doc-7: no room"):
            server_client.ingest(client, DOCUMENTS)

    def test_failed_call_is_an_error(self):
        client = self.start(ReplayingServer([]))
        with self.assertRaisesRegex(ServerError, "unknown question"):
            server_client.ask_all(client, [make_record(1)], constrained=True, concurrency=2)


if __name__ == "__main__":
    unittest.main()
