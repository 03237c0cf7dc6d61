"""The API: from a request to an answer.

The order of the checks is the server's: who asks (401), may they (403), is there such a thing (404, 405), is the
question well-formed (400, 422), and only then the object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rollout.lab.api import escalation, listing, logs, protobuf, reviews, subresources, watching, writing
from rollout.lab.api import exec as execs
from rollout.lab.api.deleting import delete, success
from rollout.lab.api.discovery import Discovery
from rollout.lab.api.http import HttpAnswer, HttpRequest, ServiceHandler, compressed, json_answer, yaml_answer
from rollout.lab.api.kinds import Resource
from rollout.lab.api.objects import bare, present
from rollout.lab.api.options import DeleteOptions, check_timeout, delete_options, list_options, write_options
from rollout.lab.api.patching import patched
from rollout.lab.api.rbac import Authorizer, User
from rollout.lab.api.reading import read_body
from rollout.lab.api.represent import Form, check_form, list_document, negotiate, partial
from rollout.lab.api.routes import Route, route
from rollout.lab.api.status import (
    ApiError,
    Json,
    bad_request,
    method_not_allowed,
    no_such_path,
    not_found,
    not_supported,
    page_not_found,
)
from rollout.lab.api.store import Store, Write
from rollout.lab.api.tables import table

_BODY_LIMIT = 3145728
_WRITES = ("create", "update", "patch")


class Api:
    """The Kubernetes API over a store.

    Args:
        store: the objects.
        tokens: bearer token -> user; None: everybody is admin.
        address: host and port, for discovery.
        services: in-process services behind the service proxy: `NAME.NAMESPACE:PORT` -> handler.
    """

    def __init__(
        self,
        store: Store,
        *,
        tokens: Mapping[str, User] | None = None,
        address: str = "127.0.0.1",
        services: Mapping[str, ServiceHandler] | None = None,
    ) -> None:
        """Serve the store."""
        self.store = store
        self.authorizer = Authorizer(store, tokens)
        self.discovery = Discovery(store.kinds, address)
        self.services = services if services is not None else {}
        self.closed: Callable[[], bool] = lambda: False
        self.logs: logs.LogSource = logs.no_logs
        self.exec: execs.ExecSource = execs.no_programs
        self.watch_second = 1.0  # of real time; tests shorten it

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request; a refusal is an answer too."""
        try:
            return compressed(request, self._answer(request))
        except ApiError as error:
            return refusal(error, request)

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        check_timeout(request)
        at = route(request)
        user = self.authorizer.user_of(request, at.attributes)
        self.authorizer.require(user, at.attributes)
        found = self.discovery.answer(request)
        if found is not None:
            return found
        resource = self._resource(at)
        if len(request.body) > _BODY_LIMIT:
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {_BODY_LIMIT}")
        if not resource.namespaced and at.plural:
            at = replace(at, namespace="")
        answer = self._dispatch(request, at, resource, user)
        return _with_warnings(answer, [resource.deprecated]) if resource.deprecated else answer

    def _resource(self, at: Route) -> Resource:
        custom = self.store.kinds.custom_group(at.group)
        if not at.plural:
            raise page_not_found() if custom else no_such_path()
        resource = self.store.kinds.at(at.group, at.version, at.plural)
        if resource is None:
            raise page_not_found() if custom else no_such_path()
        if at.subresource and at.subresource not in resource.subresources:
            raise not_found(resource.plural, resource.group, at.name) if custom else no_such_path()
        return resource

    def _dispatch(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        if at.subresource == "proxy":
            return subresources.proxy(self.services, request, at)
        if request.method == "HEAD" and not resource.custom:
            raise method_not_allowed()
        if at.subresource == "log":
            return self._log(request, at, resource)
        if at.subresource == "exec":
            return self._exec(request, at, resource, user)
        if resource.verbs == ("create",):
            return self._review(request, at, resource, user)
        if at.subresource in ("scale", "binding", "eviction", "finalize"):
            return subresources.answer(self, request, at, resource, user)
        return self._perform(request, at, resource, user)

    def _perform(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        match at.verb:
            case "get" if at.name:
                return self._get(request, at, resource)
            case "list":
                return self._list(request, at, resource)
            case "watch":
                return self._watch(request, at, resource)
            case "create":
                return self._create(request, at, resource, user)
            case "update" | "patch":
                return self._change(request, at, resource, user)
            case "delete" if not at.subresource:
                return self._delete(request, at, resource, user)
            case "deletecollection" if "deletecollection" in resource.verbs:
                return self._delete_all(request, at, resource, user)
        if resource.custom and not at.verb:
            raise not_supported(resource.plural, resource.group)
        raise method_not_allowed()

    def _log(self, request: HttpRequest, at: Route, resource: Resource) -> HttpAnswer:
        if at.verb != "get":
            raise method_not_allowed()
        pod = self.store.storage.get(resource.key, at.namespace, at.name)
        if pod is None:
            raise writing.missing(resource, at.name)
        return logs.answer(request, pod, self.logs, self.store.now, self.closed)

    def _exec(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        if at.verb not in ("get", "create"):
            raise method_not_allowed()
        if at.verb == "get":  # since 1.35 the GET of a WebSocket needs both verbs
            self.authorizer.require(user, replace(at.attributes, verb="create"))
        pod = self.store.storage.get(resource.key, at.namespace, at.name)
        if pod is None:
            raise writing.missing(resource, at.name)
        return execs.answer(request, pod, self.exec)

    def _review(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        if at.verb != "create" or at.name:
            raise method_not_allowed()
        document, _ = read_body(request, resource, at.version)
        found = reviews.review(self.authorizer, resource, document, user, request.user_agent, self.store.stamp())
        return json_answer(201, found)

    def _get(self, request: HttpRequest, at: Route, resource: Resource) -> HttpAnswer:
        form = negotiate(request, listing=False)
        revision = request.parameter("resourceVersion")
        if revision and not revision.isdigit():
            text = (
                f'resourceVersion: Invalid value: "{revision}": strconv.ParseUint: parsing "{revision}": invalid syntax'
            )
            raise ApiError(500, "", text)
        if revision and int(revision) > self.store.storage.revision:
            raise listing.too_large(int(revision), self.store.storage.revision)
        obj = self.store.storage.get(resource.key, at.namespace, at.name)
        if obj is None:
            raise writing.missing(resource, at.name)
        return self.shown(request, resource, at.version, obj, form, 200)

    def shown(
        self, request: HttpRequest, resource: Resource, version: str, obj: Json, form: Form, status: int
    ) -> HttpAnswer:
        """One stored object in the form asked for."""
        check_form(form, resource, listing=False)
        if form.as_ == "Table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            include = request.parameter("includeObject")
            found = table(resource, [obj], meta, now=self.store.now(), include=include, version=form.version)
            return json_answer(status, found, pretty=pretty(request))
        document = partial(obj, form.version) if form.as_ else present(resource, obj, version)
        if form.media == "application/yaml":
            return yaml_answer(status, document)
        return json_answer(status, document, pretty=pretty(request))

    def _list(self, request: HttpRequest, at: Route, resource: Resource) -> HttpAnswer:
        options = list_options(request, resource)
        form = negotiate(request, listing=True)
        page = listing.page(self.store.storage, resource, at.namespace, options)
        return self._listed(request, at, resource, page, form)

    def _listed(
        self, request: HttpRequest, at: Route, resource: Resource, page: listing.Page, form: Form
    ) -> HttpAnswer:
        check_form(form, resource, listing=True)
        if form.as_ == "Table":
            include, now = request.parameter("includeObject"), self.store.now()
            document = table(resource, page.items, page.meta, now=now, include=include, version=form.version)
        else:
            document = list_document(resource, at.version, page.items, page.meta, form)
        if form.media == "application/yaml":
            return yaml_answer(200, document)
        return json_answer(200, document, pretty=pretty(request))

    def _watch(self, request: HttpRequest, at: Route, resource: Resource) -> HttpAnswer:
        if at.name:
            request.query.setdefault("fieldSelector", [f"metadata.name={at.name}"])
        form = negotiate(request, listing=True, watch=True)
        options = list_options(request, resource, watch=True)

        def shown(obj: Json, first: bool) -> Json:
            if form.as_ == "Table":
                meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                found = table(resource, [obj], meta, now=self.store.now(), include="", version=form.version)
                return found if first else {**found, "columnDefinitions": None}
            return partial(obj, form.version) if form.as_ else present(resource, obj, at.version)

        if form.as_ == "PartialObjectMetadataList":
            options = replace(options, matches=lambda _: False)  # a list form cannot show one object

        def bookmark(meta: Json) -> Json:
            return shown_bookmark(resource, at.version, meta, form)

        watch = watching.Watch(resource, at.namespace, options, shown, bookmark, self.closed, self.watch_second)
        return HttpAnswer(200, stream=watching.stream(self.store.storage, watch))

    def _create(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        if at.name and not resource.custom:
            raise method_not_allowed()
        if resource.namespaced and not at.namespace:
            raise page_not_found() if resource.custom else method_not_allowed()
        form = negotiate(request, listing=False)
        options = write_options(request, "CreateOptions")
        document, warnings = read_body(request, resource, at.version, options.validation)
        meta = document.get("metadata") or {}
        check_namespace(resource, at.namespace, meta)
        if meta.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        asked = writing.Request(options.manager, at.version, user.name, options.dry_run, "", warnings)
        escalation.confirm(self.authorizer, user, resource, at.namespace, document)
        obj = writing.create(self.store, resource, at.namespace, bare(document), asked)
        self.note(at, asked, document, obj["metadata"]["name"])
        return warned(self.shown(request, resource, at.version, obj, form, 201), asked)

    def _change(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        if not at.name:
            raise bad_request("name must be provided") if resource.custom else method_not_allowed()
        form = negotiate(request, listing=False)
        patch = at.verb == "patch"
        options = write_options(request, "PatchOptions" if patch else "UpdateOptions")
        asked = writing.Request(options.manager, at.version, user.name, options.dry_run, at.subresource)
        body: Any
        if patch:
            body, make = patched(request, at, resource, options.validation, asked.warnings)
        else:
            body, warnings = read_body(request, resource, at.version, options.validation)
            asked.warnings += warnings
            check_name(resource, at, body.get("metadata") or {})
            stored = bare(body)

            def make(old: Json) -> Json:  # noqa: ARG001
                return stored

            if resource.put_creates and self.store.storage.get(resource.key, at.namespace, at.name) is None:
                fresh = {**stored, "metadata": {**stored["metadata"], "resourceVersion": None}}
                obj = writing.create(self.store, resource, at.namespace, fresh, asked)
                self.note(at, asked, body, at.name)
                return warned(self.shown(request, resource, at.version, obj, form, 201), asked)
        make = escalation.confirmed(self.authorizer, user, resource, at.namespace, make)
        obj = writing.update(self.store, resource, at.namespace, at.name, make, asked, patch=patch)
        self.note(at, asked, body, at.name)
        return warned(self.shown(request, resource, at.version, obj, form, 200), asked)

    def _delete(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        form = negotiate(request, listing=False)
        options = delete_options(request)
        asked = writing.Request(request.user_agent, at.version, user.name, options.dry_run)
        kept, obj = delete(self.store, resource, at.namespace, at.name, options, asked)
        self.note(at, asked, None, at.name)
        if kept is None:
            return json_answer(200, success(resource, obj), pretty=pretty(request))
        return self.shown(request, resource, at.version, kept, form, 200)

    def _delete_all(self, request: HttpRequest, at: Route, resource: Resource, user: User) -> HttpAnswer:
        form = negotiate(request, listing=True)
        options = delete_options(request)
        page = listing.page(self.store.storage, resource, at.namespace, list_options(request, resource))
        asked = writing.Request(request.user_agent, at.version, user.name, options.dry_run)
        for obj in page.items:
            name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace") or ""
            try:
                delete(self.store, resource, namespace, name, _each(options), asked)
            except ApiError as error:
                if error.code != 404:
                    raise
        self.note(at, asked, None, "")
        return self._listed(request, at, resource, page, form)

    def note(self, at: Route, asked: writing.Request, body: Any, name: str) -> None:
        """Record a write that succeeded."""
        self.store.record(
            Write(
                at=self.store.now(),
                verb=at.verb,
                resource=at.plural,
                namespace=at.namespace,
                name=name,
                manager=asked.manager,
                user=asked.user,
                dry_run=asked.dry_run,
                subresource=at.subresource,
                body=body,
            )
        )


def _each(options: DeleteOptions) -> DeleteOptions:
    return replace(options, uid=None, revision=None)


def check_namespace(resource: Resource, namespace: str, meta: Json) -> None:
    """Refuse an object for another namespace than the path's.

    Raises:
        ApiError: 400.
    """
    given = meta.get("namespace") or ""
    if resource.namespaced and given and given != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def check_name(resource: Resource, at: Route, meta: Json) -> None:
    """Refuse an object of another name or namespace than the path's.

    Raises:
        ApiError: 400.
    """
    given = meta.get("name") or ""
    if not given:
        text = f"the name of the object ({at.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(text)
    if given != at.name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({at.name})")
    check_namespace(resource, at.namespace, meta)


def shown_bookmark(resource: Resource, version: str, meta: Json, form: Form) -> Json:
    """The object of a BOOKMARK event."""
    if form.as_ == "Table":
        return {"kind": "Table", "apiVersion": f"meta.k8s.io/{form.version}", "metadata": meta, "rows": []}
    document = {"kind": resource.kind, "apiVersion": resource.api_version(version), "metadata": meta}
    return partial(document, form.version) if form.as_ else document


def warned(answer: HttpAnswer, asked: writing.Request) -> HttpAnswer:
    """The answer with the warnings of a write."""
    return _with_warnings(answer, asked.warnings)


def _with_warnings(answer: HttpAnswer, texts: list[str]) -> HttpAnswer:
    for text in texts:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.append(("Warning", f'299 - "{quoted}"'))
    return answer


def pretty(request: HttpRequest) -> bool:
    """Whether JSON comes indented: asked for, or read by a person."""
    asked = request.parameter("pretty")
    if asked:
        return asked in ("1", "true")
    return request.header("user-agent").startswith(("curl", "Wget", "Mozilla/5.0"))


def refusal(error: ApiError, request: HttpRequest) -> HttpAnswer:
    """A refusal as an answer."""
    if error.text is not None:
        answer = HttpAnswer(error.code, error.text.encode(), "text/plain; charset=utf-8")
    elif request.header("accept") == protobuf.MEDIA:
        answer = HttpAnswer(error.code, protobuf.encode_status(error.body()), protobuf.MEDIA)
    elif "application/yaml" in request.header("accept") and "json" not in request.header("accept"):
        answer = yaml_answer(error.code, error.body())
    else:
        answer = json_answer(error.code, error.body(), pretty=pretty(request))
    answer.headers += list(error.headers.items())
    return answer
