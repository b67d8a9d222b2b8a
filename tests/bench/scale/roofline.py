"""The least time that this machine needs for a Retrieve's scoring: its keys read once, its products computed."""
import json
import subprocess
import tempfile
from pathlib import Path

from server_program import BUILD

KERNEL_BENCH = BUILD / "bin/msa_kernel_bench"
BUFFER_MIB = 512        # no cache holds it
UNROUTED_TOKENS = 3     # of the first round's prompt: the template's end, "<|im_end|>\n<|im_start|>"
BYTES_PER_NUMBER = {"bf16": 2, "f32": 4}


def machine_limits(threads: int) -> dict:
    """Measured now, without timing any kernel."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "limits.json"
        subprocess.run([KERNEL_BENCH, "--threads", str(threads), "--buffer-mib", str(BUFFER_MIB), "--only", "only the limits",
                        "--json", out], check=True, stdout=subprocess.DEVNULL)
        limits = json.loads(out.read_text())
    return {key: limits[key] for key in ("instruction_set", "threads", "read_bytes_per_second", "f32_operations_per_second",
                                         "bf16_operations_per_second")}


def best_limits(measured: list[dict]) -> dict:
    """Other work on the machine only lowers them: the highest of each."""
    return {key: max(limits[key] for limits in measured) for key in measured[0]}


def scoring(chunks: int, msa_layers: int, kv_width: int, dtype: str, prompt_tokens: float, limits: dict) -> dict:
    """For one Retrieve over `chunks` chunks of keys of `kv_width` numbers in each MSA layer."""
    numbers = chunks * msa_layers * kv_width
    rows = prompt_tokens - UNROUTED_TOKENS
    read = numbers * BYTES_PER_NUMBER[dtype] / limits["read_bytes_per_second"]
    computed = 2 * numbers * rows / limits[f"{dtype}_operations_per_second"]
    return {"key_bytes": numbers * BYTES_PER_NUMBER[dtype], "routed_rows": round(rows, 2), "read_ms": round(1e3 * read, 4),
            "compute_ms": round(1e3 * computed, 4), "roofline_ms": round(1e3 * max(read, computed), 4)}
