"""The lab's one HTTP server: the Kubernetes API, Prometheus' API, and the clock, on one loopback port.

/api /apis /version /openapi /healthz     the Kubernetes API (rollout.lab.api)
/prometheus/...                           a Prometheus (a handler that somebody else builds)
/lab/clock                                GET: {"now": ...}
/lab/clock/attach                         POST: this TCP connection takes part in the clock until it closes
/lab/clock/sleep                          POST {"until": ...} on it: answered when it is that late
/lab/faults                               POST a rule or a list of rules, DELETE: let everything pass
/lab/kubeconfig                           GET: for the API server of this lab, which may be another one
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from rollout.lab.answers import PROMETHEUS, PrometheusHandler, faulty, from_prometheus, micro
from rollout.lab.api import Api, ApiError, Effect, Fault, Faults, Store, User
from rollout.lab.api.exec import ExecSource
from rollout.lab.api.handlers import refusal
from rollout.lab.api.http import HttpAnswer, HttpRequest, ServiceHandler, json_answer
from rollout.lab.api.logs import LogSource
from rollout.lab.clock import Attachment, VirtualClock
from rollout.lab.wire import Connection, Dropped, Listener

__all__ = ["LabServer", "PrometheusHandler"]

_LOOPBACK = "127.0.0.1"


class LabServer:
    """The server; `start` it and `stop` it, or use it as a context manager.

    Args:
        store: the cluster's objects.
        clock: virtual time; its ticker runs while the server does.
        prometheus: what answers below /prometheus.
        port: 0 for a free one.
        tokens: bearer token -> user; None: everybody is admin.
        services: in-process services behind the service proxy, `NAME.NAMESPACE:PORT` -> handler.
        faults: requests that go wrong on purpose.
        logs: what containers write.
        elsewhere: the kubeconfig of another API server: this one then has no store, and says where the API is.
        exec_: what runs commands in containers.
    """

    def __init__(
        self,
        store: Store | None,
        clock: VirtualClock,
        *,
        prometheus: PrometheusHandler | None = None,
        port: int = 0,
        tokens: Mapping[str, User] | None = None,
        services: dict[str, ServiceHandler] | None = None,
        faults: Faults | None = None,
        logs: LogSource | None = None,
        elsewhere: str = "",
        exec_: ExecSource | None = None,
    ) -> None:
        """Bind the port; nothing is answered before `start`."""
        self._store, self._elsewhere = store, elsewhere
        self.clock = clock
        self.prometheus = prometheus
        self.services = services if services is not None else {}
        self.faults = faults or Faults()
        self._http = _Http((_LOOPBACK, port), _Connection)
        self._http.lab = self
        self.failures, self.stopping = self._http.failures, self._http.stopping
        self.port = int(self._http.server_address[1])
        self._api: Api | None = None
        if store is not None:
            self._api = Api(store, tokens=tokens, address=f"{_LOOPBACK}:{self.port}", services=self.services)
            self._api.closed = self.stopping.is_set
            if logs is not None:
                self._api.logs = logs
            if exec_ is not None:
                self._api.exec = exec_
        self._thread: threading.Thread | None = None

    @property
    def store(self) -> Store:
        """The objects of this server."""
        assert self._store is not None, "the API of this lab is another server's"
        return self._store

    @property
    def api(self) -> Api:
        """What answers for the objects."""
        assert self._api is not None, "the API of this lab is another server's"
        return self._api

    def kubernetes(self, request: HttpRequest) -> HttpAnswer:
        """The answer of the Kubernetes API, or where it is."""
        if self._api is not None:
            return self._api.answer(request)
        text = f"the Kubernetes API of this lab is another server: its kubeconfig is at {self.url}/lab/kubeconfig"
        return refusal(ApiError(421, "", text), request)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{_LOOPBACK}:{self.port}"

    def kubeconfig(self, token: str = "lab") -> str:  # noqa: S107 - no secret: any token is admin by default
        """A kubeconfig file for the API (JSON, which is YAML): the one of another server is as it was given."""
        if self._elsewhere:
            return self._elsewhere
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": self.url}}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": "default"}}],
            "current-context": "lab",
        }
        return json.dumps(document, indent=2) + "\n"

    def start(self) -> LabServer:
        """Answer requests, in threads that do not keep the process alive."""
        if self._thread is None:
            self.clock.start()
            self._thread = threading.Thread(
                target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="lab-server", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Cut all connections, and return when no thread of the server is left."""
        self.stopping.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self.clock.close()
        if self._store is not None:
            with self._store.storage.changed:
                self._store.storage.changed.notify_all()
        self._http.hang_up()
        self._http.server_close()

    def __enter__(self) -> LabServer:
        """Start."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Stop."""
        self.stop()


