"""The client; see the package for an example."""
from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from typing import Callable, Iterable, Iterator

import grpc
from google.protobuf import wrappers_pb2
from msa.v1 import (admin_service_pb2, admin_service_pb2_grpc, bank_pb2, document_pb2, limits_pb2, memory_service_pb2,
                    memory_service_pb2_grpc, query_service_pb2, query_service_pb2_grpc)
from msa_client.server_error import ServerError

MAX_ATTEMPTS = 5
LONGEST_RETRY_SECONDS = 10.0
SERVING = 1  # of grpc.health.v1.HealthCheckResponse

ROUTER_KEY_SCANS = {"": bank_pb2.ROUTER_KEY_SCAN_UNSPECIFIED, "exact": bank_pb2.ROUTER_KEY_SCAN_EXACT,
                    "int8": bank_pb2.ROUTER_KEY_SCAN_INT8}


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


INGEST_MODES = {"insert": document_pb2.INGEST_MODE_INSERT, "upsert": document_pb2.INGEST_MODE_UPSERT,
                "update-only": document_pb2.INGEST_MODE_UPDATE_ONLY}


def _metadata(values: dict[str, str | float | bool]) -> dict[str, document_pb2.MetadataValue]:
    return {key: _metadata_value(value) for key, value in values.items()}


def _refuse_strings(**lists: Iterable[str] | None) -> None:
    """A string where a list belongs would count as the list of its letters."""
    for name, values in lists.items():
        if isinstance(values, (str, bytes)):
            raise TypeError(f"{name} is the string {values!r}; give a list of strings")


def _scan(name: str) -> int:
    if name not in ROUTER_KEY_SCANS:
        raise ValueError(f"router_key_scan is {name!r}; allowed: exact, int8")
    return ROUTER_KEY_SCANS[name]


def _acknowledge_at(wait_until_active: bool) -> int:
    return document_pb2.ACKNOWLEDGE_AT_ACTIVE if wait_until_active else document_pb2.ACKNOWLEDGE_AT_ACCEPTED


