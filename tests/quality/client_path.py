"""Makes msa_client importable from the source tree; import this module before it."""
import atexit
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "client" / "python"


def _add_stubs() -> None:
    """The generated modules, unless PYTHONPATH has them. CalledProcessError without protoc."""
    if importlib.util.find_spec("msa") is not None:
        return
    folder = tempfile.mkdtemp(prefix="msa_stubs_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([CLIENT / "generate_stubs.sh", folder], check=True)
    sys.path.insert(0, folder)
    import google
    # A google package that is not a namespace does not see the generated google.rpc by itself.
    google.__path__.append(str(Path(folder) / "google"))


_add_stubs()
sys.path.insert(0, str(CLIENT))
