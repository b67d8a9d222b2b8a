"""A real msa-server of its own, on a free port, with a fresh data directory."""
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 60


class ServerProcess:
    """Runs inside a `with`. A server that does not start is a RuntimeError with its log."""

    def __init__(self, binary: Path, model: Path, folder: Path, options: list[str]):
        """folder: gets the data directory, the port file and the log."""
        self._port_file = folder / "ports"
        self.log_file = folder / "server.log"
        self._command = [
            str(binary), "--model", str(model), "--data-dir", str(folder / "data"), "--port", "0",
            "--metrics-port", "0", "--port-file", str(self._port_file), *options]
        self._process: subprocess.Popen | None = None
        self.address = ""

    def __enter__(self) -> "ServerProcess":
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while not self._port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{' '.join(self._command)} did not start:\n"
                                   + self.log_file.read_text(errors="replace"))
            time.sleep(0.05)
        ports = dict(line.split() for line in self._port_file.read_text().splitlines())
        self.address = f"127.0.0.1:{ports['grpc']}"
        return self

    def __exit__(self, *_) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def peak_memory_bytes(self) -> int:
        """The most resident memory so far."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0
