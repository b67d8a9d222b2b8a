"""Brings documents of a growing bank into the server's, from wherever an earlier run was broken off."""
import multiprocessing
import os
import queue
import sys
import time
from collections.abc import Iterator

from growing_bank import GrowingBank
from server_program import ServerProgram  # first: makes msa_client importable
from msa_client import Client, Document

BANK = "scale"
PIECE = 256             # documents that the generator hands over at a time
WAITING_PIECES = 64
PROGRESS_SECONDS = 15.0
PARENT_SECONDS = 5.0    # the generator looks for it this often while it waits
GENERATOR_SECONDS = 120.0  # far more than the next piece takes
SETTLE_SECONDS = 600.0     # until all that was accepted is encoded


def _hand_over(piece: list | None, pieces) -> None:
    """Waits for room; ends this process when nobody is left to take the piece."""
    while True:
        try:
            return pieces.put(piece, timeout=PARENT_SECONDS)
        except queue.Full:
            if not multiprocessing.parent_process().is_alive():
                os._exit(1)


def _generate(seed: int, first: int, last: int, pieces) -> None:
    piece = []
    for document in GrowingBank(seed).documents(first, last):
        piece.append((document.number, document.text))
        if len(piece) == PIECE:
            _hand_over(piece, pieces)
            piece = []
    _hand_over(piece, pieces)
    _hand_over(None, pieces)


def generated(seed: int, first: int, last: int) -> Iterator[Document]:
    """Made by a process of its own, ahead of the server. RuntimeError when it dies."""
    context = multiprocessing.get_context("spawn")  # gRPC's threads do not survive a fork
    pieces = context.Queue(WAITING_PIECES)
    generator = context.Process(target=_generate, args=(seed, first, last, pieces), daemon=True)
    generator.start()
    try:
        while (piece := pieces.get(timeout=GENERATOR_SECONDS)) is not None:
            for number, text in piece:
                yield Document(f"doc-{number}", text)
    except queue.Empty:
        raise RuntimeError(f"no more documents after {GENERATOR_SECONDS:.0f} s; the generator's exit status is "
                           f"{generator.exitcode}") from None
    finally:
        generator.terminate()
        generator.join()


def wait_until_active(client: Client):
    """-> the bank's stats without anything left to encode."""
    give_up = time.monotonic() + SETTLE_SECONDS
    while (stats := client.bank_stats(BANK)).accepted_documents:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{stats.accepted_documents} documents still wait to be encoded")
        time.sleep(0.2)
    if stats.failed_documents:
        raise RuntimeError(f"the encoding of {stats.failed_documents} documents failed")
    return stats


def grow(server: ServerProgram, seed: int, last: int) -> dict:
    """Until the bank has the documents 1 to `last`. -> what this run added and its seconds; RuntimeError where a document is
    refused or gets another number than its own: one stream brings them in order, so the bank always holds the first so many."""
    with Client(server.address) as client:  # without a time limit
        if BANK not in [bank.name for bank in client.list_banks()]:
            client.create_bank(BANK)
        first = wait_until_active(client).documents + 1
        begun = shown = time.monotonic()
        done = tokens = 0
        if first <= last:
            for result in client.ingest(BANK, generated(seed, first, last)):
                if result.HasField("error"):
                    raise RuntimeError(f"{result.document_id}: {result.error.message}")
                if result.document_id != f"doc-{result.number}":
                    raise RuntimeError(f"{result.document_id} got the number {result.number}")
                done, tokens = done + 1, tokens + result.tokens
                if time.monotonic() > shown + PROGRESS_SECONDS:
                    shown = time.monotonic()
                    print(f"  {first - 1 + done:,} of {last:,} documents, {done / (shown - begun):.0f} per second",
                          file=sys.stderr, flush=True)
        seconds = time.monotonic() - begun
        wait_until_active(client)
    return {"documents": done, "tokens": tokens, "seconds": round(seconds, 2),
            "documents_per_second": round(done / seconds, 1) if done else None}


def check(server: ServerProgram, bank: GrowingBank, last: int, samples: int = 20):
    """-> the bank's stats, after making sure that it holds exactly the documents 1 to `last`: their number, and some texts."""
    with server.client() as client:
        stats = client.bank_stats(BANK)
        if (stats.documents, stats.accepted_documents, stats.failed_documents, stats.tombstones) != (last, 0, 0, 0):
            raise RuntimeError(f"the bank should have {last} documents and has {stats}")
        for number in sorted({1, last, *(1 + (last - 1) * i // samples for i in range(samples))}):
            read = client.get_document(BANK, f"doc-{number}")
            if (read.number, read.text) != (number, bank.document(number).text):
                raise RuntimeError(f"doc-{number} has another text than it was given: {read}")
    return stats
