"""What the watch looks at, as a table that `rollout explain` prints."""

from __future__ import annotations

import msgspec


class About(msgspec.Struct, frozen=True):
    """A signal's title (true while nothing is wrong) and why it is watched."""

    title: str
    why: str


SURVIVAL = "edge-survival"
ERRORS = "edge-errors"
DESTINATION = "destination-errors"
TCP = "tcp"
SILENCE = "silence"
REPLICAS = "replicas"
RESTARTS = "restarts"
APIS = "apiservices"
JOBS = "jobs"
PROBES = "probe-failures"
WEBHOOKS = "webhooks"

#: Those that the cluster's objects give: they judge even while Prometheus is away.
OF_CLUSTER = (REPLICAS, RESTARTS, APIS, JOBS, PROBES, WEBHOOKS)

SIGNALS: dict[str, About] = {
    SURVIVAL: About(
        "What callers send arrives",
        "A refused plaintext connection leaves no metric at the destination, so its error rate improves while callers "
        "die. Both ends are compared: a caller that tried at least 15 times in the window, of which the destination "
        "saw nothing on two new samples, is cut off. Where the caller's proxy is not scraped, the edge is compared "
        "with its own longest pause. Slower edges are judged every five minutes over the whole watch: three attempts "
        "that all failed. So are a DestinationRule that came after the flip, and callers whose pods lost the sidecar. "
        "TCP connections to pod addresses name nobody: an edge that fell silent is lost where its caller's connections "
        "to bare addresses are reset as they were not before.",
    ),
    ERRORS: About(
        "Calls fail no more often than before, as the callers see it",
        "Cut work is not a 5xx at the destination: it is 503 UC, code 0 with DC, a broken stream (UPE) or gRPC status "
        "14 at the caller. A ratio needs 10 bad calls, must pass what was usual before the flip by three points and "
        "four standard deviations, and must do so on two new samples.",
    ),
    DESTINATION: About(
        "The workloads answer no worse than before",
        "5xx and 403 as the destinations report them: an AuthorizationPolicy may see other principals after the flip.",
    ),
    TCP: About(
        "TCP connections live",
        "A pool of a few connections never makes 15 attempts. An edge whose connections all break at the caller (UR, "
        "UF), and over which no byte arrives any more, is cut off.",
    ),
    SILENCE: About(
        "Callers go on calling",
        "An edge that is silent at both ends is a caller that stopped: reported, and no reason to roll back, unless "
        "most edges fall silent together.",
    ),
    REPLICAS: About(
        "As many replicas are available as before",
        "A probe that the flip cut off takes pods out of service. New pods, pods on cordoned nodes and workloads in a "
        "rollout do not count; what somebody scaled down is compared with what is wanted now.",
    ),
    RESTARTS: About(
        "Containers do not restart",
        "A liveness probe that the flip cut off restarts its container again and again: three new restarts, and as "
        "many as half of the pods.",
    ),
    APIS: About(
        "Aggregated APIs that the namespace serves are available",
        "kube-apiserver has no sidecar: an APIService behind STRICT fails for the whole cluster.",
    ),
    JOBS: About(
        "Jobs end as they did before",
        "A Job of a CronJob that fails after the flip, where all that are remembered from before succeeded, has lost "
        "what it calls. Three failed pods are a failure, too: the Job itself gives up much later.",
    ),
    PROBES: About(
        "No probe fails that did not fail before",
        "The kubelet reports each failed probe as an Event, before a pod is taken out of service or restarted. Three "
        "failures of at least half of a workload's pods, begun after the flip and still going on, are a regression. "
        "Without the right to list Events this is not watched.",
    ),
    WEBHOOKS: About(
        "Admission webhooks that the namespace serves answer",
        "kube-apiserver has no sidecar: behind STRICT its calls fail, and what the webhook guards is refused or passes "
        "unseen. Its own counters tell, where Prometheus scrapes them: three failed calls in the window, and more than "
        "were usual.",
    ),
}