class _Http(Listener):
    lab: LabServer


class _Connection(Connection):
    """One client of the lab."""

    attachment: Attachment | None = None

    @property
    def lab(self) -> LabServer:
        """The server that this connection belongs to."""
        return cast("_Http", self.server).lab

    def finish(self) -> None:
        """Drop out of the clock with the connection."""
        if self.attachment is not None:
            self.attachment.detach()
        super().finish()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """The lab's own, or what its faults let through of the others."""
        if request.path.startswith("/lab/"):
            return self._lab(request)
        token = request.header("authorization").removeprefix("Bearer ")
        fault = self.lab.faults.hit(request.method, request.target, self.lab.clock.now(), token)
        if fault is None:
            return self._handled(request)
        if fault.effect is Effect.DROP_BEFORE:
            raise Dropped
        if fault.effect is Effect.DROP_AFTER:
            self._handled(request)
            raise Dropped
        if fault.effect is Effect.LATENCY:
            self.lab.stopping.wait(fault.seconds)
            return self._handled(request)
        return faulty(fault, request)

    def _handled(self, request: HttpRequest) -> HttpAnswer:
        lab = self.lab
        try:
            if request.path == PROMETHEUS or request.path.startswith(PROMETHEUS + "/"):
                lab.clock.catch_up()
                return from_prometheus(lab.prometheus, request)
            return lab.kubernetes(request)
        except ConnectionError:  # the lab's Prometheus hangs up on purpose
            raise
        except Exception as error:  # noqa: BLE001 - a bug of the lab must not look like a dropped connection
            lab.failures.append(error)
            text = f"Internal error occurred: the lab failed: {error!r}"
            return refusal(ApiError(500, "InternalError", text), request)

    def _lab(self, request: HttpRequest) -> HttpAnswer:
        match (request.method, request.path):
            case ("GET", "/lab/clock"):
                return self._now()
            case ("GET", "/lab/kubeconfig"):
                return HttpAnswer(200, self.lab.kubeconfig().encode(), "application/yaml")
            case ("POST", "/lab/clock/attach"):
                if self.attachment is None:
                    self.attachment = self.lab.clock.attach()
                return self._now()
            case ("POST", "/lab/clock/sleep"):
                return self._sleep(request)
            case ("POST", "/lab/faults"):
                return self._add_faults(request)
            case ("DELETE", "/lab/faults"):
                self.lab.faults.clear()
                return json_answer(200, {})
            case _:
                return json_answer(404, {"error": f"the lab has no {request.method} {request.path}"})

    def _now(self) -> HttpAnswer:
        return json_answer(200, {"now": micro(self.lab.clock.now())})

    def _sleep(self, request: HttpRequest) -> HttpAnswer:
        if self.attachment is None:
            return json_answer(409, {"error": "this connection is not attached: POST /lab/clock/attach on it first"})
        try:
            until = datetime.fromisoformat(json.loads(request.body)["until"])
        except (ValueError, KeyError, TypeError) as error:
            return json_answer(400, {"error": f'expected {{"until": RFC 3339}}: {error}'})
        if until.tzinfo is None:
            return json_answer(400, {"error": "until needs a time zone"})
        self._hold(self.attachment, until)
        return self._now()

    def _hold(self, attachment: Attachment, until: datetime) -> None:
        """Wait until the clock wakes this connection, or its client is gone."""
        woken, waker = socket.socketpair()
        with woken, waker:
            attachment.start_sleep(until, lambda: waker.sendall(b"!"))
            if not self.wait_for(woken):
                attachment.detach()
                raise Dropped
        if attachment.gone:
            raise Dropped

    def _add_faults(self, request: HttpRequest) -> HttpAnswer:
        try:
            document = json.loads(request.body)
            rules = [Fault.parse(rule) for rule in (document if isinstance(document, list) else [document])]
        except (ValueError, KeyError, TypeError) as error:
            return json_answer(400, {"error": f"no fault: {error}"})
        for rule in rules:
            self.lab.faults.add(rule)
        return json_answer(201, {"added": len(rules)})
