#!/usr/bin/python3
"""Ingest through the real server beside the bare encoder, with documents of one chunk and of 20 chunks:

    ingest_bench.py [--model DIR] [--threads N] [--shards R] [--rounds N] [--scale N] [--json FILE]

Each round measures, for each length, msactl ingest into an empty bank of a server, until the last document is ACTIVE, and before and
after it the encoder alone (msa_encoder_bench: the same documents as tokens, nothing stored). The ratio of a length is the median of its
rounds' ratios, as other work on the machine spoils those of a round alike. A round counts only if all documents are ACTIVE and each of
those asked for is found. Printed beside it: the processor time of a document in both (the client's counts with the server's), and the
share of the ingest in which the server's ranks were at work. --scale multiplies the number of documents.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "models/needle")]
from server_program import BUILD, NEEDLE, ServerProgram, TemporaryFolder, msactl  # noqa: E402
from training.haystack import make_documents  # noqa: E402

ENCODER = BUILD / "bin/msa_encoder_bench"
LIMIT = 0.85
RATE = "documents_per_second"
LENGTHS = {"1 chunk": (2000, 1), "20 chunks": (80, 31)}  # documents, and sentences of facts in each
FOUND = 10  # documents asked for, fewer than the model selects
QUESTION = "Which code belongs to the gleaming pioneer?"


def write_documents(path: Path, count: int, facts: int) -> None:
    made = make_documents(count * facts, seed=7, first_number=1)
    with path.open("w") as file:
        for i in range(count):
            text = "\n".join(document.text for document in made[i * facts:(i + 1) * facts])
            file.write(json.dumps({"id": f"d{i}", "text": text}) + "\n")


def encode(path: Path, arguments, folder: Path) -> dict:
    out = folder / "encoder.json"
    subprocess.run([ENCODER, "--model", arguments.model, "--documents", path, "--threads", str(arguments.threads),
                    "--passes", "1", "--json", out], check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())


def check(server: ServerProgram, bank: str, count: int) -> None:
    with server.client() as client:
        stats = client.bank_stats(bank)
        if stats.documents != count:
            raise RuntimeError(f"{stats.documents} documents are ACTIVE, {count} were sent")
        ids = [f"d{i * count // FOUND}" for i in range(FOUND)]
        found = {hit.document_id for hit in client.retrieve(bank, QUESTION, document_ids=ids).hits}
        if found != set(ids):
            raise RuntimeError(f"{len(found)} of {len(ids)} documents were found")


def step_seconds(server: ServerProgram) -> float:
    """That the encoder has worked."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics") as page:
        return sum(float(line.split()[1]) for line in page.read().decode().splitlines()
                   if line.startswith("msa_step_seconds_sum"))


def processor_seconds(server: ServerProgram) -> float:
    """Of the server and of the clients that have ended."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = os.times()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") + children.children_user + children.children_system


def ingest(server: ServerProgram, bank: str, path: Path, count: int) -> dict:
    if msactl(server, "bank", "create", bank).returncode != 0:
        raise RuntimeError("the bank was not created")
    steps, processor = step_seconds(server), processor_seconds(server)
    begun = time.monotonic()
    done = msactl(server, "ingest", "-b", bank, str(path))
    seconds = time.monotonic() - begun
    steps, processor = step_seconds(server) - steps, processor_seconds(server) - processor
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    check(server, bank, count)
    return {RATE: count / seconds, "busy_share": steps / seconds,
            "processor_seconds_per_document": processor / count}


def measure(arguments, folder: Path) -> dict:
    paths = {}
    for index, (length, (count, facts)) in enumerate(LENGTHS.items()):
        count *= arguments.scale
        paths[length] = (folder / f"{index}.jsonl", count)
        write_documents(*paths[length], facts)
    rounds = {length: [] for length in LENGTHS}
    options = ["--threads", str(arguments.threads), "--shards", str(arguments.shards)]
    with ServerProgram(folder, *options, model=arguments.model) as server:
        for index in range(arguments.rounds):
            for number, (length, (path, count)) in enumerate(paths.items()):
                bare = [encode(path, arguments, folder)]
                served = ingest(server, f"r{index}-{number}", path, count)
                bare.append(encode(path, arguments, folder))
                ratio = served[RATE] / statistics.mean(each[RATE] for each in bare)
                rounds[length].append({"ratio": ratio, "bare": bare, "served": served})
                print(f"{length:10} {bare[0][RATE]:8.1f} and {bare[1][RATE]:8.1f} documents/s bare, "
                      f"{served[RATE]:8.1f} through the server: {ratio:.2f}", flush=True)
                with server.client() as client:
                    client.delete_bank(f"r{index}-{number}", force=True)
    return rounds


def summary(rounds: list[dict]) -> dict:
    bare = [each for one in rounds for each in one["bare"]]
    served = [each["served"] for each in rounds]
    processor = "processor_seconds_per_document"
    return {**max(bare, key=lambda each: each[RATE]), "ingest_documents_per_second": max(each[RATE] for each in served),
            "ratio": statistics.median(each["ratio"] for each in rounds), "limit": LIMIT,
            processor: statistics.median(each[processor] for each in bare),
            "ingest_processor_seconds_per_document": statistics.median(each[processor] for each in served),
            "busy_share": statistics.median(each["busy_share"] for each in served),
            "ratios": [each["ratio"] for each in rounds]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NEEDLE)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = TemporaryFolder()
    try:
        rounds = measure(arguments, folder.path)
    finally:
        folder.remove()
    results = {length: summary(rounds[length]) for length in LENGTHS}
    for length, line in results.items():
        print(f"{length:10} {line['tokens_per_document']:5.0f} tokens: bare {line[RATE]:7.1f} documents/s, "
              f"{line['tokens_per_second']:6.0f} tokens/s, {100 * line['share_of_multiply_add_rate']:3.0f}% of the multiply-add "
              f"rate; ingest {line['ingest_documents_per_second']:7.1f} documents/s, {line['ratio']:.2f} of it (at least {LIMIT})")
        print(f"{'':10} processor time of a document: bare {1e3 * line['processor_seconds_per_document']:.2f} ms, ingest "
              f"{1e3 * line['ingest_processor_seconds_per_document']:.2f} ms; ranks at work {100 * line['busy_share']:.0f}% of the time")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
