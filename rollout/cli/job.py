"""`rollout job`: the runner of a pipeline as an in-cluster Job, and the CronJob that takes over when it dies."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rollout.cli.applying import apply
from rollout.cli.assignment import playbook, spec, targets
from rollout.cli.manifests import BOOK, SECRETS, Place, Runner, manifests
from rollout.cli.migrate import confirm
from rollout.cli.output import tell
from rollout.cli.wiring import ports
from rollout.errors import Outcome, UsageError
from rollout.model.istio import MeshConfig
from rollout.record.spec import Origin

#: The namespace that is made for Job and CronJob when none is named.
HOME = "rollout"
#: Flags of `migrate` that go on to the Job as they are, by how they are written.
VALUES = ("permissive_since", "reason", "max_rate", "until", "max_duration", "metrics_match")
SWITCHES = ("allow_idle", "allow_system", "override_owner", "short_evidence", "accept_slow_rollback")
REPEATED = ("waive", "exempt", "fixed")
#: Flags of `migrate` that the Job sets itself, and those that become files.
SET, FILES = ("require_guard", "on_stop"), ("playbook", "extra_vars")
#: A Job has no working copy; what is to be committed stands in its log.
LOCAL = ("repo",)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PROXIED = re.compile(r"(?:(https?):)?([a-z0-9-]+)\.([a-z0-9-]+):([a-z0-9-]+)(?:/\S*)?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


def job(args: Any) -> int:
    """Print the manifests, or apply them."""
    if args.repo:
        raise UsageError("a Job has no working copy to edit", where="--repo", next="commit what its log proposes")
    if args.print:
        named = [name for name in args.namespaces if not _NAME.fullmatch(name)]
        if named:
            raise UsageError(
                f"{named[0]!r} is no namespace's name",
                limit="rights are given namespace by namespace",
                next="name each namespace, or --apply, which asks the cluster what a glob means",
            )
        return _printed(args, manifests(runner(args, args.namespaces)))
    with ports(args) as p:
        names = targets(p.cluster, args)
        wanted = runner(args, names)
        confirm(args, names)
        lines = apply(p.cluster, manifests(wanted))
    lines.append(f"Next: kubectl -n {wanted.home} logs -f job/{wanted.name}, or rollout status")
    lines.append(f"When it has ended: kubectl -n {wanted.home} delete cronjob {wanted.name}-resume")
    tell("\n".join(lines) + "\n")
    return Outcome.DONE.exit_code


class _Readable(yaml.SafeDumper):
    """A playbook stays a text of many lines, and equal lists are written out."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """None."""
        return True


_Readable.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def _printed(args: Any, documents: list[dict[str, Any]]) -> int:
    if args.output == "json":
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=1)
    else:
        text = yaml.dump_all(documents, Dumper=_Readable, sort_keys=False).rstrip()
    tell(text + "\n")
    return Outcome.DONE.exit_code


def runner(args: Any, names: list[str]) -> Runner:
    """From flags to what is asked for; a mistake is told here, not by a Job that fails at night.

    Raises:
        UsageError: a flag or the playbook is wrong.
    """
    home = args.job_namespace or HOME
    _checked(args, names, home)
    book = playbook(args.playbook, args.extra_vars, names)
    spec(args, book, namespace=names[0], now=datetime.now(UTC), origin=Origin(), mesh=MeshConfig(), earlier=(),
         plan=False)  # fmt: skip
    files, assigned = _files(args)
    secrets = (
        (args.prometheus_token_secret, "--prometheus-token-secret"),
        (args.prometheus_ca_secret, "--prometheus-ca-secret"),
    )
    access = _access(args)
    past = [f"--prometheus-history={args.prometheus_history}"] if args.prometheus_history else []
    place = ["--state-namespace", args.state_namespace] if args.state_namespace else []
    only = [word for name in names for word in ("--namespace", name)]
    return Runner(
        name=args.name or job_name(names),
        namespaces=tuple(names),
        home=home,
        own_home=not args.job_namespace,
        image=args.image,
        schedule=args.schedule,
        migrate=("migrate", *names, "--yes", "--require-guard", "--on-stop", "leave",
                 f"--prometheus={args.prometheus}", *past, *access, *place, *assigned, *_passed(args)),
        resume=("resume", "--all", *only, *access, *place),
        state_namespace=args.state_namespace,
        files=files,
        secrets=tuple(_secret(text, flag) for text, flag in secrets if text),
        proxy=_proxy(args.prometheus),
    )  # fmt: skip


def job_name(names: list[str]) -> str:
    """`migrate-production`; several, or a long name, end in a hash. A CronJob's name has 52 characters at most."""
    plain = f"migrate-{names[0]}"
    if len(names) == 1 and len(plain) <= 45:
        return plain
    digest = hashlib.sha256(",".join(names).encode()).hexdigest()[:6]
    return f"{plain[:38].rstrip('-')}-{digest}"


