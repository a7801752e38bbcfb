"""Interceptors that let only calls with a valid access token reach a gRPC server: `grpc.server` and `grpc.aio.server`.

    grpc.server(pool, interceptors=[VerifierInterceptor(verifier)])

A method finds the token by `current()`. It needs the package `grpcio`. Source: grpc.io, "Authentication"; RFC 9449 for DPoP proofs,
which are for a POST of the method's path.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any, Final

import grpc
import grpc.aio

from daypass.client.verifier.holder import Sent
from daypass.client.verifier.middleware import Refusal, check
from daypass.client.verifier.verify import CURRENT, Verified, Verifier

_CODES: Final = {401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED}
_END: Final = object()
_MAKE: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def current() -> Verified:
    """The token of the call. Raises LookupError outside of a call, and in a public method."""
    verified = CURRENT.get()
    if verified is None:
        raise LookupError("no call with a token is being served")
    return verified


class _Checks:
    """`scope`: one that tokens must have. `public`: methods that need none, "/grpc.health.v1.Health/Check"."""

    def __init__(self, verifier: Verifier, scope: str = "", public: Collection[str] = ()) -> None:
        self._verifier, self._scope, self._public = verifier, scope, frozenset(public)

    def _presented(self, method: str, context: Any) -> tuple[str, Sent]:
        """The value of `authorization` of a call, and the proofs of its token's key."""
        metadata = context.invocation_metadata() or ()
        values = [value for name, value in metadata if name == "authorization"]
        proofs = tuple(value for name, value in metadata if name == "dpop")
        pem = (context.auth_context().get("x509_pem_cert") or (b"",))[0]
        certificate = ssl.PEM_cert_to_DER_cert(pem.decode("ascii")) if pem else b""
        sent = Sent(proofs=proofs, method="POST", path=method.encode(), certificate=certificate)
        return str(values[0]) if len(values) == 1 else "", sent

    def _verified(self, presented: tuple[str, Sent]) -> Verified:
        """The token of a call. Raises Refusal."""
        authorization, sent = presented
        return check(self._verifier, authorization, self._scope, sent)


def _abort_with(refusal: Refusal) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    return _CODES.get(refusal.status, grpc.StatusCode.UNAVAILABLE), refusal.reason, refusal.headers


def _method_of(handler: Any) -> Callable[..., Any]:
    """The function behind a handler, of whichever kind."""
    found: Callable[..., Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


def _with(handler: Any, method: Callable[..., Any]) -> Any:
    """The handler with another function."""
    make = _MAKE[handler.request_streaming, handler.response_streaming]
    return make(method, handler.request_deserializer, handler.response_serializer)


class VerifierInterceptor(_Checks, grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """For `grpc.server`."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method in self._public:
            return handler
        method = _method_of(handler)

        def begun(context: Any) -> contextvars.Context:
            """A separate context, because the thread serves other calls afterwards. Aborts a call without a valid token."""
            try:
                verified = self._verified(self._presented(details.method, context))
            except Refusal as refusal:
                code, reason, headers = _abort_with(refusal)
                context.set_trailing_metadata(headers)
                context.abort(code, reason)
            own = contextvars.copy_context()
            own.run(CURRENT.set, verified)
            return own

        def one(request: Any, context: Any) -> Any:
            return begun(context).run(method, request, context)

        def many(request: Any, context: Any) -> Iterator[Any]:
            own = begun(context)
            answers = own.run(lambda: iter(method(request, context)))
            while (answer := own.run(next, answers, _END)) is not _END:
                yield answer

        return _with(handler, many if handler.response_streaming else one)


class AsyncVerifierInterceptor(_Checks, grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """For `grpc.aio.server`. Its methods are coroutines or asynchronous generators."""

    async def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or details.method in self._public:
            return handler
        method = _method_of(handler)

        async def begin(context: Any) -> None:
            """Each call is a separate task. The token is verified on a thread: that may wait for the network."""
            try:
                CURRENT.set(await asyncio.to_thread(self._verified, self._presented(details.method, context)))
            except Refusal as refusal:
                code, reason, headers = _abort_with(refusal)
                await context.abort(code, reason, headers)

        async def one(request: Any, context: Any) -> Any:
            await begin(context)
            return await method(request, context)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            await begin(context)
            async for answer in method(request, context):
                yield answer

        if not (inspect.isasyncgenfunction(method) or inspect.iscoroutinefunction(method)):
            raise TypeError(f"{details.method} is neither a coroutine nor an asynchronous generator")
        return _with(handler, many if inspect.isasyncgenfunction(method) else one)
