"""The patterns that logs show when mutual TLS fails, as data (istio.md 13, observed.md a, e, g, i).

In order of precedence: a line counts for the first one that it matches. Blanks may be underscores, as Envoy writes them
in access logs; numeric codes are BoringSSL's and stand for their reasons.
"""

from __future__ import annotations

import re

import msgspec


class Says(msgspec.Struct, frozen=True):
    """Something that a line may say.

    Args:
        regex: searched in the line, with its underscores read as blanks.
        hints: one of these stands in every line that the regex matches; lower case, blanks for underscores.
    """

    regex: re.Pattern[str]
    hints: tuple[str, ...]


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern.

    Args:
        id: a slug, never reused.
        title: what it is.
        meaning: what it says.
        fix: what helps.
        says: what a line of it says.
        detail: searched for what varies; its groups, joined (the named ones with their names). None: nothing varies.
        flags: Envoy's response flags that make an access log line one of these, whatever its text; in such a line one
            of the hints must stand, too.
        leftover: Envoy leaves the same reason on plaintext that it accepted (observed.md 2), with the flag `-`.
        blocking: mutual TLS or a policy fails; False for what may be noise of a drain, or another cause.
    """

    id: str
    title: str
    meaning: str
    fix: str
    says: Says
    detail: re.Pattern[str] | None = None
    flags: tuple[frozenset[str], ...] = ()
    leftover: bool = False
    blocking: bool = True


def _any(*terms: str | tuple[str, ...], flagged: tuple[str, ...] = ()) -> Says:
    """One of these: a text in any case, or a regex with its hints; `flagged` are hints for the flags alone."""
    spelled = [(re.escape(term), term.lower()) if isinstance(term, str) else term for term in terms]
    hints = [hint for _, *its in spelled for hint in its]
    return Says(re.compile("|".join(term[0] for term in spelled), re.IGNORECASE), (*hints, *flagged))


def _reason(name: str, code: int, before: str = "(?<![A-Z])") -> tuple[str, ...]:
    """A reason of BoringSSL by name, or by its number where the text was cut."""
    shown = name.replace("_", " ")
    return rf"(?-i:{before}{shown}(?![A-Z]))|\b{code}\b", shown.lower(), str(code)


_CALLER = re.compile(
    r"closing connection from (?P<caller>[0-9a-fA-F.:\[\]]+):\d+|"
    r"(?P<remote>\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):\d+ (?:-|[\w.*-]+) (?:-|[\w.*|:~-]+)\s*$"
)
_CLUSTER = re.compile(r"(?P<cluster>(?:outbound|inbound)\|\d+\|[^|\s\"]*\|[^\s\"]+|PassthroughCluster)")

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        id="san-mismatch",
        title="The peer's certificate names another identity than expected",
        meaning="The handshake ended because the URI SAN is not one of the expected: another service account, or "
        "another trust domain, than the caller's endpoints say.",
        fix="compare the SANs with the pods' service accounts: rollout diagnose --from POD.NS --to SERVICE.NS:PORT; "
        "restart pods whose service account changed, and name foreign trust domains in trustDomainAliases",
        says=_any("verify SAN list", "SAN matcher"),
        detail=re.compile(
            r"(?:expected SANs: \[(?P<expected>[^\]]*)\], )?certificate SANs(?: are)?:? \[(?P<seen>[^\]]*)\]"
        ),
    ),
    Pattern(
        id="certificate-expired",
        title="A certificate has expired",
        meaning="New handshakes fail while open connections go on. With the alert SSLV3_ALERT_CERTIFICATE_EXPIRED it "
        "is this proxy's own certificate, which the peer refused.",
        fix="restart the pod whose certificate expired, and see in its istio-proxy log why the agent did not renew it",
        says=_any(
            (r"certificate has expired(?!\s*\?)", "certificate has expired"),
            _reason("SSLV3_ALERT_CERTIFICATE_EXPIRED", 268436501),
        ),
    ),
    Pattern(
        id="certificate-not-yet-valid",
        title="A certificate is not yet valid",
        meaning="The clocks of a node and of the control plane differ.",
        fix="compare the nodes' clocks with istiod's (NTP), then restart the pod",
        says=_any("certificate is not yet valid"),
    ),
    Pattern(
        id="unknown-ca",
        title="The peer's certificate is of another root",
        meaning="The two sides have certificates of different roots. With the alert TLSV1_ALERT_UNKNOWN_CA the peer "
        "refused this proxy's certificate.",
        fix="compare the roots: rollout diagnose --from POD.NS --to SERVICE.NS:PORT; restart pods that still hold the "
        "old root, and give clusters of one mesh a common root",
        says=_any(
            "unable to get local issuer certificate",
            (r"self[- ]signed certificate", "signed certificate"),
            "unable to verify the first certificate",
            "certificate signed by unknown authority",
            _reason("TLSV1_ALERT_UNKNOWN_CA", 268436504),
        ),
    ),
    Pattern(
        id="no-client-certificate",
        title="The client has no certificate",
        meaning="TLS, but not the mesh's: an app's own TLS, the API server, a probe with HTTPS, or a DestinationRule "
        "SIMPLE.",
        fix="give the caller a sidecar, take `tls` out of its DestinationRule, or exempt the port",
        says=_any(
            _reason("PEER_DID_NOT_RETURN_A_CERTIFICATE", 268435648),
            "peer did not provide required client certificate",
            _reason("TLSV1_ALERT_CERTIFICATE_REQUIRED", 268436572),
            "alert certificate required",
        ),
    ),
    Pattern(
        id="certificate-rejected",
        title="The peer refused this proxy's certificate",
        meaning="CERTIFICATE_UNKNOWN: a client rejected its SAN (secure naming: another service account than the "
        "endpoints say). BAD_CERTIFICATE: it could not be read.",
        fix="compare the SAN with the pod's service account: rollout diagnose POD.NAMESPACE; restart the pod",
        says=_any(
            _reason("SSLV3_ALERT_CERTIFICATE_UNKNOWN", 268436502), _reason("SSLV3_ALERT_BAD_CERTIFICATE", 268436498)
        ),
    ),
    Pattern(
        id="certificate-missing",
        title="The proxy has no certificate yet",
        meaning="Envoy waits for its certificate: the agent or istiod does not deliver it.",
        fix="see istiod's log and the pod's istio-proxy log; the pod must reach istiod on port 15012",
        says=_any("Secret is not supplied by SDS"),
    ),
    Pattern(
        id="certificate-verify-failed",
        title="The peer's certificate was refused",
        meaning="The verification failed for another reason than those above; the rest of the line says which.",
        fix="rollout diagnose --from POD.NS --to SERVICE.NS:PORT, layer certificates",
        says=_any(_reason("CERTIFICATE_VERIFY_FAILED", 268435581), "verify cert failed"),
        detail=re.compile(r"verify cert failed: (?P<why>[^\"|]{1,120}?)(?::TLS|\"|\}|$)"),
    ),
    Pattern(
        id="protocol-version",
        title="The two sides have no TLS version in common",
        meaning="meshMTLS.minProtocolVersion, or an app's own TLS that is too old.",
        fix="compare meshConfig.meshMTLS.minProtocolVersion with what the caller speaks",
        says=_any(_reason("UNSUPPORTED_PROTOCOL", 268435696), _reason("TLSV1_ALERT_PROTOCOL_VERSION", 268436526)),
    ),
    Pattern(
        id="cipher-mismatch",
        title="The two sides have no cipher in common",
        meaning="meshMTLS.cipherSuites, or a key of a kind that the other side does not take.",
        fix="compare meshConfig.meshMTLS.cipherSuites on both sides",
        says=_any(_reason("NO_SHARED_CIPHER", 268435640), _reason("SSLV3_ALERT_HANDSHAKE_FAILURE", 268436496)),
    ),
    Pattern(
        id="filter-chain-not-found",
        title="Plaintext was refused by STRICT",
        meaning="The listener has no chain for what arrived: plaintext under STRICT, or an app's TLS on a port "
        "declared http. HTTP_REQUEST behind it is plaintext HTTP, WRONG_VERSION_NUMBER another protocol. The caller "
        "is the address; no metric counts it.",
        fix="kubectl get pods -A -o wide --field-selector status.podIP=ADDRESS names the caller: give it a sidecar, or "
        "exempt the port",
        says=_any("filter chain not found", "no matching filter chain found"),
        detail=_CALLER,
    ),
    Pattern(
        id="wrong-version-number",
        title="TLS was sent to a port that answers in plaintext",
        meaning="The client sends mutual TLS (a DestinationRule ISTIO_MUTUAL, or a tlsMode label) to a pod without a "
        "sidecar, an excluded port, or a port that is DISABLE.",
        fix="give the server a sidecar, capture the port, or take ISTIO_MUTUAL out of the DestinationRule",
        says=_any(
            _reason("WRONG_VERSION_NUMBER", 268435703),
            _reason("UNEXPECTED_MESSAGE", 268435679),
            (r"(?-i:(?:SSL routines:|curl: \(35\) ).{0,200}wrong version number)", "wrong version number"),
        ),
        leftover=True,
    ),
    Pattern(
        id="plaintext-to-tls",
        title="Plaintext HTTP was sent to a port that expects TLS",
        meaning="The other way round: the caller has no sidecar, goes past it, or a DestinationRule tells it to send "
        "plaintext (DISABLE); or it speaks http to an app's own TLS.",
        fix="give the caller a sidecar, take DISABLE out of its DestinationRule, or call the port with https",
        says=_any(
            _reason("HTTP_REQUEST", 268435612, before="(?<=:)"),
            _reason("HTTPS_PROXY_REQUEST", 268435611),
        ),
        leftover=True,
    ),
    Pattern(
        id="rbac-denied",
        title="An AuthorizationPolicy denied the call",
        meaning="TLS is not the cause. `none`: ALLOW policies select the workload and no rule of theirs matches; else "
        "the policy and the rule that denied.",
        fix="rollout diagnose --from POD.NS --to SERVICE.NS:PORT --method METHOD --path PATH names the rule",
        says=_any("rbac access denied matched policy", "RBAC: access denied", "enforced denied, matched policy"),
        detail=re.compile(
            r"matched[_ ]policy[ \[]*(?P<policy>ns\[[^\]]*\][-_ ]policy\[[^\]]*\][-_ ]rule\[\d+\]|none)", re.IGNORECASE
        ),
    ),
    Pattern(
        id="config-rejected",
        title="The proxy rejected a configuration",
        meaning="It goes on with the one before: a policy that was accepted by the API is not in force there.",
        fix="istioctl proxy-status shows which; take back the object (often an EnvoyFilter) that the text names",
        says=_any(
            (r"(?:lds|cds|rds): .{0,200}(?:rejected|error adding)", "rejected", "error adding"),
            (r"config for \S+ rejected", "rejected"),
        ),
        detail=re.compile(r"rejected: (?P<why>.{1,120})"),
    ),
    Pattern(
        id="webhook-refused",
        title="The API server cannot call a webhook in the mesh",
        meaning="The API server has no mesh certificate; STRICT refuses it, and with failurePolicy Fail objects cannot "
        "be written.",
        fix="exempt the webhook's container port: rollout explain apiserver-callers",
        says=_any((r"failed calling webhook .{0,400}(?:EOF|connection reset|x509)", "failed calling webhook")),
        detail=re.compile(r"failed calling webhook \\?\"(?P<webhook>[^\"\\]{1,120})"),
    ),
    Pattern(
        id="probe-refused",
        title="A probe of the kubelet was refused",
        meaning="The probe was not rewritten to Istio's agent, and STRICT refuses the kubelet's plaintext.",
        fix="let the injector rewrite probes: rollout explain probes",
        says=_any(
            (
                r"(?:Readiness|Liveness|Startup) probe failed: .{0,300}(?:connection reset by peer|EOF)",
                "probe failed",
            )
        ),
    ),
    Pattern(
        id="upstream-cut",
        title="A stream was cut after it began",
        meaning="Work in flight at the end of a drain: a policy changed, and the listener was replaced.",
        fix="none, if it stood at a flip; else see who changes policies: kubectl get peerauthentications -A",
        says=_any("upstream reset after response started", "purging socket", "filter chain is being removed"),
        blocking=False,
    ),
    Pattern(
        id="connection-termination",
        title="The server closed the connection before it answered",
        meaning="At a client with a sidecar (503 UC): the server refused plaintext (DestinationRule DISABLE, the pod's "
        "own address), or refused the client's certificate. Only the server's log tells which.",
        fix="rollout diagnose --from POD.NS --to SERVICE.NS:PORT, and the same on the server's istio-proxy log",
        says=_any(
            "upstream reset before response started{connection termination",
            "reset reason: connection termination",
        ),
        detail=_CLUSTER,
    ),
    Pattern(
        id="connection-failure",
        title="No connection to the server came about",
        meaning="503 UF without a TLS text: the port is closed, the pod is gone, or a NetworkPolicy stands between.",
        fix="kubectl get endpointslices -n NAMESPACE; see the pod's ports and the NetworkPolicies",
        says=_any(
            (
                r"upstream reset before response started\{(?:remote |local )?connection failure",
                "connection failure",
            ),
            (r"reset reason: (?:remote |local )?connection failure", "connection failure"),
            "maybe a NetworkPolicy is blocking HBONE",
        ),
        detail=_CLUSTER,
        blocking=False,
    ),
    Pattern(
        id="no-healthy-upstream",
        title="The Service has no healthy pod",
        meaning="After a flip: probes that were not rewritten took the pods out of service.",
        fix="kubectl get pods -n NAMESPACE; rollout explain probes",
        says=_any("no healthy upstream"),
        blocking=False,
    ),
    Pattern(
        id="ztunnel-policy",
        title="ztunnel refused the connection by policy",
        meaning="In ambient mode: plaintext under STRICT, or an AuthorizationPolicy.",
        fix="istioctl ztunnel-config workload -o json shows the policies of the destination",
        says=_any((r"connection closed due to policy (?:rejection|change)", "due to policy")),
    ),
    Pattern(
        id="tcp-reset",
        title="A TCP connection was reset by the server",
        meaning="Flag UR: at a client's sidecar the server refused plaintext. `connection reset by peer` in an app "
        "without a sidecar (curl 56) is the same from the other end, and so is an end without an answer (curl 52).",
        fix="rollout diagnose --from POD.NS --to SERVICE.NS:PORT",
        says=_any(
            "connection reset by peer",
            "read ECONNRESET",
            "curl: (56)",
            "curl: (52)",
            flagged=(" ur ", '"ur', ",ur", "ur,"),
        ),
        flags=(frozenset({"UR"}),),
    ),
)
