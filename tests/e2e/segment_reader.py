"""Reads a bank's directory as docs/memory_bank_format.md describes it, with nothing of the server: segment_reader.py BANK_DIRECTORY
lists the documents and checks every checksum."""
import sqlite3
import struct
import sys
from pathlib import Path

import xxhash

STATES = ["ACCEPTED", "ACTIVE", "FAILED", "DELETED"]
ELEMENT_BYTES = {0: 4, 1: 2}  # f32, bf16


def checksum(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data)


class Segment:
    """One file; wrong is a list of what does not match."""

    def __init__(self, path: Path):
        self.data = path.read_bytes()
        self.wrong: list[str] = []
        self.expect(self.data[:8] == b"MSASEG\r\n", "magic")
        version, header_bytes, self.segment_id = struct.unpack_from("<IIQ", self.data, 8)
        self.expect(version == 1 and header_bytes == 384, "version")
        self.expect(path.name == f"{self.segment_id:016d}.segment", "name")
        self.layers, self.width, self.tokens_per_chunk, dtype = struct.unpack_from("<IIII", self.data, 24)
        self.row_bytes = self.width * ELEMENT_BYTES[dtype]
        (self.num_documents, self.num_chunks, self.table, self.keys, self.content, self.checksums, self.footer,
         file_bytes) = struct.unpack_from("<8Q", self.data, 40)
        self.fingerprint = self.data[128:256].rstrip(b"\0").decode()
        self.instruction_set = self.data[256:288].rstrip(b"\0").decode()
        self.expect(struct.unpack_from("<Q", self.data, 376)[0] == checksum(self.data[:376]), "header's checksum")
        self.expect(len(self.data) == file_bytes, "size")
        self.check_footer()
        self.documents = [self.read_row(i) for i in range(self.num_documents)]
        self.check_blocks()

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def check_footer(self) -> None:
        footer = self.data[self.footer:self.footer + 64]
        header_sum, table_sum, checksums_sum, file_bytes = struct.unpack_from("<4Q", footer, 8)
        count = 2 * self.num_documents * self.layers + self.layers
        self.sums = struct.unpack_from(f"<{count}Q", self.data, self.checksums)
        self.expect(footer[:8] == b"MSASEGF\n", "footer's magic")
        self.expect(struct.unpack_from("<Q", footer, 56)[0] == checksum(footer[:56]), "footer's checksum")
        self.expect(header_sum == checksum(self.data[:384]), "header's checksum in the footer")
        self.expect(table_sum == checksum(self.data[self.table:self.table + 32 * self.num_documents]), "document table")
        self.expect(checksums_sum == checksum(self.data[self.checksums:self.checksums + 8 * count]), "checksums")
        self.expect(file_bytes == len(self.data), "size in the footer")

    def read_row(self, index: int) -> dict:
        number, tokens, chunks, _, first_chunk, text_hash = struct.unpack_from("<IIIIQQ", self.data, self.table + 32 * index)
        self.expect(chunks == -(-tokens // self.tokens_per_chunk), f"chunks of document {number}")
        return {"number": number, "tokens": tokens, "chunks": chunks, "first_chunk": first_chunk, "text_hash": text_hash}

    def check_blocks(self) -> None:
        layer_bytes = self.num_chunks * self.row_bytes
        for layer in range(self.layers):
            keys = self.data[self.keys + layer * layer_bytes:self.keys + (layer + 1) * layer_bytes]
            self.expect(checksum(keys) == self.sums[2 * self.num_documents * self.layers + layer], f"keys of layer {layer}")
            for d, row in enumerate(self.documents):
                first, last = (row["first_chunk"] + n for n in (0, row["chunks"]))
                block = keys[first * self.row_bytes:last * self.row_bytes]
                self.expect(checksum(block) == self.sums[(self.num_documents + d) * self.layers + layer],
                            f"keys of document {row['number']}, layer {layer}")
                start = self.content + (first * self.layers + layer * row["chunks"]) * 2 * self.row_bytes
                block = self.data[start:start + 2 * row["chunks"] * self.row_bytes]
                self.expect(checksum(block) == self.sums[d * self.layers + layer],
                            f"content of document {row['number']}, layer {layer}")


def read_bank(directory: Path) -> tuple[list[dict], list[str]]:
    """Documents that are not DELETED, and what is wrong. Nobody may have the bank open."""
    catalog = sqlite3.connect(f"file:{directory}/catalog.sqlite?mode=ro", uri=True)
    catalog.row_factory = sqlite3.Row
    segments = {row["segment"]: Segment(directory / "segments" / f"{row['segment']:016d}.segment")
                for row in catalog.execute("SELECT * FROM segments")}
    wrong = [f"segment {number}: {what}" for number, segment in segments.items() for what in segment.wrong]
    documents = []
    for row in catalog.execute("SELECT * FROM documents NATURAL JOIN texts WHERE state != 3 ORDER BY number"):
        document = dict(row) | {"state": STATES[row["state"]]}
        text_hash = row["text_hash"] % 2**64
        if checksum(row["text"].encode()) != text_hash:
            wrong.append(f"text of {row['id']}")
        if document["state"] == "ACTIVE":
            entry = segments[row["segment"]].documents[row["document_in_segment"]]
            if (entry["number"], entry["tokens"], entry["text_hash"]) != (row["number"], row["tokens"], text_hash):
                wrong.append(f"segment {row['segment']} holds another document than {row['id']}")
        documents.append(document)
    return documents, wrong


if __name__ == "__main__":
    found, problems = read_bank(Path(sys.argv[1]))
    for one in found:
        print(f"{one['number']}\t{one['state']}\t{one['id']}\t{one['tokens']} tokens\t{one['chunks']} chunks\t{one['metadata']}")
    print("\n".join(problems) or f"{len(found)} documents, all checksums match")
    sys.exit(1 if problems else 0)
