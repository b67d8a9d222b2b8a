#!/usr/bin/env python3
"""Compares a real server with the needle model's evaluator, question by question.

    models/needle $ python -m training.evaluate --documents 2000 --questions 1000 --seed 11 \\
                        --first-number 1 --records /tmp/constrained.jsonl       [--free]
    $ tests/quality/compare_with_evaluator.py --server build/release/bin/msa-server \\
          --documents 2000 --seed 11 --constrained /tmp/constrained.jsonl [--free /tmp/free.jsonl]

Starts msa-server, ingests the evaluator's documents in the order of their numbers, asks the
questions of the records and compares routing, citations and answers. Prints the first difference
of every question whose answers differ (--list all: of every question), then the figures of both
side by side. --report writes everything as JSON.

Exit status: 0 when no more answers differ than allowed (--compute-dtype bf16 or --bank-dtype bf16:
1% of them; f32: none but those with a near-tie before the difference), 1 when more do, 2 when the
comparison could not be made.
"""
import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "tests" / "e2e"),
                str(ROOT / "models" / "needle")]

import client_path  # noqa: F401  (makes msa_client importable)
from comparison import Comparison, compare, format_disagreement, format_summary
from msa_client import Client, ServerError
from query_record import read_evaluator_records
from server_client import ask_all, ingest
from server_program import ServerProgram
from training.haystack import make_documents

ALLOWED_SHARE_BF16 = 0.01


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, default=ROOT / "build/release/bin/msa-server")
    parser.add_argument("--model", type=Path, default=ROOT / "models/needle/checkpoint")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=11, help="the records' seed")
    parser.add_argument("--constrained", type=Path, help="the evaluator's records")
    parser.add_argument("--free", type=Path, help="its records with free citations")
    parser.add_argument("--questions", type=int, help="only the first so many")
    parser.add_argument("--concurrency", type=int, default=8, help="questions at a time")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--compute-dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--bank-dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--server-option", action="append", default=[], metavar="OPTION",
                        help="a further option of msa-server, e.g. --server-option=--threads=1")
    parser.add_argument("--list", choices=["answers", "all"], default="answers",
                        help="which disagreements to print")
    parser.add_argument("--report", type=Path, help="write figures and disagreements as JSON")
    arguments = parser.parse_args()
    if not arguments.constrained and not arguments.free:
        parser.error("give --constrained or --free, or both")
    return arguments


def is_acceptable(comparison: Comparison, is_f32: bool) -> bool:
    if is_f32:
        return comparison.num_unexplained_answers == 0
    return comparison.share_of_different_answers <= ALLOWED_SHARE_BF16


def print_comparison(title: str, comparison: Comparison, questions: list[str],
                     list_all: bool) -> None:
    print(f"\n== {title}")
    for found in comparison.disagreements:
        if list_all or found.answers_differ:
            print(format_disagreement(found, questions[found.index]))
    print(format_summary(comparison))
    print(f"{comparison.num_different_answers} of {comparison.num_questions} answers differ, "
          f"{comparison.num_unexplained_answers} of them without a near-tie")


def to_json(comparison: Comparison, questions: list[str]) -> dict:
    return {
        "questions": comparison.num_questions,
        "different_answers": comparison.num_different_answers,
        "unexplained_answers": comparison.num_unexplained_answers,
        "agreements": comparison.agreements,
        "figures": {
            who: {f"{hops}-hop {figure}": count for (hops, figure), count in sorted(counts.items())}
            for who, counts in comparison.figures.items()},
        "disagreements": [{"question": questions[d.index], **dataclasses.asdict(d)}
                          for d in comparison.disagreements]}


def run(arguments: argparse.Namespace) -> bool:
    """-> whether no more answers differ than allowed"""
    is_f32 = arguments.compute_dtype == arguments.bank_dtype == "f32"
    options = ["--shards", str(arguments.shards), "--compute-dtype", arguments.compute_dtype,
               "--bank-dtype", arguments.bank_dtype, *arguments.server_option]
    documents = [(d.number, d.text)
                 for d in make_documents(arguments.documents, arguments.seed, first_number=1)]
    report: dict = {"documents": arguments.documents, "seed": arguments.seed, "options": options}
    accepted = True
    with tempfile.TemporaryDirectory(prefix="msa_quality_") as folder, \
            ServerProgram(Path(folder), *options, model=arguments.model,
                          binary=arguments.server) as server, \
            Client(server.address) as client:
        start = time.monotonic()
        ingest(client, documents)
        seconds = time.monotonic() - start
        report["ingest_seconds"] = round(seconds, 2)
        print(f"{len(documents)} documents in {seconds:.1f} s, {len(documents) / seconds:.0f} a "
              f"second; {' '.join(options)}", flush=True)
        for mode, path in (("constrained", arguments.constrained), ("free", arguments.free)):
            if not path:
                continue
            records = read_evaluator_records(path, arguments.questions)
            questions = [record.question for record in records]
            start = time.monotonic()
            answers = ask_all(client, records, mode == "constrained", arguments.concurrency)
            seconds = time.monotonic() - start
            comparison = compare(records, answers)
            title = (f"{arguments.documents} documents, {mode} citations: {len(records)} questions "
                     f"in {seconds:.1f} s, {arguments.concurrency} at a time")
            print_comparison(title, comparison, questions, arguments.list == "all")
            accepted = is_acceptable(comparison, is_f32) and accepted
            report[mode] = {"seconds": round(seconds, 2), **to_json(comparison, questions)}
        report["server_peak_memory_bytes"] = server.peak_memory_bytes()
    report["accepted"] = accepted
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    print("\naccepted" if accepted else "\nmore answers differ than allowed")
    return accepted


def main() -> int:
    arguments = parse_arguments()
    try:
        return 0 if run(arguments) else 1
    except (OSError, RuntimeError, ValueError, ServerError) as error:
        print(f"compare_with_evaluator: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
