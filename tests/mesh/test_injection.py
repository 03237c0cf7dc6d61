"""Who has a sidecar, whose traffic it captures, and why a pod has none (istio.md 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rollout.mesh import injection
from rollout.mesh.injection import missing_cause, would_inject
from rollout.model.kubernetes import MutatingWebhookConfiguration, Namespace, Pod

MakePod = Callable[..., Pod]
MakeNamespace = Callable[..., Namespace]
NOT_OUT = {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}


def _absent(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "DoesNotExist"}


def _webhooks(revision: str = "default", *, default: bool = True) -> tuple[MutatingWebhookConfiguration, ...]:
    """The webhooks that the istiod chart installs."""
    rev = {"key": "istio.io/rev", "operator": "In", "values": [revision]}
    hooks: list[dict[str, Any]] = [
        {
            "name": "rev.namespace.sidecar-injector.istio.io",
            "namespaceSelector": {"matchExpressions": [rev, _absent("istio-injection")]},
            "objectSelector": {"matchExpressions": [NOT_OUT]},
        },
        {
            "name": "rev.object.sidecar-injector.istio.io",
            "namespaceSelector": {"matchExpressions": [_absent("istio.io/rev"), _absent("istio-injection")]},
            "objectSelector": {"matchExpressions": [NOT_OUT, rev]},
        },
    ]
    if default:
        enabled = {"key": "istio-injection", "operator": "In", "values": ["enabled"]}
        wanted = {"key": "sidecar.istio.io/inject", "operator": "In", "values": ["true"]}
        hooks += [
            {
                "name": "namespace.sidecar-injector.istio.io",
                "namespaceSelector": {"matchExpressions": [enabled]},
                "objectSelector": {"matchExpressions": [NOT_OUT]},
            },
            {
                "name": "object.sidecar-injector.istio.io",
                "namespaceSelector": {"matchExpressions": [_absent("istio-injection"), _absent("istio.io/rev")]},
                "objectSelector": {"matchExpressions": [wanted, _absent("istio.io/rev")]},
            },
        ]
    other = {"metadata": {"name": "kyverno"}, "webhooks": [{"name": "mutate.kyverno.svc"}]}
    ours = {"metadata": {"name": "istio-sidecar-injector"}, "webhooks": hooks}
    return msgspec.convert([other, ours], tuple[MutatingWebhookConfiguration, ...])


def test_both_shapes_of_sidecar_are_recognised(pod: MakePod) -> None:
    """Classic, native; an init container that is not restarted is none."""
    status = {"sidecar.istio.io/status": "{}"}
    native = pod(sidecar=False, annotations=status, init=[{"name": "istio-proxy", "restartPolicy": "Always"}])
    once = pod(sidecar=False, annotations=status, init=[{"name": "istio-proxy"}])
    assert injection.injected(pod())
    assert injection.injected(native)
    assert not injection.injected(once)
    assert not injection.injected(pod(sidecar=False))


def test_a_proxy_without_the_injectors_annotation_is_not_injected(pod: MakePod) -> None:
    """Somebody wrote the container by hand."""
    by_hand = pod(sidecar=False, containers=[{"name": "istio-proxy"}])
    assert injection.proxy_container(by_hand) is not None
    assert not injection.injected(by_hand)


def test_finished_and_deleted_pods_are_not_live(pod: MakePod) -> None:
    """They count for nothing."""
    assert injection.live(pod())
    assert injection.live(pod(phase="Pending"))
    assert not injection.live(pod(phase="Succeeded"))
    assert not injection.live(pod(phase="Failed"))
    assert not injection.live(pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"sidecar": False}, "it has no sidecar"),
        ({"spec": {"hostNetwork": True}}, "hostNetwork: true"),
        ({"annotations": {"inject.istio.io/templates": "grpc-agent"}}, "inject.istio.io/templates: grpc-agent"),
        ({"annotations": {"inject.istio.io/templates": "sidecar,mine"}}, ""),
        ({"annotations": {"sidecar.istio.io/interceptionMode": "NONE"}}, "sidecar.istio.io/interceptionMode: NONE"),
        ({"annotations": {"sidecar.istio.io/interceptionMode": "TPROXY"}}, ""),
        (
            {"annotations": {"traffic.sidecar.istio.io/includeInboundPorts": ""}},
            'traffic.sidecar.istio.io/includeInboundPorts: ""',
        ),
        (
            {"init": [{"name": "istio-validation", "args": ["istio-iptables", "-b", ""]}]},
            'traffic.sidecar.istio.io/includeInboundPorts: ""',
        ),
        ({"init": [{"name": "setup", "args": ["-b", ""]}]}, ""),
        ({"labels": {"cni.istio.io/uninitialized": "true"}}, "cni.istio.io/uninitialized: true"),
        ({"labels": {"cni.istio.io/uninitialized": "false"}}, ""),
    ],
)
def test_capture_is_lost_for_a_named_reason(pod: MakePod, change: dict[str, Any], why: str) -> None:
    """Annotations first, then what the mesh's defaults put into the pod."""
    made = pod(**change)
    assert injection.uncaptured_because(made) == why
    assert injection.captured(made) is (why == "")


