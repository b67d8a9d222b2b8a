"""The real programs, started and stopped by tests (tests/quality uses the server, too)."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MSA_BUILD_DIR", ROOT / "build/release"))
SERVER = BUILD / "bin/msa-server"
MSACTL = BUILD / "bin/msactl"
NEEDLE = ROOT / "models/needle/checkpoint"
SAMPLES = ROOT / "models/needle/samples"

sys.path[:0] = [str(ROOT / "client/python"), str(BUILD / "python")]
from msa_client import Client  # noqa: E402

START_SECONDS = 120  # also under sanitizers on a busy machine
STOP_SECONDS = 60
CALL_SECONDS = 900  # far more than a call takes, also with sanitizers on a busy machine


class ServerProgram:
    """msa-server in a folder of its own, which a later start finds again. Use inside a `with`, or start() and stop(). A server
    that does not start or does not end well is a RuntimeError with its log."""

    def __init__(self, folder: Path, *options: str, model: Path = NEEDLE, binary: Path = SERVER):
        self.folder = folder
        self.options = options
        self.model = model
        self.binary = binary
        self.process: subprocess.Popen | None = None
        self.ports: dict[str, int] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def command(self) -> list[str]:
        return [str(self.binary), "--model", str(self.model), "--data-dir", str(self.data), "--port", "0",
                "--metrics-port", "0", "--port-file", str(self.folder / "ports"), *self.options]

    def launch(self) -> None:
        """Without waiting until it serves."""
        (self.folder / "ports").unlink(missing_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self) -> "ServerProgram":
        self.launch()
        port_file = self.folder / "ports"
        give_up = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log}")
            time.sleep(0.02)
        self.ports = {name: int(port) for name, port in map(str.split, port_file.read_text().splitlines())}
        return self

    def stop(self) -> None:
        """With SIGTERM, unless it has ended. It must end well."""
        if not self.is_running():
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.wait()
        if status != 0:
            raise RuntimeError(f"the server ended with status {status}:\n{self.log}")

    def kill(self) -> None:
        """As if the machine took the process away."""
        if self.is_running():
            self.process.kill()
            self.wait()

    def wait(self) -> int:
        """Its exit status."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server did not stop:\n{self.log}") from None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def peak_memory_bytes(self) -> int:
        """The most resident memory so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def client(self) -> Client:
        return Client(self.address, timeout=CALL_SECONDS)

    def __enter__(self) -> "ServerProgram":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()


def failed_start(folder: Path, *options: str, model: Path = NEEDLE) -> tuple[int, str]:
    """Exit status and stderr of a server that must not start."""
    program = ServerProgram(folder, *options, model=model)
    done = subprocess.run(program.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=START_SECONDS)
    return done.returncode, done.stderr


def msactl(program: ServerProgram | None, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MSA_")}
    if program is not None:
        environment["MSA_SERVER"] = program.address
    return subprocess.run([str(MSACTL), *arguments], input=stdin, capture_output=True, text=True,
                          env=environment, timeout=CALL_SECONDS)


class TemporaryFolder:
    """A folder that goes with the test, also when it fails."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="msa_e2e_"))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
