#!/usr/bin/python3
"""Figures of a large bank behind the real server, with documents of the bundled model's language:

    large_bank.py FOLDER [--bytes 1GB] [--shards 2] [--seed 1]

FOLDER keeps the bank: a run that was broken off goes on. Prints one JSON object per figure, then a table. Ingesting takes most of the
time: about 400 documents a second on two cores; 1 GB are about 340,000 documents, a quarter of an hour.
"""
import argparse
import json
import random
import statistics
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "models/needle")]
from server_program import ServerProgram  # noqa: E402
from msa_client import Client, Document  # noqa: E402
from training.haystack import make_documents  # noqa: E402

BANK = "large"
BATCH = 20_000
QUERIES = 400
QUESTION = "Which code belongs to the gleaming pioneer?"


def bank_bytes(server: ServerProgram) -> int:
    return sum(path.stat().st_size for path in (server.data / "banks" / BANK).rglob("*") if path.is_file())


def documents(batch: int, seed: int):
    """Of one batch; every hundredth is marked, for a filter that keeps 1%."""
    for i, document in enumerate(make_documents(BATCH, seed * 1_000_003 + batch, first_number=1)):
        yield Document(f"b{batch}-{i}", document.text, {"batch": batch, "marked": i % 100 == 0})


def resident_bytes(server: ServerProgram) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def ingest(server: ServerProgram, target: int, seed: int) -> dict:
    with server.client() as client:
        if BANK not in [bank.name for bank in client.list_banks()]:
            client.create_bank(BANK)
        batch = client.bank_stats(BANK).documents // BATCH  # the last one may be there in part: no harm
        begun, before = time.monotonic(), client.bank_stats(BANK)
        while bank_bytes(server) < target:
            for result in client.ingest(BANK, documents(batch, seed)):
                if result.HasField("error"):
                    raise RuntimeError(result.error.message)
            batch += 1
            print(json.dumps({"documents": batch * BATCH, "bytes": bank_bytes(server),
                              "seconds": round(time.monotonic() - begun)}), file=sys.stderr)
        seconds, stats = time.monotonic() - begun, client.bank_stats(BANK)
    added = stats.documents - before.documents
    return {"figure": "ingest", "documents": stats.documents, "tokens": stats.tokens, "segments": stats.segments,
            "bytes": bank_bytes(server), "documents_per_second": round(added / seconds, 1) if added else None,
            "tokens_per_second": round((stats.tokens - before.tokens) / seconds) if added else None}


def restart(server: ServerProgram) -> dict:
    """After a kill, from the start of the process to the first answer."""
    server.kill()
    begun = time.monotonic()
    server.start()
    with server.client() as client:
        client.retrieve(BANK, QUESTION)
        seconds = time.monotonic() - begun
    segments = sum(path.stat().st_size for path in (server.data / "banks" / BANK / "segments").iterdir())
    return {"figure": "restart after a kill", "seconds": round(seconds, 2),
            "seconds_per_GB_of_segments": round(seconds / (segments / 1e9), 2), "resident_bytes": resident_bytes(server)}


def latencies(server: ServerProgram, **options) -> list[float]:
    with server.client() as client:
        client.retrieve(BANK, QUESTION, **options)
        times = []
        for _ in range(QUERIES):
            begun = time.monotonic()
            client.retrieve(BANK, QUESTION, **options)
            times.append(time.monotonic() - begun)
    return sorted(times)


def summary(name: str, times: list[float], **more) -> dict:
    return {"figure": name, "median_ms": round(1e3 * statistics.median(times), 2),
            "p99_ms": round(1e3 * times[int(0.99 * len(times))], 2), **more}


class Changes:
    """Ingests and deletes at full speed while it lives."""

    def __init__(self, server: ServerProgram, seed: int):
        self.server, self.stopping = server, threading.Event()
        self.ingested = self.deleted = 0
        self.random = random.Random(seed)
        self.threads = [threading.Thread(target=work) for work in (self.ingest, self.delete)]

    def ingest(self) -> None:
        def endless():
            number = 0
            while not self.stopping.is_set():
                for document in make_documents(1000, self.random.randrange(10**9), first_number=1):
                    if self.stopping.is_set():
                        return
                    number += 1
                    yield Document(f"live-{number}", document.text)
        with Client(self.server.address) as client:
            for _ in client.ingest(BANK, endless(), upsert=True):
                self.ingested += 1

    def delete(self) -> None:
        with Client(self.server.address) as client:
            while not self.stopping.is_set():
                ids = [f"live-{self.random.randrange(1, max(2, self.ingested))}" for _ in range(20)]
                self.deleted += client.delete_documents(BANK, ids).deleted

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def measure(server: ServerProgram, seed: int) -> list[dict]:
    idle = latencies(server)
    marked = latencies(server, filter="metadata.marked = true")
    begun = time.monotonic()
    with Changes(server, seed) as changes:
        busy = latencies(server)
        seconds = time.monotonic() - begun
    return [summary("Retrieve, idle", idle),
            summary("Retrieve, a filter that keeps 1%", marked,
                    ratio_to_no_filter=round(statistics.median(marked) / statistics.median(idle), 2)),
            summary("Retrieve, ingesting and deleting at full speed", busy,
                    ratio_to_idle=round(statistics.median(busy) / statistics.median(idle), 2),
                    ingested_per_second=round(changes.ingested / seconds, 1),
                    deleted_per_second=round(changes.deleted / seconds, 1)),
            {"figure": "resident afterwards", "resident_bytes": resident_bytes(server)}]


def number_of_bytes(text: str) -> int:
    units = {"GB": 10**9, "MB": 10**6}
    return int(float(text[:-2]) * units[text[-2:]]) if text[-2:] in units else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bytes", type=number_of_bytes, default="1GB")
    parser.add_argument("--shards", default="2")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    server = ServerProgram(arguments.folder, "--shards", arguments.shards, "--scrub-interval", "0").start()
    try:
        figures = [ingest(server, arguments.bytes, arguments.seed), restart(server), *measure(server, arguments.seed)]
    finally:
        server.stop()
    for figure in figures:
        print(json.dumps(figure))
    print()
    for figure in figures:
        print(f"{figure['figure']:<48}" + ", ".join(f"{key} {value}" for key, value in figure.items() if key != "figure"))


if __name__ == "__main__":
    main()
