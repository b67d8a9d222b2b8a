"""Needle in a haystack, end to end, from an exported checkpoint: greedy, f32 arithmetic.

    python -m training.evaluate --documents 2000 --questions 200 --seed 5 [--free] [--hops 1|2]
    python -m training.evaluate --documents 2000 --questions 200 --seed 5 --records OUT.jsonl
    python -m training.evaluate --documents 2000 --questions 200 --seed 5 --write FOLDER

--write only writes the bank and the questions. --records writes one JSON object per question:
  {"question", "hops", "sources", "expected", "rounds", "answer", "answer_written", "answer_margin"}
with, per round, {"selected": {layer: document numbers, best first}, "selection_margin": {layer:
score of the last selected document minus the next one's}, "written", "cited", "margin"}. Margins
are in cosine for selections, in logits for tokens; null where there was no other choice.
"""
import argparse
import json
import math
import time
from collections import Counter
from pathlib import Path

import torch

from training import haystack
from training.haystack import Question
from training.interleave import Outcome, Reader
from training.model_config import CHECKPOINT


def make_record(question: Question, outcome: Outcome, reader: Reader) -> dict:
    """What --records writes for one question."""
    def finite(margin: float) -> float | None:
        return margin if math.isfinite(margin) else None

    return {
        "question": question.question, "hops": question.hops, "sources": list(question.sources),
        "expected": question.answer,
        "rounds": [{
            "selected": {str(layer): [reader.documents[d].number for d in selection.documents]
                         for layer, selection in r.selections.items()},
            "selection_margin": {str(layer): finite(selection.margin)
                                 for layer, selection in r.selections.items()},
            "written": r.written, "cited": r.cited, "margin": finite(r.margin),
        } for r in outcome.rounds],
        "answer": outcome.answer, "answer_written": outcome.answer_written,
        "answer_margin": finite(outcome.answer_margin)}


def count_right(record: dict) -> Counter:
    """Counts of (hops, figure) for one record. A round's figures count only where the rounds
    before it cited exactly the right document."""
    counts: Counter = Counter()
    name, rounds, sources = f"{record['hops']}-hop", record["rounds"], record["sources"]
    counts[name, "questions"] = 1
    for index, (source, this) in enumerate(zip(sources, rounds), start=1):
        found = [source in numbers for numbers in this["selected"].values()]
        cited = this["cited"] == [source]
        counts[name, f"round {index} reached"] = 1
        counts[name, f"round {index} recall@16 of all layers"] = all(found)
        counts[name, f"round {index} recall@16 mean over layers"] = sum(found) / len(found)
        counts[name, f"round {index} cited right"] = cited
        if not cited:
            break
    citations = [r["cited"] for r in rounds if r["cited"]]
    counts[name, "all citations right"] = citations == [[s] for s in sources]
    counts[name, "answers right"] = record["answer"] == record["expected"]
    return counts


def summarise(records: list[dict]) -> dict:
    """{"1-hop": {figure: share or count}, "2-hop": …}"""
    total: Counter = Counter()
    for record in records:
        total.update(count_right(record))
    summary: dict[str, dict] = {}
    for (name, figure), count in sorted(total.items()):
        is_count = figure == "questions" or figure.endswith("reached")
        base = f"{figure[:7]} reached" if figure.startswith("round") else "questions"
        summary.setdefault(name, {})[figure] = (
            count if is_count else round(count / total[name, base], 4))
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    haystack.add_arguments(parser)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--free", action="store_true",
                        help="citations are not limited to selected documents")
    parser.add_argument("--first-question", type=int, default=0, help="leave out those before it")
    parser.add_argument("--bf16-encoding", action="store_true",
                        help="encode the bank with bf16 products; for large banks")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the CPU; default: all cores")
    parser.add_argument("--records", type=Path, help="write one JSON object per question")
    parser.add_argument("--write", type=Path, help="only write the bank and the questions")
    arguments = parser.parse_args()
    documents, questions = haystack.from_arguments(arguments)
    if arguments.write:
        haystack.write_haystack(arguments.write, documents, questions)
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    start = time.monotonic()
    reader = Reader.load(arguments.checkpoint, documents, torch.device(arguments.device),
                         arguments.bf16_encoding)
    encoded = time.monotonic()
    records = []
    sink = arguments.records.open("w", encoding="utf-8") if arguments.records else None
    for question in questions[arguments.first_question:]:
        outcome = reader.answer(question.question, constrained=not arguments.free)
        records.append(make_record(question, outcome, reader))
        if sink:
            sink.write(json.dumps(records[-1], ensure_ascii=False) + "\n")
            sink.flush()
    if sink:
        sink.close()
    seconds = time.monotonic() - encoded
    print(json.dumps({
        "documents": len(documents), "chunks": len(reader.bank.document_of_chunk),
        "seed": arguments.seed, "first_number": arguments.first_number,
        "constrained": not arguments.free, "encode_seconds": round(encoded - start, 1),
        "seconds_per_question": round(seconds / max(1, len(records)), 3),
        **summarise(records)}, indent=1))


if __name__ == "__main__":
    main()
