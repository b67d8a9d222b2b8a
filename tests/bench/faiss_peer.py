#!/usr/bin/python3
"""score_chunks against FAISS: IndexFlatIP over the same keys, then the maximum over rows and chunks.

  tests/bench/faiss_peer.py build/release/bin/msa_kernel_bench [--chunks N] [--rows 1,16,48] [--threads N] [--seconds S]

Needs faiss-cpu and numpy from PyPI; for a million chunks 6 GiB of memory and 2 GiB in the temporary folder. FAISS keeps the bf16 keys as f32, without loss. Both must find the same documents with the
same scores. Per query row FAISS returns the best 16 x 3 chunks: a document of the best 16 is among them for the row that it is
best at, since at most 15 documents of 3 chunks are better there. The last line is JSON.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import faiss
import numpy

WIDTH = 1024
TOP_K = 16
CHUNKS_PER_DOCUMENT = 3
BLOCK = 1 << 14


def to_bf16(values):
    """Rounded to nearest, as 16 bits."""
    bits = values.view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def from_bf16(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def search(index, query):
    """The best documents of [T, WIDTH]: (number, score), best first, the lower number first among equals."""
    scores, chunks = index.search(query, TOP_K * CHUNKS_PER_DOCUMENT)
    best = {}
    for score, chunk in zip(scores.ravel(), chunks.ravel()):
        document = int(chunk) // CHUNKS_PER_DOCUMENT
        best[document] = max(best.get(document, -numpy.inf), float(score))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:TOP_K]


def same(ours, theirs):
    """Equal up to the order of scores that differ by less than f32 addition may."""
    tolerance = 1e-4 * max(1.0, abs(theirs[0][1]))
    lowest = theirs[-1][1]
    if any(abs(a[1] - b[1]) > tolerance for a, b in zip(ours, theirs)):
        return False
    sure = {number for number, score in theirs if score > lowest + tolerance}
    return len(ours) == len(theirs) and sure <= {number for number, _ in ours}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel_bench")
    parser.add_argument("--chunks", type=int, default=1 << 20)
    parser.add_argument("--rows", default="1,16,48")
    parser.add_argument("--threads", type=int, default=faiss.omp_get_max_threads())
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    if arguments.chunks < TOP_K * CHUNKS_PER_DOCUMENT:
        parser.error(f"--chunks {arguments.chunks}; allowed: {TOP_K * CHUNKS_PER_DOCUMENT} or more")
    num_chunks = arguments.chunks // CHUNKS_PER_DOCUMENT * CHUNKS_PER_DOCUMENT
    random = numpy.random.default_rng(1)
    faiss.omp_set_num_threads(arguments.threads)
    failed = False
    results = []
    with tempfile.TemporaryDirectory() as folder:
        keys_file = pathlib.Path(folder, "keys")
        index = faiss.IndexFlatIP(WIDTH)
        with keys_file.open("wb") as file:
            for first in range(0, num_chunks, BLOCK):
                rows = min(BLOCK, num_chunks - first)
                bits = to_bf16(random.standard_normal((rows, WIDTH), dtype=numpy.float32))
                bits.tofile(file)
                index.add(from_bf16(bits))
        for num_rows in map(int, arguments.rows.split(",")):
            query = from_bf16(to_bf16(random.standard_normal((num_rows, WIDTH), dtype=numpy.float32)))
            query_file = pathlib.Path(folder, "query")
            query.tofile(query_file)
            seconds, end = numpy.inf, time.monotonic() + arguments.seconds
            while seconds == numpy.inf or time.monotonic() < end:
                start = time.monotonic()
                theirs = search(index, query)
                seconds = min(seconds, time.monotonic() - start)
            output = subprocess.run(
                [arguments.kernel_bench, "--threads", str(arguments.threads), "--seconds", str(arguments.seconds),
                 "--keys", str(keys_file), "--query", str(query_file)],
                check=True, capture_output=True, text=True).stdout.splitlines()
            ours = [(int(pair.split(":")[0]), float(pair.split(":")[1])) for pair in output[-1].split()[1:]]
            line = output[-2]
            our_seconds = float(line.split(" ms")[0].split()[-1]) / 1e3
            equal = same(ours, theirs)
            failed |= not equal
            results.append({"rows": num_rows, "chunks": num_chunks, "seconds": our_seconds, "faiss_seconds": seconds,
                            "equal": equal})
            print(f"{line}  {seconds / our_seconds:.2f} x FAISS ({seconds * 1e3:.1f} ms), "
                  f"{'equal' if equal else 'DIFFERENT'} documents", flush=True)
    print(json.dumps(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
