"""Webhook configurations: their defaults, their rules, and what this server cannot call.

Who calls a webhook that is a Service is the store's `admission`. A webhook at a URL lies outside of the lab: nobody
would ever call it, and a write that it should have refused would pass. Such a configuration is not taken: 501.
"""

from __future__ import annotations

from rollout.lab.api.status import ApiError, Cause, Json, unsupported

MUTATING, VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"


def webhook_defaults(kind: str, obj: Json) -> None:
    """Write what the server fills into a configuration; the argument is changed."""
    if kind not in (MUTATING, VALIDATING):
        return
    for hook in obj.get("webhooks") or []:
        if not isinstance(hook, dict):
            continue
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if kind == MUTATING:
            hook.setdefault("reinvocationPolicy", "Never")
        for rule in hook.get("rules") or []:
            rule.setdefault("scope", "*")
        service = (hook.get("clientConfig") or {}).get("service")
        if isinstance(service, dict):
            service.setdefault("port", 443)


def webhook_causes(obj: Json) -> list[Cause]:
    """What is wrong with a configuration.

    Raises:
        ApiError: 501 for a webhook at a URL.
    """
    causes: list[Cause] = []
    for index, hook in enumerate(obj.get("webhooks") or []):
        effects = hook.get("sideEffects")
        if effects not in ("None", "NoneOnDryRun"):
            causes.append(unsupported(f"webhooks[{index}].sideEffects", effects, ("None", "NoneOnDryRun")))
        url = (hook.get("clientConfig") or {}).get("url")
        if url:
            text = (
                f"webhooks[{index}].clientConfig.url: the lab calls no webhook at a URL ({url}), so it would never be "
                "asked; use clientConfig.service with a Service of the lab"
            )
            raise ApiError(501, "NotImplemented", text)
    return causes