def test_the_meshs_default_interception_mode_is_read_from_the_proxy(pod: MakePod) -> None:
    """NONE for the whole mesh leaves no annotation on the pod."""
    env = [{"name": "OTHER", "value": "NONE"}, {"name": "ISTIO_META_INTERCEPTION_MODE", "value": "NONE"}]
    made = pod(
        sidecar=False, annotations={"sidecar.istio.io/status": "{}"}, containers=[{"name": "istio-proxy", "env": env}]
    )
    assert injection.uncaptured_because(made) == "sidecar.istio.io/interceptionMode: NONE"


def test_gateways_are_not_captured(pod: MakePod) -> None:
    """Injected they may be."""
    router = [{"name": "istio-proxy", "args": ["proxy", "router"]}]
    made = pod(sidecar=False, annotations={"sidecar.istio.io/status": "{}"}, containers=router)
    assert injection.gateway(made)
    assert injection.uncaptured_because(made) == "it is a gateway"


@pytest.mark.parametrize(
    ("annotations", "port", "captured"),
    [
        ({}, 8080, True),
        ({}, 15021, False),
        ({}, 15090, False),
        ({"status.sidecar.istio.io/port": "15999"}, 15999, False),
        ({"traffic.sidecar.istio.io/excludeInboundPorts": "8080, 9090"}, 9090, False),
        ({"traffic.sidecar.istio.io/excludeInboundPorts": "9090"}, 8080, True),
        ({"traffic.sidecar.istio.io/includeInboundPorts": "8080"}, 8080, True),
        ({"traffic.sidecar.istio.io/includeInboundPorts": "8080"}, 9090, False),
        (
            {
                "traffic.sidecar.istio.io/includeInboundPorts": "8080",
                "traffic.sidecar.istio.io/excludeInboundPorts": "8080",
            },
            8080,
            True,
        ),
        ({"sidecar.istio.io/interceptionMode": "NONE"}, 8080, False),
        ({"traffic.sidecar.istio.io/excludeInterfaces": "net1, eth0"}, 8080, False),
        ({"traffic.sidecar.istio.io/excludeInterfaces": "net1"}, 8080, True),
    ],
)
def test_a_port_is_captured_unless_it_is_left_out(
    pod: MakePod, annotations: dict[str, str], port: int, captured: bool
) -> None:
    """The exclusion counts only where everything is included."""
    assert injection.captured_port(pod(annotations=annotations), port) is captured


def test_addressable_is_a_label(pod: MakePod) -> None:
    """The container does not matter to clients."""
    assert injection.addressable(pod(labels={"security.istio.io/tlsMode": "istio"}))
    assert not injection.addressable(pod())
    assert not injection.addressable(pod(labels={"security.istio.io/tlsMode": "disabled"}))


def test_ambient_is_told_by_annotation_label_or_namespace(pod: MakePod, namespace: MakeNamespace) -> None:
    """A sidecar or the host's network rules it out; a pod's `none` beats the namespace."""
    enrolled = namespace(**{"istio.io/dataplane-mode": "ambient"})
    plain: dict[str, Any] = {"sidecar": False}
    assert injection.ambient(pod(annotations={"ambient.istio.io/redirection": "enabled"}, **plain))
    assert injection.ambient(pod(labels={"istio.io/dataplane-mode": "ambient"}, **plain))
    assert injection.ambient(pod(**plain), enrolled)
    assert not injection.ambient(pod(**plain), namespace())
    assert not injection.ambient(pod(**plain))
    assert not injection.ambient(pod(labels={"istio.io/dataplane-mode": "none"}, **plain), enrolled)
    assert not injection.ambient(pod(), enrolled)
    assert not injection.ambient(pod(spec={"hostNetwork": True}, **plain), enrolled)


@pytest.mark.parametrize(
    ("namespace_labels", "pod_labels", "annotations", "injects"),
    [
        ({"istio-injection": "enabled"}, {}, {}, True),
        ({"istio-injection": "Enabled"}, {}, {}, False),
        ({"istio-injection": "disabled", "istio.io/rev": "default"}, {}, {}, False),
        ({"istio-injection": "enabled", "istio.io/rev": "other"}, {}, {}, True),
        ({"istio-injection": "enabled"}, {"sidecar.istio.io/inject": "false"}, {}, False),
        ({"istio-injection": "enabled"}, {}, {"sidecar.istio.io/inject": "false"}, False),
        (
            {"istio-injection": "enabled"},
            {"sidecar.istio.io/inject": "true"},
            {"sidecar.istio.io/inject": "false"},
            True,
        ),
        ({"istio.io/rev": "default"}, {}, {}, True),
        ({"istio.io/rev": "other"}, {"istio.io/rev": "default"}, {}, False),
        ({}, {"istio.io/rev": "default"}, {}, True),
        ({}, {"sidecar.istio.io/inject": "true"}, {}, True),
        ({}, {}, {"sidecar.istio.io/inject": "true"}, False),
        ({}, {}, {}, False),
    ],
)
def test_the_webhooks_selectors_decide(
    pod: MakePod,
    namespace: MakeNamespace,
    namespace_labels: dict[str, str],
    pod_labels: dict[str, str],
    annotations: dict[str, str],
    injects: bool,
) -> None:
    """The table of istio.md 1.1."""
    made = pod(sidecar=False, labels=pod_labels, annotations=annotations)
    assert would_inject(made, namespace(**namespace_labels), _webhooks()) is injects


