"""The generated Python modules of proto/msa/v1, made when they are first asked for.

Needs protoc and grpc_python_plugin (Debian: protobuf-compiler, protobuf-compiler-grpc) and, of
Python, grpcio and protobuf (python3-grpcio, python3-protobuf).
"""
import atexit
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

PROTO = Path(__file__).resolve().parents[2] / "proto"


def _generate() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="msa_stubs_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    plugin = shutil.which("grpc_python_plugin")
    if plugin is None or shutil.which("protoc") is None:
        raise RuntimeError("protoc and grpc_python_plugin must be installed: "
                           "apt-get install protobuf-compiler protobuf-compiler-grpc")
    files = [str(p.relative_to(PROTO)) for p in sorted(PROTO.rglob("*.proto"))]
    subprocess.run(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_out={folder}",
                    f"--plugin=protoc-gen-grpc={plugin}", *files], check=True)
    return folder


def load(*names: str) -> list[ModuleType]:
    """Modules of msa.v1 by name, such as "query_service_pb2"."""
    if "msa" not in sys.modules:
        folder = _generate()
        sys.path.insert(0, str(folder))
        # google.rpc may lie beside google.protobuf's package elsewhere.
        google = importlib.import_module("google")
        google.__path__.append(str(folder / "google"))
    return [importlib.import_module(f"msa.v1.{name}") for name in names]
