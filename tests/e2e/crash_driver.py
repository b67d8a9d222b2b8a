#!/usr/bin/python3
"""Kills a server again and again, inside ingest, update, delete, compaction and backup, and compares after every restart what it has
with what it has acknowledged. 2,000 kills: crash_driver.py --kills 2000 (about ten minutes on two cores)."""
import argparse
import random
import sys
import threading
import time

from crash_journal import CrashJournal, InFlight, content_of, random_text
from server_program import ServerProgram, TemporaryFolder
from msa_client import Client, Document, ServerError

BANK = "crash"
KINDS = ["ingest", "update", "delete", "compact", "backup"]
IDS_PER_WRITER = 16
NUM_WRITERS = 2
HITS_AT_A_TIME = 8  # of the 16 documents that a layer selects


class CutOff(Exception):
    """The server was killed before it answered."""


class CrashDriver:
    def __init__(self, server: ServerProgram, seed: int):
        self.server = server
        self.random = random.Random(seed)
        self.journal = CrashJournal()
        self.in_flight = InFlight(KINDS)
        self.kills = 0
        self.violations: list[str] = []
        self.backups: dict[str, tuple] = {}  # name -> what the journal said when it was begun
        self.acknowledged_backups: dict[str, dict] = {}  # name -> what it may hold
        self.num_backups = 0
        self.slowest_start = 0.0

    def run(self, kills: int) -> None:
        self.start()
        with self.server.client() as client:
            client.create_bank(BANK)
        while self.kills < kills and not self.violations:
            self.change_and_kill(KINDS[self.kills % len(KINDS)])
            self.kills += 1
            self.start()
            self.compare()
        self.server.stop()

    def start(self) -> None:
        begun = time.monotonic()
        self.server.options = ("--shards", str(self.random.randint(1, 3)), *self.server.options[2:])
        self.server.start()
        self.slowest_start = max(self.slowest_start, time.monotonic() - begun)

    # ---- changes
    def call(self, kind: str, function):
        """Raises CutOff where there is no answer."""
        self.in_flight.begin(kind)
        answered = False
        try:
            result = function()
            answered = True
            return result
        except ServerError as error:
            answered = error.reason != ""  # the server's own words
            if not answered:
                raise CutOff from None
            raise
        finally:
            self.in_flight.end(kind, answered)

    def change_and_kill(self, focus: str) -> None:
        self.in_flight.restart()
        threads = [threading.Thread(target=self.write, args=(i, focus, self.random.random())) for i in range(NUM_WRITERS)]
        threads.append(threading.Thread(target=self.keep, args=(focus, self.random.random())))
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0, 0.06))
        self.in_flight.wait_for(focus, 5)
        time.sleep(self.random.choice((0, self.random.uniform(0, 0.004), self.random.uniform(0, 0.03))))
        self.server.kill()
        for thread in threads:
            thread.join()

    def write(self, writer: int, focus: str, seed: float) -> None:
        chooser = random.Random(seed)
        with Client(self.server.address, timeout=60) as client:
            try:
                while True:
                    kind = focus if focus in ("ingest", "update", "delete") and chooser.random() < 0.7 \
                        else chooser.choice(("ingest", "ingest", "update", "delete"))
                    getattr(self, kind)(client, writer, chooser)
            except CutOff:
                return
            except Exception as error:  # also what the client itself finds wrong
                self.violations.append(f"writer {writer}: {error!r}")

    def ingest(self, client: Client, writer: int, chooser: random.Random) -> None:
        documents = []
        for i in chooser.sample(range(IDS_PER_WRITER), chooser.randint(1, 5)):
            metadata = {"writer": writer, "k": chooser.randrange(3)}
            documents.append(Document(f"w{writer}-{i}", random_text(chooser), metadata))
        contents = {d.id: content_of(d.text, d.metadata) for d in documents}
        for document_id, content in contents.items():
            self.journal.begin(document_id, content)
        results = client.ingest(BANK, documents, upsert=True, wait_until_active=chooser.random() < 0.5)

        def take():
            for result in results:
                if result.HasField("error"):
                    raise RuntimeError(f"refused: {result.error.message}")
                self.journal.acknowledge(result.document_id, contents[result.document_id], result.number)
        self.call("ingest", take)

    def update(self, client: Client, writer: int, chooser: random.Random) -> None:
        document_id = f"w{writer}-{chooser.randrange(IDS_PER_WRITER)}"
        possible = self.journal.possible(document_id)
        if None in possible or len(possible) != 1:
            return
        text, metadata = next(iter(possible))
        changes = {"metadata": {"writer": writer, "k": chooser.randrange(3), "new": chooser.random()}}
        if chooser.random() < 0.4:
            changes["text"] = random_text(chooser)
        content = content_of(changes.get("text", text), changes["metadata"])
        self.journal.begin(document_id, content)
        document = self.call("update", lambda: client.update_document(
            BANK, document_id, wait_until_active=chooser.random() < 0.5, **changes))
        self.journal.acknowledge(document_id, content, document.number)

    def delete(self, client: Client, writer: int, chooser: random.Random) -> None:
        mine = [f"w{writer}-{i}" for i in range(IDS_PER_WRITER)]
        if chooser.random() < 0.3:
            k = chooser.randrange(3)
            condition = {"filter": f"metadata.writer = {writer} AND metadata.k = {k}"}
            chosen = [i for i in mine if any(c and dict(c[1]).get("k") == k for c in self.journal.possible(i))]
        else:
            chosen = chooser.sample(mine, 2)
            condition = {"document_ids": chosen}
        for document_id in chosen:
            self.journal.begin(document_id, None)
        self.call("delete", lambda: client.delete_documents(BANK, **condition))
        for document_id in chosen:
            self.journal.acknowledge(document_id, None)

    def keep(self, focus: str, seed: float) -> None:
        """Compactions and backups beside the writers."""
        chooser = random.Random(seed)
        with Client(self.server.address, timeout=60) as client:
            try:
                while True:
                    kind = focus if focus in ("compact", "backup") else chooser.choice(("compact", "backup"))
                    if kind == "compact":
                        self.call("compact", lambda: client.compact_bank(BANK))
                    else:
                        self.back_up(client)
                    time.sleep(chooser.uniform(0, 0.02))
            except CutOff:
                return
            except Exception as error:
                self.violations.append(f"keeper: {error!r}")

    def back_up(self, client: Client) -> None:
        self.num_backups += 1
        name = f"b{self.num_backups}"
        before = self.backups[name] = self.journal.snapshot()
        self.call("backup", lambda: client.backup_bank(BANK, name))
        self.acknowledged_backups[name] = self.journal.allowed_since(before)

    # ---- comparisons
    def documents(self, client: Client, bank: str) -> dict:
        found = {}
        for document in client.export_documents(bank):
            metadata = {key: getattr(value, value.WhichOneof("kind")) for key, value in document.metadata.items()}
            if document.id in found:
                self.violations.append(f"{bank}: {document.id} comes twice")
            found[document.id] = content_of(document.text, metadata), document.number
        return found

    def compare(self) -> None:
        allowed = {name: self.acknowledged_backups.get(name) or self.journal.allowed_since(before)
                   for name, before in self.backups.items()}
        with self.server.client() as client:
            self.violations += self.journal.settle(self.documents(client, BANK))
            self.compare_visible(client)
            self.compare_backups(client, allowed)
            if self.kills % 20 == 0:
                result = client.verify_bank(BANK, lambda event: self.violations.append(str(event.damage))
                                            if event.HasField("damage") else None)
                if result.damages:
                    self.violations.append(f"verification found {result.damages} damages")
        errors = [line for line in self.server.log.splitlines() if line[24:].startswith(" error ")]
        if errors:
            self.violations.append("the log tells of errors:\n" + "\n".join(errors[-10:]))

    def compare_visible(self, client: Client) -> None:
        """Queries find exactly the documents that are there."""
        while client.bank_stats(BANK).accepted_documents:
            time.sleep(0.005)
        client.delete_documents(BANK, ["nobody"])  # answered when all that is stored is visible
        ids = self.journal.ids()
        there = {i for i in ids if self.journal.possible(i) != {None}}
        for first in range(0, len(ids), HITS_AT_A_TIME):
            part = ids[first:first + HITS_AT_A_TIME]
            hits = {hit.document_id for hit in client.retrieve(BANK, "Which code?", document_ids=part).hits}
            if hits != there & set(part):
                self.violations.append(f"queries find {sorted(hits)} of {part}, there are {sorted(there & set(part))}")

    def compare_backups(self, client: Client, allowed: dict) -> None:
        """Those that were acknowledged are there, all that are there are whole and of one moment."""
        listed = {backup.name for backup in client.list_backups()}
        for name in set(self.acknowledged_backups) - listed:
            self.violations.append(f"backup {name} was acknowledged and is gone")
        chosen = sorted(listed)[-1:]  # the last: it may have been cut off
        for name in chosen:
            client.restore_bank(name, "restored")
            found = self.documents(client, "restored")
            for document_id in set(found) | set(allowed[name]):
                content = found.get(document_id, (None, 0))[0]
                if content not in allowed[name].get(document_id, {None}):
                    self.violations.append(f"backup {name}: {document_id} has {content}")
            client.delete_bank("restored", force=True)
        for name in listed:
            client.delete_backup(name)
        self.backups.clear()
        self.acknowledged_backups.clear()

    def summary(self) -> str:
        inside = ", ".join(f"{count} {kind}" for kind, count in self.in_flight.cut_off.items())
        return (f"{self.kills} kills (inside: {inside}), {self.journal.acknowledged} acknowledged changes, "
                f"slowest start {self.slowest_start:.2f} s, {len(self.violations)} violations")


def drive(kills: int, seed: int) -> CrashDriver:
    folder = TemporaryFolder()
    server = ServerProgram(folder.path, "--shards", "2", "--backup-dir", str(folder.path / "backups"))
    driver = CrashDriver(server, seed)
    try:
        driver.run(kills)
    finally:
        server.kill()
        if not driver.violations:
            folder.remove()
        else:
            print(f"left as it was: {folder.path}", file=sys.stderr)
    return driver


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    driver = drive(arguments.kills, arguments.seed)
    print(driver.summary())
    for violation in driver.violations:
        print(violation)
    return 1 if driver.violations else 0


if __name__ == "__main__":
    sys.exit(main())
