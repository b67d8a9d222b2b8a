"""A client of the memory bank server, in Python.

    from msa_client import Client, Document

    with Client("127.0.0.1:7411") as client:
        client.create_bank("notes")
        for result in client.ingest("notes", [Document("a", "The code of the old mill is 319938.")]):
            print(result.document_id, result.tokens)
        answer = client.answer("notes", "What is the code of the old mill?")
        print(answer.answer, [source.document_id for source in answer.sources])

Needs Python 3.9, grpcio and protobuf (Debian: python3-grpcio, python3-protobuf) and the modules that
generate_stubs.sh writes, on PYTHONPATH beside this folder. Messages are those of proto/msa/v1, whose
comments give units and bounds.
"""
from msa_client.client import Client, Document
from msa_client.server_error import ServerError

__all__ = ["Client", "Document", "ServerError"]
