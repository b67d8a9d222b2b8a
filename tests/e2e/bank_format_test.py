"""A reader that knows only docs/memory_bank_format.md finds in the server's files what was ingested, and nothing that went."""
import json
import unittest

from segment_reader import read_bank
from server_program import ServerProgram, TemporaryFolder
from msa_client import Document

TEXTS = {f"d{i}": f"The code of the quiet pioneer {i} is {i * 7919}. " * (1 + i % 9) for i in range(40)}
SECRET = Document("id-of-the-secret", "What the secret says is for nobody's eyes.", {"note": "metadata-of-the-secret"})


class BankFormat(unittest.TestCase):
    def setUp(self):
        folder = TemporaryFolder()
        self.addCleanup(folder.remove)
        self.server = ServerProgram(folder.path, "--shards", "2").start()
        self.addCleanup(self.server.stop)
        self.bank = self.server.data / "banks" / "notes"
        with self.server.client() as client:
            client.create_bank("notes")
            documents = [Document(key, text, {"length": len(text)}) for key, text in TEXTS.items()]
            for result in client.ingest("notes", [*documents[:20], SECRET, *documents[20:]]):
                self.assertFalse(result.HasField("error"))

    def pieces_on_disk(self, *pieces: str) -> list[str]:
        everything = b"".join(path.read_bytes() for path in self.server.data.rglob("*") if path.is_file())
        return [piece for piece in pieces if piece.encode() in everything]

    def test_a_reader_that_knows_only_the_page_finds_every_document(self):
        with self.server.client() as client:
            listed = {d.id: d for d in client.list_documents("notes")}
        self.server.stop()
        found, wrong = read_bank(self.bank)
        self.assertEqual(wrong, [])
        self.assertEqual({d["id"] for d in found}, set(TEXTS) | {SECRET.id})
        for document in found:
            served = listed[document["id"]]
            self.assertEqual((document["number"], document["tokens"], document["chunks"], document["state"]),
                             (served.number, served.tokens, served.chunks, "ACTIVE"))
            if document["id"] in TEXTS:
                self.assertEqual(document["text"], TEXTS[document["id"]])
                self.assertEqual(json.loads(document["metadata"]), {"length": len(document["text"])})

    def test_the_reader_finds_a_flipped_bit(self):
        self.server.stop()
        segment = max(self.bank.rglob("*.segment"), key=lambda path: path.stat().st_size)
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        self.assertNotEqual(read_bank(self.bank)[1], [])

    def test_after_compaction_nothing_of_a_deleted_document_is_in_the_data_directory(self):
        pieces = (SECRET.id, "for nobody's eyes", "metadata-of-the-secret")
        self.assertEqual(self.pieces_on_disk(*pieces), list(pieces))
        with self.server.client() as client:
            client.delete_documents("notes", [SECRET.id])
            self.assertEqual(client.compact_bank("notes").dropped_documents, 1)
        self.assertEqual(self.pieces_on_disk(*pieces), [])
        self.assertEqual(self.pieces_on_disk(TEXTS["d7"]), [TEXTS["d7"]])
        self.server.stop()
        self.assertEqual(self.pieces_on_disk(*pieces), [])
        self.assertEqual({d["id"] for d in read_bank(self.bank)[0]}, set(TEXTS))


if __name__ == "__main__":
    unittest.main()
