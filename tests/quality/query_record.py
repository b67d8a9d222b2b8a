"""What became of one question: the form that the evaluator writes and the server's answers are
brought into."""
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class RoundRecord:
    selected: dict[int, list[int]]      # MSA layer -> document numbers, best first
    written: str                        # special tokens spelled out
    cited: list[int]                    # existing documents, ascending
    # The evaluator only: how close its decisions were. None: there was no other choice.
    selection_margin: dict[int, float | None] = field(default_factory=dict)
    margin: float | None = None


@dataclass
class QueryRecord:
    question: str
    hops: int
    sources: list[int]                  # document numbers in the order in which they must be read
    expected: str
    rounds: list[RoundRecord]
    answer: str
    answer_margin: float | None = None  # the evaluator only


def read_evaluator_records(path: Path, count: int | None = None) -> list[QueryRecord]:
    """The first `count` records of a file that `training.evaluate --records` wrote, perhaps
    compressed by gzip since."""
    opener = gzip.open if path.suffix == ".gz" else open
    records = []
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if len(records) == count:
                break
            row = json.loads(line)
            # Where the answer's phrase is missing the evaluator gives no answer, the server all
            # that was written.
            answer = row["answer"] if ":" in row["answer_written"] else row["answer_written"]
            records.append(QueryRecord(
                row["question"], row["hops"], row["sources"], row["expected"],
                [RoundRecord({int(layer): n for layer, n in r["selected"].items()}, r["written"],
                             r["cited"],
                             {int(layer): m for layer, m in r["selection_margin"].items()},
                             r["margin"]) for r in row["rounds"]],
                answer.strip(), row["answer_margin"]))
    return records
