#!/usr/bin/python3
"""Grows one bank of needle documents to a hundred million tokens behind the real server, asks the same questions at every size, and
writes a table and a picture of what they find and how long they take:

    tests/bench/scale.py --data FOLDER [--tokens 16K,100K,1M,10M,100M] [--until 1M] [--out build/bench]

FOLDER keeps the server's data, the figures of the sizes that are done, and what was cited and answered (answers-TOKENS.jsonl). A
run that was broken off, also by a kill, goes on when it is started with the same options again. A hundred million tokens are 1.9
million documents, about 6 GB on disk, and hours of encoding on two cores. Writes OUT/scale.json, scale.txt and scale.svg after every
size; --report draws them again without a server. What is measured: docs/performance.md.
"""
import argparse
import json
import os
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent / "scale"), str(ROOT / "tests/e2e"), str(ROOT / "models/needle")]
from growing_bank import FIRST_TOKENS, GrowingBank, documents_for  # noqa: E402
from report import one_line, write_report  # noqa: E402

TOKENS = "16K,100K,1M,10M,100M"
UNITS = {"K": 10**3, "M": 10**6, "B": 10**9}
NEEDED = {"msa-server": "bin/msa-server", "msa_kernel_bench": "bin/msa_kernel_bench", "msa_python_stubs": "python/msa"}
SEED = 31  # not one of those that the model was trained, chosen or published with


def number_of_tokens(text: str) -> int:
    tokens = int(float(text[:-1]) * UNITS[text[-1]]) if text[-1:] in UNITS else int(text)
    if tokens < FIRST_TOKENS:
        raise argparse.ArgumentTypeError(f"{text}: the smallest bank has {FIRST_TOKENS} tokens")
    return tokens


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="keeps the bank and the figures")
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--tokens", type=lambda text: sorted({number_of_tokens(part) for part in text.split(",")}), default=TOKENS,
                        help=f"the sizes; default: {TOKENS}")
    parser.add_argument("--until", type=number_of_tokens, help="no larger sizes than this")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--questions", type=int, default=100, help="of one hop, and as many of two")
    parser.add_argument("--calls", type=int, default=100, help="of Retrieve alone, for its latency")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--note", default="", help="kept with the figures, e.g. what else the machine was doing")
    parser.add_argument("--server-option", action="append", default=[], metavar="OPTION",
                        help="a further option of msa-server, e.g. --server-option=--threads=1")
    parser.add_argument("--again", action="store_true", help="measure the size that the bank has now once more, though it is done")
    parser.add_argument("--report", action="store_true", help="only write table and picture of what was measured")
    return parser.parse_args()


class Figures:
    """What was measured, in a file that is replaced as a whole."""

    def __init__(self, path: Path, settings: dict):
        self.path = path
        self.all = {"settings": settings, "sizes": []}
        if path.exists():
            self.all = json.loads(path.read_text())
            if self.all["settings"] != settings:
                sys.exit(f"{path} was measured with {self.all['settings']}, not {settings}: give another --data")

    def has(self, tokens: int) -> bool:
        return any(size["tokens_wanted"] == tokens for size in self.all["sizes"])

    def add(self, size: dict) -> None:
        """In place of what was measured at this size before; but where this run had nothing to add, the figures that follow growing
        stay."""
        before = next((one for one in self.all["sizes"] if one["tokens_wanted"] == size["tokens_wanted"]), None)
        if before and not size["growth"]["documents"]:
            size |= {figure: before[figure] for figure in ("growth", "retrieve_before_restart")}
            size["memory"]["grown"] = before["memory"]["grown"]
        others = [one for one in self.all["sizes"] if one is not before]
        self.all["sizes"] = sorted([*others, size], key=lambda one: one["tokens_wanted"])
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(self.all, indent=1) + "\n")
        temporary.rename(self.path)


def check_build() -> None:
    build = Path(os.environ.get("MSA_BUILD_DIR", ROOT / "build/release"))
    missing = [target for target, path in NEEDED.items() if not (build / path).exists()]
    if missing:
        sys.exit(f"not built yet: cmake --build {build} --target {' '.join(missing)}")


def run(arguments: argparse.Namespace, figures: Figures) -> None:
    check_build()
    from measurement import ScaleServer, measure  # only here: needs gRPC and the generated modules
    from growth import BANK, check, grow
    bank = GrowingBank(arguments.seed)
    questions = bank.questions(arguments.questions)
    server = ScaleServer(arguments.data, "--shards", str(arguments.shards), "--scrub-interval", "0", *arguments.server_option)
    with server:
        for tokens in arguments.tokens:
            last = documents_for(tokens)
            with server.client() as client:
                present = client.bank_stats(BANK).documents if BANK in [b.name for b in client.list_banks()] else 0
            if figures.has(tokens) and not (arguments.again and present == last):
                continue
            if present > last:
                print(f"{tokens:,} tokens: the bank is larger already, left out", file=sys.stderr)
                continue
            print(f"{tokens:,} tokens: {last:,} documents", file=sys.stderr, flush=True)
            grown = grow(server, arguments.seed, last)
            stats = check(server, bank, last)
            size = {"tokens_wanted": tokens, "documents": stats.documents, "tokens": stats.tokens, "chunks": stats.chunks,
                    "growth": grown, "load_average_before": os.getloadavg(), "note": arguments.note,
                    "time": datetime.now(timezone.utc).isoformat(timespec="seconds")}
            begun = time.monotonic()
            measured, outcomes = measure(server, stats, questions, arguments.calls)
            size |= measured
            size |= {"measured_seconds": round(time.monotonic() - begun, 1), "load_average_after": os.getloadavg()}
            (arguments.data / f"answers-{tokens}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in outcomes))
            figures.add(size)
            write_report(figures.all, arguments.out)
            print(f"  {one_line(size)}", file=sys.stderr, flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server well
    arguments = parse_arguments()
    if arguments.until:
        arguments.tokens = [tokens for tokens in arguments.tokens if tokens <= arguments.until]
    arguments.data = arguments.data.absolute()
    for folder in (arguments.data, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    settings = {"seed": arguments.seed, "questions_per_kind": arguments.questions, "calls": arguments.calls,
                "shards": arguments.shards, "server_options": arguments.server_option}
    figures = Figures(arguments.data / "scale.json", settings)
    if not arguments.report:
        run(arguments, figures)
    print(write_report(figures.all, arguments.out))
    print(f"results: {arguments.out / 'scale.json'}, scale.txt, scale.svg")


if __name__ == "__main__":
    main()
