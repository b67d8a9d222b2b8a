"""Everything that is measured of a bank at one size."""
import time

from growth import BANK
from process_figures import Scratch, bound, memory
from questioning import ask_all, time_retrieve
from roofline import machine_limits, scored
from server_program import ServerProgram
from training.haystack import Question

SERVING_SECONDS = 600.0


def bytes_on_disk(server: ServerProgram) -> int:
    return sum(path.stat().st_size for path in (server.data / "banks" / BANK).rglob("*") if path.is_file())


def start(server: ServerProgram, question: str) -> dict:
    """Seconds from the start of the process until health says SERVING, and until the first Retrieve has its answer."""
    begun = time.monotonic()
    server.start()
    with server.client() as client:
        while not client.is_serving():
            if time.monotonic() > begun + SERVING_SECONDS:
                raise RuntimeError("the server does not serve")
            time.sleep(0.005)
        serving = time.monotonic() - begun
        client.retrieve(BANK, question)
        answered = time.monotonic() - begun
    return {"serving_seconds": round(serving, 3), "first_retrieve_seconds": round(answered, 3),
            "memory": memory(server.process.pid)}


def restart(server: ServerProgram, question: str) -> dict:
    """After SIGTERM. The files are in the page cache, as far as it has room."""
    begun = time.monotonic()
    server.stop()
    return {"stop_seconds": round(time.monotonic() - begun, 3), **start(server, question)}


def restart_after_kill(server: ServerProgram, question: str) -> dict:
    server.kill()
    return start(server, question)


def measure(server: ServerProgram, stats, questions: list[Question], calls: int) -> tuple[dict, list[dict]]:
    """-> the figures, and what became of each question. `stats`: the bank's, checked. The server is restarted twice."""
    with server.client() as client:
        info = client.server_info()
        grown_memory = memory(server.process.pid)
        grown_retrieve = time_retrieve(client, server.process.pid, questions, calls)
    restarts = {"restart": restart(server, questions[0].question)}
    layers = len(info.model.msa_layers)
    with server.client() as client, Scratch(server.process.pid) as scratch:
        retrieve = time_retrieve(client, server.process.pid, questions, calls)
        quality, outcomes = ask_all(client, questions, layers)
    after_questions = memory(server.process.pid)
    limits = machine_limits(info.threads)
    restarts["restart_after_kill"] = restart_after_kill(server, questions[0].question)

    weights = info.memory.weights_bytes
    kv_width = info.model.kv_heads * info.model.head_dim
    return {
        "instruction_set": info.instruction_set, "compute_dtype": info.compute_dtype, "bank_dtype": info.bank_dtype,
        "bank": {"router_key_bytes": stats.router_key_bytes, "content_bytes": stats.content_bytes,
                 "text_bytes": stats.text_bytes, "index_bytes": stats.index_bytes, "segments": stats.segments,
                 "bytes_on_disk": bytes_on_disk(server)},
        "memory": {"weights_bytes": weights, "grown": grown_memory, "after_questions": after_questions,
                   "scratch": scratch.figures(),
                   "bound_bytes": bound(weights, stats.router_key_bytes + stats.content_bytes),
                   "bound_bytes_without_content": bound(weights, stats.router_key_bytes + stats.index_bytes)},
        "limits": limits, "retrieve": retrieve, "retrieve_before_restart": grown_retrieve,
        "roofline": scored(stats.chunks, layers, kv_width, info.bank_dtype, retrieve["prompt_tokens"]),
        "quality": quality, **restarts}, outcomes


class ScaleServer(ServerProgram):
    """Ends with this process, even if that is killed: the next run needs the folder."""

    def command(self) -> list[str]:
        return ["setpriv", "--pdeathsig", "TERM", *super().command()]
