"""Errors of calls, with what the server says about them."""
from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY = "grpc-status-details-bin"


class ServerError(Exception):
    """A failed call, or a document that was refused."""

    def __init__(self, code: grpc.StatusCode, message: str, details: status_pb2.Status | None = None):
        self.code = code
        self.message = message
        self.reason = ""                        # as in proto/msa/v1/error.proto
        self.metadata: dict[str, str] = {}      # facts such as limit and actual
        self.field = ""                         # the request field that is wrong
        self.retry_delay: float | None = None   # seconds; set where waiting helps
        for detail in details.details if details is not None else ():
            self._read(detail)
        super().__init__(f"{code.name}: {message}" + (f" ({self.reason})" if self.reason else ""))

    def _read(self, detail) -> None:
        info, retry, bad = (error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(),
                            error_details_pb2.BadRequest())
        if detail.Unpack(info):
            self.reason, self.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            self.retry_delay = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
        elif detail.Unpack(bad) and bad.field_violations:
            self.field = bad.field_violations[0].field

    @staticmethod
    def from_rpc(error: grpc.RpcError) -> ServerError:
        details = None
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS_KEY:
                details = status_pb2.Status.FromString(value)
        return ServerError(error.code(), error.details() or "", details)

    @staticmethod
    def from_status(status: status_pb2.Status) -> ServerError:
        """Of one document in an ingest stream."""
        code = next(c for c in grpc.StatusCode if c.value[0] == status.code)
        return ServerError(code, status.message, status)