def test_hostnetwork_and_system_namespaces_are_never_injected(pod: MakePod, namespace: MakeNamespace) -> None:
    """Whatever the labels say."""
    on = {"istio-injection": "enabled"}
    assert not would_inject(pod(sidecar=False, spec={"hostNetwork": True}), namespace(**on), _webhooks())
    assert not would_inject(pod(sidecar=False), namespace("kube-system", **on), _webhooks())


@pytest.mark.parametrize(
    ("labels", "made", "sentence", "fix"),
    [
        ({}, {"spec": {"hostNetwork": True}}, "hostNetwork pods are never injected", "take `hostNetwork: true` out of"),
        (
            {"istio-injection": "enabled"},
            {"owner": ("StatefulSet", "orders")},
            "created before injection was turned on",
            "kubectl rollout restart statefulset/orders -n production",
        ),
        (
            {"istio-injection": "enabled"},
            {"owner": ("Job", "report-29000000")},
            "created before injection was turned on",
            "wait for its next run",
        ),
        (
            {"istio-injection": "enabled"},
            {"owner": ("StatefulSet", "orders"), "annotations": {"sidecar.istio.io/inject": "false"}},
            "its annotation sidecar.istio.io/inject is false",
            '{"annotations":{"sidecar.istio.io/inject":null}}',
        ),
        (
            {"istio-injection": "enabled"},
            {"owner": ("DaemonSet", "orders"), "labels": {"sidecar.istio.io/inject": "false"}},
            "its label sidecar.istio.io/inject is false",
            "kubectl patch daemonset orders -n production",
        ),
        (
            {"istio-injection": "disabled"},
            {},
            "istio-injection is 'disabled', not 'enabled'",
            "kubectl label namespace production istio-injection=enabled --overwrite",
        ),
        (
            {"istio.io/rev": "1-19"},
            {},
            "revision '1-19' has no webhook (there are: default)",
            "kubectl label namespace production istio.io/rev- istio-injection=enabled --overwrite",
        ),
        (
            {},
            {"labels": {"istio.io/rev": "1-19"}},
            "revision '1-19' has no webhook",
            "kubectl label namespace production",
        ),
        ({}, {}, "neither the label istio-injection nor istio.io/rev", "istio-injection=enabled"),
    ],
)
def test_the_cause_of_a_missing_sidecar_comes_with_its_fix(
    pod: MakePod,
    namespace: MakeNamespace,
    labels: dict[str, str],
    made: dict[str, Any],
    sentence: str,
    fix: str,
) -> None:
    """One sentence, one deed."""
    cause = missing_cause(pod(sidecar=False, **made), namespace(**labels), _webhooks())
    assert sentence in cause.sentence
    assert fix in cause.fix


def test_with_a_revision_only_the_fix_names_that_revision(pod: MakePod, namespace: MakeNamespace) -> None:
    """istio-injection with any value hides istio.io/rev, and must go."""
    webhooks = _webhooks("1-29", default=False)
    enabled = missing_cause(pod(sidecar=False), namespace(**{"istio-injection": "enabled"}), webhooks)
    assert "needs a default revision" in enabled.sentence
    assert "kubectl label namespace production istio-injection- istio.io/rev=1-29" in enabled.fix
    off = missing_cause(pod(sidecar=False), namespace(**{"istio-injection": "no"}), webhooks)
    assert "istio-injection- istio.io/rev=1-29" in off.fix


def test_without_a_webhook_nothing_is_ever_injected(pod: MakePod, namespace: MakeNamespace) -> None:
    """Other webhooks do not count; a neutralised one that matches nothing has no revision."""
    cause = missing_cause(pod(sidecar=False), namespace(), _webhooks()[:1])
    assert cause.sentence == "no sidecar injector webhook is installed"
    bare = msgspec.convert(
        [{"webhooks": [{"name": "x.sidecar-injector.istio.io", "namespaceSelector": {"matchLabels": {"never": "1"}}}]}],
        tuple[MutatingWebhookConfiguration, ...],
    )
    assert "istio.io/rev=default" in missing_cause(pod(sidecar=False), namespace(), bare).fix
    system = missing_cause(pod(sidecar=False), namespace("kube-system"), _webhooks())
    assert system.sentence == "Istio never injects into kube-system"
