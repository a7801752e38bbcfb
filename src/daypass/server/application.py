"""Builds the ASGI application over a started runtime."""

from __future__ import annotations

import json
from functools import partial

from daypass.config import Settings
from daypass.server.runtime import Runtime
from daypass.server.startup import forget_setup_code, setup_code
from daypass.wire.app import Application, HttpLimits, Observe
from daypass.wire.front import Front
from daypass.wire.revocations.stream import StreamLimits
from daypass.wire.routes import RouteSettings, routes


def build(runtime: Runtime, observe: Observe | None = None) -> Application:
    """The application over a started runtime. `observe`: see Application; the metrics by default."""
    settings = runtime.settings.server
    front = Front(runtime.env, unrecorded=runtime.metrics.observe_unrecorded)
    return Application(
        front,
        routes(front, runtime, _route_settings(runtime.settings)),
        log=runtime.log.warning,
        observe=observe or runtime.metrics.observe,
        limits=HttpLimits(
            settings.max_body_bytes, settings.anonymous_body_bytes, body_seconds=settings.body_timeout_seconds
        ),
        trusted_proxies=settings.trusted_proxies,
    )


def _route_settings(settings: Settings) -> RouteSettings:
    server = settings.server
    return RouteSettings(
        server.public_url,
        (settings.aws.regions or ("us-east-1",))[0],
        server.client_certificate_header,
        server.metrics_token.get_secret_value(),
        metrics=server.health_port is None,
        streams=StreamLimits(**settings.events.model_dump()),
        shown=_settings_text(settings),
        setup_code=setup_code(server.data),
        setup_done=partial(forget_setup_code, server.data),
    )


def _settings_text(settings: Settings) -> dict[str, dict[str, str]]:
    """The settings as text, by section. pydantic replaces the values of secrets by asterisks."""
    sections: dict[str, dict[str, str]] = {}
    for section, values in settings.model_dump(mode="json").items():
        members = values if isinstance(values, dict) else {section: values}
        sections[section] = {name: _value_text(value) for name, value in members.items()}
    return sections


def _value_text(value: object) -> str:
    if value in (None, [], {}):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
