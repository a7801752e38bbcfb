"""The settings of a server. Each belongs to a section; `load` reads them and refuses unknown ones.

A new setting is a field in the module of its area: `network`, `storage`, `identity` or `approval`. A new section is also
a field in `settings`.
"""

from daypass.config.identity import AccessSettings, FederationSettings
from daypass.config.network import ServerSettings
from daypass.config.settings import ConfigError, Settings, ignored_variables, load
from daypass.config.storage import TracingSettings

__all__ = [
    "AccessSettings",
    "ConfigError",
    "FederationSettings",
    "ServerSettings",
    "Settings",
    "TracingSettings",
    "ignored_variables",
    "load",
]
