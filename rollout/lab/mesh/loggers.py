"""Envoy's loggers and their levels, as its admin interface shows and changes them.

One unknown name refuses the whole set before anything is changed (istio.md 8.2), and there is no logger `tls`.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

LOGGERS = (
    "admin", "alternate_protocols_cache", "aws", "assert", "backtrace", "basic_auth", "cache_filter", "client",
    "compression", "config", "conn_handler", "connection", "connection_limit_filter", "decompression", "dns",
    "dynamic_forward_proxy", "envoy_bug", "ext_authz", "ext_proc", "fault", "file", "filter", "forward_proxy",
    "geolocation", "golang", "grpc", "happy_eyeballs", "hc", "health_checker", "http", "http2", "hystrix", "init", "io",
    "jwt", "kafka", "key_value_store", "lua", "main", "matcher", "misc", "mongo", "multi_connection", "oauth2", "pool",
    "quic", "quic_stream", "rate_limit_quota", "rbac", "rds", "redis", "rocketmq", "router", "runtime", "secret",
    "stats", "stats_sinks", "tap", "testing", "thrift", "tracing", "udp", "upstream", "wasm", "websocket",
)  # fmt: skip
LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_USAGE = (
    "usage: /logging?<name>=<level> (change single level)\n"
    "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
    "usage: /logging?level=<level> (change all levels)\n"
    f"levels: {' '.join(LEVELS)} \n"
)


class Refused(Exception):
    """The change as a whole; the text is Envoy's."""


class Levels:
    """The levels of one proxy, and since when its loggers have been at debug or below."""

    def __init__(self) -> None:
        """As istio-proxy starts: --proxyLogLevel=warning --proxyComponentLogLevel=misc:error."""
        self.now = dict.fromkeys(LOGGERS, "warning") | {"misc": "error"}
        self._history: list[tuple[int, frozenset[str]]] = []

    def debug(self, at: int) -> frozenset[str]:
        """The loggers that wrote debug lines at a time."""
        return next((names for since, names in reversed(self._history) if since <= at), frozenset())

    def change(self, query: str, now: int) -> None:
        """What the query of /logging says.

        Raises:
            Refused: nothing was changed.
        """
        pairs = parse_qsl(query, keep_blank_values=True)
        if len(pairs) != 1:
            raise Refused("invalid number of parameters")
        (key, value), changes = pairs[0], {}
        if key == "level":
            changes = dict.fromkeys(LOGGERS, _level(value))
        elif key == "paths":
            for entry in filter(None, value.split(",")):
                name, _, level = entry.partition(":")
                if not name or not level:
                    raise Refused("empty logger name or empty logger level")
                changes[name] = _level(level)
        else:
            changes[key] = _level(value)
        if not changes.keys() <= self.now.keys():
            raise Refused("unknown logger name")
        self.now |= changes
        raised = frozenset(name for name, level in self.now.items() if level in ("trace", "debug"))
        self._history.append((now, raised))

    def shown(self, refused: str = "") -> str:
        """The page: all loggers, below what was wrong with a change."""
        head = f"error: {refused}\n\n{_USAGE}" if refused else ""
        return head + "active loggers:\n" + "".join(f"  {name}: {level}\n" for name, level in self.now.items()) + "\n"


def _level(text: str) -> str:
    if text not in LEVELS:
        raise Refused("unknown logger level")
    return text
