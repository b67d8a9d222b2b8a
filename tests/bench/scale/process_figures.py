"""Memory and processor time of a running process as Linux counts them, and the bound of memory that the server shall keep."""
import os
import threading
from pathlib import Path

SAMPLE_SECONDS = 0.02
FIELDS = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "file", "VmHWM": "peak"}
BOUND_FACTOR, BOUND_EXTRA = 1.1, 300_000_000


def memory(pid: int) -> dict[str, int]:
    """Bytes."""
    values = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in FIELDS:
            values[FIELDS[name]] = int(rest.split()[0]) * 1024
    return values


def processor_seconds(pid: int) -> float:
    """User and system time of all its threads so far, to about 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bound(weights: int, bank: int) -> int:
    """1.1 x (weights + bank) + 300 MB."""
    return round(BOUND_FACTOR * (weights + bank)) + BOUND_EXTRA


class Scratch:
    """What a process takes beside what it had at the start, while this lives. The kernel keeps the peak of all resident memory;
    that of anonymous memory is looked at every 20 ms. Bytes."""

    def __init__(self, pid: int):
        self.pid = pid
        self._stopping = threading.Event()
        self._most_anonymous = 0
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            self._most_anonymous = max(self._most_anonymous, memory(self.pid)["anonymous"])

    def __enter__(self) -> "Scratch":
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak is counted from now on
        self.before = memory(self.pid)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopping.set()
        self._thread.join()
        self.after = memory(self.pid)

    def figures(self) -> dict[str, int]:
        return {"resident_before": self.before["resident"], "resident_after": self.after["resident"],
                "peak": self.after["peak"] - self.before["resident"],
                "peak_anonymous": max(self._most_anonymous, self.after["anonymous"]) - self.before["anonymous"]}
