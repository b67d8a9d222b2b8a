"""Arrows point down: scans the includes of every folder. dependencies_test.py SOURCE_DIR"""
import pathlib
import re
import sys

# What a folder may include of the project, and which libraries belong to it alone.
ALLOWED = {
    "kernels/core": ["kernels/core"],
    "kernels/ops": ["kernels"],
    "engine/text": ["engine/text", "kernels/core"],
    "engine/model": ["engine/model", "kernels"],
    "engine/memory/files": ["engine/memory/files", "kernels/core"],
    "engine/memory/documents": ["engine/memory/documents", "engine/text/utf8.h", "kernels"],
    "engine/memory/catalog": ["engine/memory/catalog", "engine/memory/documents", "engine/memory/files",
                              "kernels"],
    "engine/memory/segments": ["engine/memory/segments", "engine/memory/documents", "engine/memory/files",
                               "kernels/core"],
    "engine/memory/shards": ["engine/memory/shards", "engine/memory/segments", "engine/memory/documents",
                             "kernels"],
    "engine/memory/backups": ["engine/memory/backups", "engine/memory/catalog", "engine/memory/segments",
                              "engine/memory/documents", "engine/memory/files",
                              "engine/memory/job_monitor.h", "kernels/core"],
    "engine/memory": ["engine/memory", "engine/text/utf8.h", "kernels"],
    "engine/parallel": ["engine/parallel", "kernels/core"],
    "engine/routing": ["engine/routing", "engine/model", "engine/memory", "engine/parallel", "kernels"],
    "engine/generation": ["engine/generation", "engine/text", "kernels"],
    "engine": ["engine", "kernels"],
    "server": ["server", "engine", "kernels", "msa", "google"],
    "client": ["client", "msa", "google"],
}
RESERVED = {
    r"grpc|grpcpp|prometheus": ("server", "client"),
    r"cuda|cublas|nccl": ("kernels", "engine/parallel"),
}
PROJECT = ("kernels/", "engine/", "server/", "client/", "msa/", "google/", "tests/")


def main(root: pathlib.Path) -> int:
    wrong, seen = [], 0
    for path in sorted(root.glob("*/**/*")):
        if path.suffix not in (".h", ".cc", ".cu", ".cuh"):
            continue
        name = path.relative_to(root).as_posix()
        folder = next((f for f in sorted(ALLOWED, key=len, reverse=True) if name.startswith(f + "/")), None)
        if folder is None:
            continue
        for include in re.findall(r'^\s*#include [<"]([^">]+)[">]', path.read_text(), re.M):
            seen += 1
            if include.startswith(PROJECT) and not any(
                    include == allowed or include.startswith(allowed + "/") for allowed in ALLOWED[folder]):
                wrong.append(f"{name} includes {include}")
            for library, owners in RESERVED.items():
                if re.match(rf"({library})[/_.v]", include) and not name.startswith(owners):
                    wrong.append(f"{name} includes {include}")
    print("\n".join(wrong) or f"{seen} includes, all point down")
    return 1 if wrong or seen < 500 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
