#!/usr/bin/python3
"""The benchmark suite: builds what it needs, measures this machine's limits, checks every result, prints shares and ratios.

  tests/bench/run.py [--out DIR] [--model DIR] [--shards R] [--threads N] [--buffer-mib N] [--chunks N] [--python PYTHON]

Writes DIR/results.json (build/bench unless told) and what each part printed to DIR/*.txt. Parts: the kernels (with oneDNN where
Debian's libdnnl-dev is installed), score_chunks against FAISS, the engine on a random checkpoint of 0.6b's geometry (or --model)
against a plain torch forward, the time between an answer's tokens beside a long document and a long prompt, ingest through the server
against the bare encoder (with the bundled model). The peers of PyPI (faiss-cpu, numpy, torch) run under PYTHON; one that is not installed there is left
out and named. Takes about 16 minutes on two cores; other work on the machine spoils the figures.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build/release/bin"
HERE = ROOT / "tests/bench"


def run(command, text_file):
    """Prints and keeps the output; ends the suite if the command fails."""
    print("$", " ".join(map(str, command)), flush=True)
    lines = []
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    text_file.write_text("".join(lines))
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return lines


def has_modules(python, *names):
    command = [python, "-c", "import " + ", ".join(names)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def ratio(ours, theirs, key):
    return f"{ours[key]:9.1f} tokens/s, torch {theirs[key]:9.1f}: {ours[key] / theirs[key]:.2f} x"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--buffer-mib", type=int, default=2048)
    parser.add_argument("--chunks", type=int, default=1 << 20)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    python = arguments.python if os.sep not in arguments.python else os.path.abspath(arguments.python)
    out.mkdir(parents=True, exist_ok=True)
    targets = ["msa_kernel_bench", "msa_engine_bench", "msa_slices_bench", "msa_encoder_bench", "msa-server", "msactl",
               "msa_python_stubs"]
    if arguments.model is None:
        targets.append("msa-make-checkpoint")
    # Peers that were not found before are looked for again.
    run(["cmake", "--preset", "release", "-DMSA_BUILD_TESTS=ON", "-UMSA_ONEDNN_*"], out / "configure.txt")
    run(["cmake", "--build", ROOT / "build/release", "--target", *targets], out / "build.txt")
    threads = ["--threads", arguments.threads]
    left_out = []

    run([BIN / "msa_kernel_bench", *threads, "--buffer-mib", arguments.buffer_mib, "--json", out / "kernels.json"],
        out / "kernels.txt")
    results = {"kernels": json.loads((out / "kernels.json").read_text())}

    if has_modules(python, "faiss", "numpy"):
        command = [python, HERE / "faiss_peer.py", BIN / "msa_kernel_bench", *threads, "--chunks", arguments.chunks]
        results["faiss"] = json.loads(run(command, out / "faiss.txt")[-1])
    else:
        left_out.append("faiss_peer.py")

    model = arguments.model and arguments.model.absolute()
    if model is None:
        model = out / "0.6b"
        if not (model / "config.json").exists():
            run([BIN / "msa-make-checkpoint", "--geometry", "0.6b", "--seed", 1, "--out", model,
                 "--tokenizer", ROOT / "models/needle/checkpoint"], out / "checkpoint.txt")
    run([BIN / "msa_engine_bench", "--model", model, "--shards", arguments.shards, *threads, "--json", out / "engine.json"],
        out / "engine.txt")
    results["engine"] = json.loads((out / "engine.json").read_text())

    shards_and_threads = ["--shards", arguments.shards, *threads]
    run([BIN / "msa_slices_bench", "--model", model, *shards_and_threads, "--json", out / "slices.json"], out / "slices.txt")
    results["slices"] = json.loads((out / "slices.json").read_text())
    run([HERE / "ingest_bench.py", *shards_and_threads, "--json", out / "ingest.json"], out / "ingest.txt")
    results["ingest"] = json.loads((out / "ingest.json").read_text())

    if has_modules(python, "torch"):
        peers = []
        for dtype in ("bf16", "f32"):
            command = [python, HERE / "torch_peer.py", "--model", model, *threads, "--dtype", dtype,
                       "--prompt-tokens", results["engine"]["prompt_tokens"]]
            peers.append(json.loads(run(command, out / f"torch_{dtype}.txt")[-1]))
        keys = [key for key in peers[0] if key.endswith("tokens_per_second")]
        # The faster of the two dtypes, for each figure: some machines multiply bf16 slowly.
        results["torch"] = {key: max(peer[key] for peer in peers) for key in keys}
        for key in keys:
            print(f"{key:32} {ratio(results['engine'], results['torch'], key)}")
    else:
        left_out.append("torch_peer.py")

    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for name in left_out:
        print(f"left out: {name}, its modules are not installed for {python}")
    print(f"results: {out / 'results.json'}")


if __name__ == "__main__":
    main()
