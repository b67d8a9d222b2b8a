"""Asks the questions: how long each call takes alone, and how many come out right."""
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from growth import BANK
from msa_client import Client
from process_figures import processor_seconds
from training.haystack import Question

WARM_UP = 5
STAGES = ("tokenize", "prefill", "score", "fetch", "decode")


def milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def summary(times: Iterable[float]) -> dict:
    """Of seconds, in milliseconds."""
    ordered = sorted(times)
    return {"calls": len(ordered), "median_ms": milliseconds(statistics.median(ordered)),
            "p99_ms": milliseconds(ordered[math.ceil(0.99 * len(ordered)) - 1]),
            "least_ms": milliseconds(ordered[0])}


def time_retrieve(client: Client, pid: int, questions: list[Question], calls: int) -> dict:
    """Retrieve, one call after the other; beside it the server's own stages, and the processor time that it took for each call, of
    all its threads together: other work on the machine lengthens that less."""
    times, stages, tokens = [], {stage: [] for stage in STAGES}, []
    for index in range(-WARM_UP, calls):
        if index == 0:
            processor_before = processor_seconds(pid)
        begun = time.monotonic()
        response = client.retrieve(BANK, questions[index % len(questions)].question)
        if index >= 0:
            times.append(time.monotonic() - begun)
            tokens.append(response.prompt_tokens)
            for stage, values in stages.items():
                values.append(getattr(response.timings, stage).ToTimedelta().total_seconds())
    processor = processor_seconds(pid) - processor_before
    return {**summary(times), "processor_ms": milliseconds(processor / calls), "prompt_tokens": round(statistics.mean(tokens), 2),
            "stage_median_ms": {stage: milliseconds(statistics.median(values)) for stage, values in stages.items()}}


def routed(client: Client, question: Question, num_layers: int) -> dict[str, bool]:
    """Whether the first source is among the documents of the first round: of some layer, of every layer."""
    hits = client.retrieve(BANK, question.question, explain_layers=True)
    if len(hits.layers) != num_layers:
        raise RuntimeError(f"{len(hits.layers)} layers selected documents, {num_layers} should")
    found = [question.sources[0] in layer.numbers for layer in hits.layers]
    if any(found) != any(hit.number == question.sources[0] for hit in hits.hits):
        raise RuntimeError(f"hits and layers differ: {question.question}")
    return {"routed": any(found), "routed_in_every_layer": all(found)}


@dataclass
class Outcome:
    """Of one question."""
    cited: list[list[int]]      # numbers, round by round
    answer: str
    counts: Counter
    seconds: float
    first_token_seconds: float  # as the server counts it


def answered(client: Client, question: Question) -> Outcome:
    """Later rounds count only where the earlier ones cited exactly the right document."""
    begun = time.monotonic()
    rounds: list[set[int]] = []
    cited: list[list[int]] = []
    finished = None
    for event in client.ask(BANK, question.question):
        kind = event.WhichOneof("event")
        if kind == "round":
            rounds.append({document.number for document in event.round.documents})
        elif kind == "citations":
            cited.append([document.number for document in event.citations.documents])
        elif kind == "finished":
            finished = event.finished
    seconds = time.monotonic() - begun
    counts = Counter()
    for index, source in enumerate(question.sources):
        counts[f"round {index + 1} reached"] = 1
        counts[f"round {index + 1} routed"] = index < len(rounds) and source in rounds[index]
        right = cited[index:index + 1] == [[source]]
        counts[f"round {index + 1} cited"] = right
        if not right:
            break
    counts["cited"] = cited == [[source] for source in question.sources]
    counts["answered"] = finished.answer.strip() == question.answer
    return Outcome(cited, finished.answer.strip(), counts, seconds,
                   finished.timings.time_to_first_token.ToTimedelta().total_seconds())


def ask_all(client: Client, questions: list[Question], num_layers: int) -> tuple[dict, list[dict]]:
    """-> {"1-hop": …, "2-hop": …}, shares of right outcomes and latencies of whole answers; and what became of each
    question."""
    counts: dict[int, Counter] = {1: Counter(), 2: Counter()}
    times: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    outcomes = []
    for question in questions:
        counts[question.hops].update(routed(client, question, num_layers))
        outcome = answered(client, question)
        counts[question.hops].update(outcome.counts)
        times[question.hops].append((outcome.seconds, outcome.first_token_seconds))
        outcomes.append({**asdict(question), "cited": outcome.cited, "answered": outcome.answer})
    return {f"{hops}-hop": _shares(counts[hops], times[hops]) for hops in (1, 2) if times[hops]}, outcomes


def _shares(counts: Counter, times: list[tuple[float, float]]) -> dict:
    shares: dict = {"questions": len(times)}
    for figure, count in sorted(counts.items()):
        if figure.endswith("reached"):
            shares[figure] = count
        else:
            base = counts[f"{figure[:7]} reached"] if figure.startswith("round ") else len(times)
            shares[figure] = round(count / base, 4) if base else None
    return {**shares, "answer": summary(seconds for seconds, _ in times),
            "first_token": summary(first for _, first in times)}
