"""Whom kube-apiserver calls: webhooks, aggregated APIs, conversions."""

from __future__ import annotations

from rollout.model.kubernetes.meta import Conditions, LabelSelector, Object, Resource, Value


class ServiceReference(Value, frozen=True):
    """The Service that kube-apiserver calls."""

    namespace: str = ""
    name: str = ""
    port: int | None = None
    path: str | None = None


class ClientConfig(Value, frozen=True):
    """webhooks[].clientConfig and conversion.webhook.clientConfig."""

    service: ServiceReference | None = None
    url: str | None = None


class Webhook(Value, frozen=True):
    """webhooks[]."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    failure_policy: str = "Fail"


class MutatingWebhookConfiguration(Object, frozen=True):
    """Admission webhooks that change objects; sidecar injection is one."""

    RESOURCE = Resource(
        "admissionregistration.k8s.io",
        ("v1",),
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        namespaced=False,
    )
    webhooks: tuple[Webhook, ...] = ()


class ValidatingWebhookConfiguration(Object, frozen=True):
    """Admission webhooks that refuse objects."""

    RESOURCE = Resource(
        "admissionregistration.k8s.io",
        ("v1",),
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        namespaced=False,
    )
    webhooks: tuple[Webhook, ...] = ()


class APIServiceSpec(Value, frozen=True):
    """spec of an APIService; `service` is None for groups that kube-apiserver serves itself."""

    service: ServiceReference | None = None
    group: str = ""
    version: str = ""


class APIService(Object, frozen=True):
    """An aggregated API."""

    RESOURCE = Resource("apiregistration.k8s.io", ("v1",), "apiservices", "APIService", namespaced=False)
    spec: APIServiceSpec = APIServiceSpec()
    status: Conditions = Conditions()


class WebhookConversion(Value, frozen=True):
    """spec.conversion.webhook."""

    client_config: ClientConfig | None = None


class CustomResourceConversion(Value, frozen=True):
    """spec.conversion."""

    strategy: str = "None"
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionSpec(Value, frozen=True):
    """spec of a CustomResourceDefinition."""

    group: str = ""
    conversion: CustomResourceConversion | None = None


class CustomResourceDefinition(Object, frozen=True):
    """A CustomResourceDefinition, for its conversion webhook."""

    RESOURCE = Resource(
        "apiextensions.k8s.io",
        ("v1",),
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
    )
    spec: CustomResourceDefinitionSpec = CustomResourceDefinitionSpec()
