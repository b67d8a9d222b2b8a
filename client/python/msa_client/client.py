"""The client; see the package for an example."""
from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Iterable, Iterator

import grpc
from google.protobuf import wrappers_pb2
from msa.v1 import (admin_service_pb2, admin_service_pb2_grpc, bank_pb2, document_pb2, memory_service_pb2,
                    memory_service_pb2_grpc, query_service_pb2, query_service_pb2_grpc)
from msa_client.server_error import ServerError

MAX_ATTEMPTS = 5
LONGEST_RETRY_SECONDS = 10.0
SERVING = 1  # of grpc.health.v1.HealthCheckResponse


@dataclass
class Document:
    """Metadata values are strings, numbers or booleans."""
    id: str
    text: str
    metadata: dict[str, str | float | bool] = field(default_factory=dict)


def _metadata_value(value: str | float | bool) -> document_pb2.MetadataValue:
    if isinstance(value, bool):
        return document_pb2.MetadataValue(bool_value=value)
    if isinstance(value, (int, float)):
        return document_pb2.MetadataValue(number_value=value)
    return document_pb2.MetadataValue(string_value=value)


class Client:
    """One connection. Every call blocks and raises ServerError when it fails. Calls that the server refuses with a time to wait
    are made again after it, a few times. Threads may share a client.

    timeout: seconds for each call and for a whole answer or ingest; None: no limit.
    """

    def __init__(self, server: str, timeout: float | None = None):
        self.timeout = timeout
        self.channel = grpc.insecure_channel(server, options=[("grpc.max_receive_message_length", -1)])
        self._memory = memory_service_pb2_grpc.MemoryServiceStub(self.channel)
        self._query = query_service_pb2_grpc.QueryServiceStub(self.channel)
        self._admin = admin_service_pb2_grpc.AdminServiceStub(self.channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()

    def _call(self, method: Callable, request):
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return method(request, timeout=self.timeout)
            except grpc.RpcError as rpc_error:
                error = ServerError.from_rpc(rpc_error)
            if error.retry_delay is None or error.retry_delay > LONGEST_RETRY_SECONDS or attempt == MAX_ATTEMPTS:
                raise error
            time.sleep(error.retry_delay)

    # ---- banks
    def create_bank(self, bank: str, token_budget: int = 0, display_name: str = "") -> bank_pb2.Bank:
        settings = bank_pb2.BankSettings(token_budget=token_budget, display_name=display_name)
        request = memory_service_pb2.CreateBankRequest(bank=bank, settings=settings)
        return self._call(self._memory.CreateBank, request).bank

    def get_bank(self, bank: str) -> bank_pb2.Bank:
        return self._call(self._memory.GetBank, memory_service_pb2.GetBankRequest(bank=bank)).bank

    def list_banks(self) -> list[bank_pb2.Bank]:
        return list(self._call(self._memory.ListBanks, memory_service_pb2.ListBanksRequest()).banks)

    def delete_bank(self, bank: str, force: bool = False) -> None:
        self._call(self._memory.DeleteBank, memory_service_pb2.DeleteBankRequest(bank=bank, force=force))

    def bank_stats(self, bank: str) -> bank_pb2.BankStats:
        return self._call(self._memory.GetBankStats, memory_service_pb2.GetBankStatsRequest(bank=bank)).stats

    # ---- documents
    def ingest(self, bank: str, documents: Iterable[Document], upsert: bool = False,
               wait_until_active: bool = True) -> Iterator[memory_service_pb2.IngestResult]:
        """One result per document, as they come; `error` is set in those of refused ones. The documents are read as fast as
        the server takes them. Nothing is sent before the first result is asked for."""
        def requests():
            yield memory_service_pb2.IngestDocumentsRequest(start=memory_service_pb2.IngestStart(
                bank=bank,
                mode=document_pb2.INGEST_MODE_UPSERT if upsert else document_pb2.INGEST_MODE_INSERT,
                acknowledge_at=(document_pb2.ACKNOWLEDGE_AT_ACTIVE if wait_until_active
                                else document_pb2.ACKNOWLEDGE_AT_ACCEPTED)))
            for sequence, document in enumerate(documents, 1):
                metadata = {key: _metadata_value(value) for key, value in document.metadata.items()}
                yield memory_service_pb2.IngestDocumentsRequest(document=memory_service_pb2.IngestDocument(
                    sequence=sequence, document_id=document.id, text=document.text, metadata=metadata))
        try:
            for response in self._memory.IngestDocuments(requests(), timeout=self.timeout):
                if response.HasField("result"):
                    yield response.result
        except grpc.RpcError as error:
            raise ServerError.from_rpc(error) from None

    def get_document(self, bank: str, document_id: str, with_text: bool = True) -> document_pb2.Document:
        request = memory_service_pb2.GetDocumentRequest(bank=bank, document_id=document_id, with_text=with_text)
        return self._call(self._memory.GetDocument, request).document

    def list_documents(self, bank: str, with_text: bool = False, page_size: int = 0,
                       filter: str = "") -> Iterator[document_pb2.Document]:
        """All that match by id; pages are asked for as they are needed."""
        request = memory_service_pb2.ListDocumentsRequest(bank=bank, with_text=with_text, page_size=page_size,
                                                          filter=filter)
        while True:
            response = self._call(self._memory.ListDocuments, request)
            yield from response.documents
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def delete_documents(self, bank: str, document_ids: Iterable[str] = (),
                         filter: str = "") -> memory_service_pb2.DeleteDocumentsResponse:
        """Those with these ids, or all that match."""
        request = memory_service_pb2.DeleteDocumentsRequest(bank=bank, document_ids=document_ids, filter=filter)
        return self._call(self._memory.DeleteDocuments, request)

    def compact_bank(self, bank: str) -> admin_service_pb2.CompactBankResponse:
        """Drops what was deleted from memory and disk, and waits for it."""
        return self._call(self._admin.CompactBank, admin_service_pb2.CompactBankRequest(bank=bank))

    # ---- queries
    def ask(self, bank: str, question: str, **options) -> Iterator[query_service_pb2.GenerateResponse]:
        """The events of an answer as they come. options: fields of GenerateRequest."""
        request = query_service_pb2.GenerateRequest(bank=bank, question=question, **options)
        try:
            yield from self._query.Generate(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise ServerError.from_rpc(error) from None

    def answer(self, bank: str, question: str, **options) -> query_service_pb2.GenerateFinished:
        """Only the last event: the answer with its sources."""
        for event in self.ask(bank, question, **options):
            last = event
        return last.finished

    def retrieve(self, bank: str, question: str, **options) -> query_service_pb2.RetrieveResponse:
        """The documents that the model's layers select. options: fields of RetrieveRequest."""
        request = query_service_pb2.RetrieveRequest(bank=bank, question=question, **options)
        return self._call(self._query.Retrieve, request)

    def count_tokens(self, text: str) -> query_service_pb2.CountTokensResponse:
        return self._call(self._query.CountTokens, query_service_pb2.CountTokensRequest(text=text))

    # ---- the server
    def server_info(self) -> admin_service_pb2.GetServerInfoResponse:
        return self._call(self._admin.GetServerInfo, admin_service_pb2.GetServerInfoRequest())

    def is_serving(self, service: str = "") -> bool:
        """What grpc.health.v1.Health says of the server or of one of its services."""
        # HealthCheckRequest and HealthCheckResponse look like these wrappers on the wire.
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check",
                                         request_serializer=wrappers_pb2.StringValue.SerializeToString,
                                         response_deserializer=wrappers_pb2.Int32Value.FromString)
        return self._call(check, wrappers_pb2.StringValue(value=service)).value == SERVING