class Client:
    """One connection. Every call blocks and raises ServerError when it fails. Calls that the server refuses with a time to wait
    are made again after it, a few times. Threads may share a client.

    timeout: seconds for each call and for a whole answer or ingest; None: no limit. Long jobs and exports have none.
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

    def _job(self, method: Callable, request, on_event: Callable | None):
        """The result of a long job; its other events, progress above all, go to on_event."""
        result = None
        try:
            for event in method(request):
                if event.HasField("result"):
                    result = event.result
                elif on_event is not None:
                    on_event(event)
        except grpc.RpcError as error:
            raise ServerError.from_rpc(error) from None
        return result

    # ---- banks
    def create_bank(self, bank: str, token_budget: int = 0, display_name: str = "",
                    default_limits: limits_pb2.GenerationLimits | None = None, router_key_scan: str = "") -> bank_pb2.Bank:
        """router_key_scan: "exact" (the default) or "int8" (less time for half as much memory again, the same documents)."""
        settings = bank_pb2.BankSettings(token_budget=token_budget, display_name=display_name,
                                         default_limits=default_limits, router_key_scan=_scan(router_key_scan))
        request = memory_service_pb2.CreateBankRequest(bank=bank, settings=settings)
        return self._call(self._memory.CreateBank, request).bank

    def get_bank(self, bank: str) -> bank_pb2.Bank:
        return self._call(self._memory.GetBank, memory_service_pb2.GetBankRequest(bank=bank)).bank

    def list_banks(self) -> list[bank_pb2.Bank]:
        return list(self._call(self._memory.ListBanks, memory_service_pb2.ListBanksRequest()).banks)

    def update_bank(self, bank: str, **settings) -> bank_pb2.Bank:
        """Changes what is given: display_name, token_budget, default_limits (a GenerationLimits, or a dict of its fields),
        router_key_scan ("exact" or "int8", from the next time the bank is opened)."""
        if "router_key_scan" in settings:
            settings["router_key_scan"] = _scan(settings["router_key_scan"])
        request = memory_service_pb2.UpdateBankRequest(bank=bank, settings=bank_pb2.BankSettings(**settings))
        request.update_mask.paths.extend(settings)
        return self._call(self._memory.UpdateBank, request).bank

    def delete_bank(self, bank: str, force: bool = False) -> None:
        self._call(self._memory.DeleteBank, memory_service_pb2.DeleteBankRequest(bank=bank, force=force))

    def bank_stats(self, bank: str) -> bank_pb2.BankStats:
        return self._call(self._memory.GetBankStats, memory_service_pb2.GetBankStatsRequest(bank=bank)).stats

    # ---- documents
    def ingest(self, bank: str, documents: Iterable[Document], upsert: bool = False, wait_until_active: bool = True,
               mode: str = "", session: str = "") -> Iterator[memory_service_pb2.IngestResult]:
        """One result per document, as they come; `error` is set in those of refused ones. The documents are read as fast as
        the server takes them. Nothing is sent before the first result is asked for.

        mode: "insert" (the default), "upsert" (also by upsert=True) or "update-only". session: a name, at most 128 bytes; a
        later ingest of the same documents with it passes over those that have had their result, until the server restarts.

        An exception of `documents` is raised here when the documents before it have had their results."""
        mode = mode or ("upsert" if upsert else "insert")
        if mode not in INGEST_MODES:
            raise ValueError(f"mode is {mode!r}; allowed: {', '.join(INGEST_MODES)}")
        start = memory_service_pb2.IngestStart(bank=bank, mode=INGEST_MODES[mode],
                                               acknowledge_at=_acknowledge_at(wait_until_active), session_id=session)
        resume_after: queue.SimpleQueue[int] = queue.SimpleQueue()  # once the server has said that it started
        failures: list[Exception] = []  # of `documents`, on the thread that sends

        def requests():
            yield memory_service_pb2.IngestDocumentsRequest(start=start)
            done = resume_after.get() if session else 0
            try:
                for sequence, document in enumerate(documents, 1):
                    if sequence > done:
                        yield memory_service_pb2.IngestDocumentsRequest(document=memory_service_pb2.IngestDocument(
                            sequence=sequence, document_id=document.id, text=document.text,
                            metadata=_metadata(document.metadata)))
            except Exception as failure:
                failures.append(failure)
        try:
            for response in self._memory.IngestDocuments(requests(), timeout=self.timeout):
                if response.HasField("started"):
                    resume_after.put(response.started.resume_after)
                elif response.HasField("result"):
                    yield response.result
        except grpc.RpcError as error:
            raise ServerError.from_rpc(error) from None
        finally:
            resume_after.put(0)  # frees the thread that sends, where the server never started
        if failures:
            raise failures[0]

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

    def export_documents(self, bank: str, filter: str = "") -> Iterator[document_pb2.Document]:
        """All that match with their texts, by id, as one stream."""
        request = memory_service_pb2.ExportDocumentsRequest(bank=bank, filter=filter)
        try:
            for response in self._memory.ExportDocuments(request):
                yield from response.documents
        except grpc.RpcError as error:
            raise ServerError.from_rpc(error) from None

    def update_document(self, bank: str, document_id: str, text: str | None = None,
                        metadata: dict[str, str | float | bool] | None = None,
                        wait_until_active: bool = True) -> document_pb2.Document:
        """Changes what is given. metadata: all of it, what is not in it goes."""
        request = memory_service_pb2.UpdateDocumentRequest(
            bank=bank, document_id=document_id, text=text or "", metadata=_metadata(metadata or {}),
            acknowledge_at=_acknowledge_at(wait_until_active))
        request.update_mask.paths.extend(
            name for name, value in (("text", text), ("metadata", metadata)) if value is not None)
        return self._call(self._memory.UpdateDocument, request).document

    def delete_documents(self, bank: str, document_ids: Iterable[str] = (),
                         filter: str = "") -> memory_service_pb2.DeleteDocumentsResponse:
        """Those with these ids, or all that match."""
        _refuse_strings(document_ids=document_ids)
        request = memory_service_pb2.DeleteDocumentsRequest(bank=bank, document_ids=document_ids, filter=filter)
        return self._call(self._memory.DeleteDocuments, request)

    # ---- long jobs: on_event gets their progress (`event.progress`), a few times a second
    def compact_bank(self, bank: str, on_event: Callable | None = None) -> admin_service_pb2.CompactResult:
        """Drops what was deleted from memory and disk, and waits for it."""
        return self._job(self._admin.CompactBank, admin_service_pb2.CompactBankRequest(bank=bank), on_event)

    def verify_bank(self, bank: str, on_event: Callable | None = None) -> admin_service_pb2.VerifyResult:
        """Reads and checks all that is stored. What is damaged comes as `event.damage`, its count in the result."""
        return self._job(self._admin.VerifyBank, admin_service_pb2.VerifyBankRequest(bank=bank), on_event)

    def backup_bank(self, bank: str, backup: str, on_event: Callable | None = None) -> admin_service_pb2.Backup:
        request = admin_service_pb2.BackupBankRequest(bank=bank, backup=backup)
        return self._job(self._admin.BackupBank, request, on_event)

    def restore_bank(self, backup: str, bank: str = "", on_event: Callable | None = None) -> bank_pb2.Bank:
        """Makes `bank` from a backup; without a name, the one that was backed up."""
        request = admin_service_pb2.RestoreBankRequest(backup=backup, bank=bank)
        return self._job(self._admin.RestoreBank, request, on_event)

    def reencode_bank(self, bank: str, on_event: Callable | None = None) -> bank_pb2.Bank:
        """Encodes a bank again from its texts, for the model and dtype that the server runs."""
        return self._job(self._admin.ReencodeBank, admin_service_pb2.ReencodeBankRequest(bank=bank), on_event)

    def list_backups(self) -> list[admin_service_pb2.Backup]:
        return list(self._call(self._admin.ListBackups, admin_service_pb2.ListBackupsRequest()).backups)

    def delete_backup(self, backup: str) -> None:
        self._call(self._admin.DeleteBackup, admin_service_pb2.DeleteBackupRequest(backup=backup))

    # ---- queries
    def ask(self, bank: str, question: str, **options) -> Iterator[query_service_pb2.GenerateResponse]:
        """The events of an answer as they come. options: fields of GenerateRequest."""
        _refuse_strings(document_ids=options.get("document_ids"), stop=options.get("stop"))
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
        _refuse_strings(document_ids=options.get("document_ids"))
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
