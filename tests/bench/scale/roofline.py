"""The least time that this machine needs for a Retrieve's scoring: its keys read once, its products computed."""
import json
import subprocess
import tempfile
from pathlib import Path

BUFFER_MIB = 512        # no cache holds it
UNROUTED_TOKENS = 3     # of the first round's prompt: the template's end, "<|im_end|>\n<|im_start|>"
BYTES_PER_NUMBER = {"bf16": 2, "f32": 4}


def machine_limits(threads: int) -> dict:
    """Measured now, without timing any kernel."""
    from server_program import BUILD  # only here: needs gRPC
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "limits.json"
        subprocess.run([BUILD / "bin/msa_kernel_bench", "--threads", str(threads), "--buffer-mib", str(BUFFER_MIB),
                        "--only", "no kernel", "--json", out], check=True, stdout=subprocess.DEVNULL)
        limits = json.loads(out.read_text())
    return {key: limits[key] for key in ("instruction_set", "threads", "read_bytes_per_second", "f32_operations_per_second",
                                         "bf16_operations_per_second")}


def scored(chunks: int, msa_layers: int, kv_width: int, dtype: str, prompt_tokens: float) -> dict:
    """What one Retrieve goes over: `chunks` chunks with keys of `kv_width` numbers in each MSA layer."""
    return {"key_bytes": chunks * msa_layers * kv_width * BYTES_PER_NUMBER[dtype], "dtype": dtype,
            "routed_rows": round(prompt_tokens - UNROUTED_TOKENS, 2)}


def _least_milliseconds(roofline: dict, limits: dict) -> dict:
    numbers = roofline["key_bytes"] / BYTES_PER_NUMBER[roofline["dtype"]]
    read = 1e3 * roofline["key_bytes"] / limits["read_bytes_per_second"]
    computed = 2e3 * numbers * roofline["routed_rows"] / limits[f"{roofline['dtype']}_operations_per_second"]
    return {"read_ms": round(read, 4), "compute_ms": round(computed, 4), "roofline_ms": round(max(read, computed), 4)}


def add_rooflines(sizes: list[dict]) -> None:
    """Into every size, with the shares of it: by the highest limits that were measured at any of them, since other work on the
    machine only lowers them."""
    if not sizes:
        return
    best = {key: max(size["limits"][key] for size in sizes) for key in sizes[0]["limits"]}
    for size in sizes:
        least = _least_milliseconds(size["roofline"], best)
        size["roofline"] |= least
        for times in (size["retrieve"], size["retrieve_before_restart"]):
            times["share_of_roofline"] = round(least["roofline_ms"] / times["median_ms"], 4)
            times["scoring_share_of_roofline"] = round(least["roofline_ms"] / times["stage_median_ms"]["score"], 4)
            times["processor_share_of_roofline"] = round(least["roofline_ms"] * best["threads"] / times["processor_ms"], 4)
