"""What the quality test asks of a server, through the Python client."""
import concurrent.futures
from collections.abc import Iterable

import client_path  # noqa: F401  (makes the next imports possible)
from msa.v1.limits_pb2 import GenerationLimits
from msa.v1.query_service_pb2 import GENERATION_PHASE_RETRIEVAL
from msa_client import Client, Document
from query_record import QueryRecord, RoundRecord

BANK = "quality"
# The evaluator's bounds.
LIMITS = GenerationLimits(max_rounds=4, max_retrieval_tokens=40, max_answer_tokens=40)


def ingest(client: Client, documents: Iterable[tuple[int, str]]) -> int:
    """Documents (number, text) in the order of their numbers into a new bank -> how many. The
    server gives the numbers itself: a document that is refused or gets another number is a
    RuntimeError."""
    client.create_bank(BANK)
    numbers = {f"doc-{number}": number for number, _ in documents}
    num_results = 0
    for result in client.ingest(BANK, [Document(f"doc-{n}", text) for n, text in documents]):
        if result.HasField("error"):
            raise RuntimeError(f"{result.document_id}: {result.error.message}")
        if result.number != numbers[result.document_id]:
            raise RuntimeError(f"{result.document_id} got the number {result.number}")
        num_results += 1
    if num_results != len(numbers):
        raise RuntimeError(f"{num_results} results for {len(numbers)} documents")
    return num_results


def ask(client: Client, paired: QueryRecord, constrained: bool) -> QueryRecord:
    """The server's outcome of the question of an evaluator's record."""
    rounds: list[RoundRecord] = []
    answer = ""
    for event in client.ask(BANK, paired.question, constrain_citations=constrained,
                            explain_layers=True, limits=LIMITS):
        kind = event.WhichOneof("event")
        if kind == "round":
            rounds.append(RoundRecord(
                {layer.layer: list(layer.numbers) for layer in event.round.layers}, "", []))
        elif kind == "token" and event.token.phase == GENERATION_PHASE_RETRIEVAL:
            rounds[event.token.round].written += event.token.text
        elif kind == "citations":
            rounds[event.citations.round].cited = [c.number for c in event.citations.documents]
        elif kind == "finished":
            answer = event.finished.answer
    return QueryRecord(paired.question, paired.hops, paired.sources, paired.expected, rounds,
                       answer.strip())


def ask_all(client: Client, records: list[QueryRecord], constrained: bool,
            concurrency: int) -> list[QueryRecord]:
    """In the order of `records`, `concurrency` of them at a time."""
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(lambda record: ask(client, record, constrained), records))