def _checked(args: Any, names: list[str], home: str) -> None:
    if not args.prometheus:
        raise UsageError("no Prometheus is named", where="--prometheus",
                         next="--prometheus http://SERVICE.NAMESPACE.svc:9090, as seen from a pod")  # fmt: skip
    if "@" in args.prometheus:
        raise UsageError("a password in --prometheus would stand in the Job for everybody to read",
                         where="--prometheus", next="--prometheus-token-secret SECRET/KEY")  # fmt: skip
    for flag, value in (("--prometheus-token", args.prometheus_token), ("--prometheus-ca", args.prometheus_ca)):
        if value:
            raise UsageError(f"{flag} names a file of this machine, which the Job does not have",
                             where=flag, next=f"{flag}-secret SECRET/KEY, a Secret in {home}")  # fmt: skip
    if args.on_stop != "leave":
        raise UsageError("a Job that is stopped always leaves STRICT to its CronJob", where="--on-stop",
                         next="leave the flag out")  # fmt: skip
    if args.istioctl != "istioctl":
        raise UsageError("the image has no istioctl, and the file is on this machine only", where="--istioctl",
                         next="an --image that has istioctl on its PATH")  # fmt: skip
    if home in names:
        raise UsageError(f"the Job would run in {home}, which it migrates: its pod has no sidecar, and would block it",
                         where="--job-namespace", next="choose a namespace that is no target")  # fmt: skip
    for text, where in ((home, "--job-namespace"), (args.name or "a", "--name")):
        if not _NAME.fullmatch(text) or len(text) > (45 if where == "--name" else 63):
            limit = "lower-case letters, digits and '-'; a Job's at most 45"
            raise UsageError(f"{text!r} is no name for it", limit=limit, where=where)
    if len(args.schedule.split()) != 5:
        raise UsageError(f"{args.schedule!r} is no schedule", limit="five fields, such as */5 * * * *",
                         where="--schedule")  # fmt: skip


def _files(args: Any) -> tuple[dict[str, str], list[str]]:
    """The playbook and the files of variables, and the arguments that name them where the pod has them."""
    files: dict[str, str] = {}
    words: list[str] = []
    if args.playbook:
        name = Path(args.playbook).name
        name = name if _KEY.fullmatch(name) else "playbook.yaml"
        files[name] = Path(args.playbook).read_text(encoding="utf-8")
        words += ["--playbook", f"{BOOK}/{name}"]
    for number, text in enumerate(args.extra_vars):
        if text.startswith("@"):
            files[f"variables-{number}"] = Path(text[1:]).read_text(encoding="utf-8")
            text = f"@{BOOK}/variables-{number}"  # noqa: PLW2901
        words.append(f"--extra-vars={text}")
    return files, words


def _passed(args: Any) -> list[str]:
    words = [f"{_flag(name)}={getattr(args, name)}" for name in VALUES if getattr(args, name) not in (None, "")]
    words += [_flag(name) for name in SWITCHES if getattr(args, name)]
    return words + [f"{_flag(name)}={text}" for name in REPEATED for text in getattr(args, name)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _access(args: Any) -> list[str]:
    """What a record does not hold and each process is given anew."""
    words = [f"--prometheus-header={text}" for text in args.prometheus_header]
    if args.prometheus_token_secret:
        words += ["--prometheus-token", f"{SECRETS}/prometheus-token"]
    if args.prometheus_ca_secret:
        words += ["--prometheus-ca", f"{SECRETS}/prometheus-ca"]
    return words


def _secret(text: str, flag: str) -> tuple[str, str, str]:
    name, sign, key = text.partition("/")
    if not (sign and name and _KEY.fullmatch(key)):
        raise UsageError(f"{text!r} is no key of a Secret", limit="SECRET/KEY", where=flag)
    return name, key, flag.removeprefix("--").removesuffix("-secret")


def _proxy(address: str) -> Place | None:
    """`[https:]SERVICE.NAMESPACE:PORT` goes through the API server, under the name that RBAC compares."""
    found = _PROXIED.fullmatch(address)
    if found is None:
        return None
    scheme, service, namespace, port = found.groups()
    return Place(namespace, f"{scheme}:{service}:{port}" if scheme else f"{service}:{port}")
