"""What a client knows of a bank whose server may be killed at any moment: per document, the contents that it may have now."""
import random
import threading

Content = tuple  # (text, metadata as sorted pairs); None where there is no document


def content_of(text: str, metadata: dict) -> Content:
    return text, tuple(sorted(metadata.items()))


class CrashJournal:
    """Thread-safe. One thread at a time changes a document."""

    def __init__(self):
        self._lock = threading.Lock()
        self._possible: dict[str, set] = {}
        self._numbers: dict[int, str] = {}  # number -> text that it was given for
        self._begun: list[tuple[str, Content]] = []  # every change, in the order of their starts
        self.acknowledged = 0

    def possible(self, document_id: str) -> set:
        with self._lock:
            return set(self._possible.get(document_id, {None}))

    def ids(self) -> list[str]:
        with self._lock:
            return sorted(self._possible)

    def begin(self, document_id: str, content: Content) -> None:
        """A change is sent: from now on the document may have this content."""
        with self._lock:
            self._possible.setdefault(document_id, {None}).add(content)
            self._begun.append((document_id, content))

    def acknowledge(self, document_id: str, content: Content, number: int = 0) -> None:
        with self._lock:
            self._possible[document_id] = {content}
            self.acknowledged += 1
            if number:
                self._numbers[number] = content[0]

    def snapshot(self) -> tuple[dict[str, frozenset], int]:
        """What may be there now, and a mark for allowed_since."""
        with self._lock:
            return {key: frozenset(value) for key, value in self._possible.items()}, len(self._begun)

    def allowed_since(self, snapshot: tuple[dict[str, frozenset], int]) -> dict[str, set]:
        """What a copy may hold that was made between the snapshot and now."""
        before, mark = snapshot
        with self._lock:
            allowed = {key: set(value) for key, value in before.items()}
            for document_id, content in self._begun[mark:]:
                allowed.setdefault(document_id, {None}).add(content)
            return allowed

    def settle(self, found: dict[str, tuple[Content, int]]) -> list[str]:
        """Compares with what the server has after a restart (id -> content, number) and goes on from there. Returns what is
        wrong."""
        wrong = []
        with self._lock:
            for document_id in sorted(set(self._possible) | set(found)):
                content, number = found.get(document_id, (None, 0))
                possible = self._possible.get(document_id, {None})
                if content not in possible:
                    wrong.append(f"{document_id} has {content}, expected one of {sorted(map(str, possible))}")
                text = self._numbers.setdefault(number, content[0]) if number else None
                if number and text != content[0]:
                    wrong.append(f"number {number} of {document_id} was another text's")
                self._possible[document_id] = {content}
            self._begun.clear()
        return wrong


class InFlight:
    """Calls that have no answer yet, by kind, and how many were cut off. Thread-safe."""

    def __init__(self, kinds: list[str]):
        self._changed = threading.Condition()
        self._open = dict.fromkeys(kinds, 0)
        self._killed = False
        self.cut_off = dict.fromkeys(kinds, 0)  # kills, not calls
        self._cut_now: set[str] = set()

    def restart(self) -> None:
        with self._changed:
            self._killed = False
            self._cut_now.clear()

    def begin(self, kind: str) -> None:
        with self._changed:
            self._open[kind] += 1
            self._changed.notify_all()

    def end(self, kind: str, answered: bool) -> None:
        with self._changed:
            self._open[kind] -= 1
            if not answered and kind not in self._cut_now:
                self._cut_now.add(kind)
                self.cut_off[kind] += 1

    def wait_for(self, kind: str, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._open[kind] > 0, timeout)


def random_text(chooser: random.Random) -> str:
    sentences = [f"The code of the {chooser.choice(('amber', 'gleaming', 'quiet'))} pioneer is {chooser.randrange(10**6)}."]
    return " ".join(sentences * chooser.choice((1, 1, 1, 4, 12)))
