"""The command line: argparse alone, so that `--help` loads nothing slow."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any, NoReturn

from rollout import __version__
from rollout.cli.output import complain, tell
from rollout.errors import UsageError

_NAME = "rollout"
EXAMPLES = """examples:
  rollout demo                          see it work: no cluster, no Docker, no network
  rollout plan production               what would happen, and what stands in the way
  rollout migrate production            take the namespace to STRICT mutual TLS
  rollout diagnose production           why mutual TLS does not work there
  rollout evidence production           who calls it, and how; --access-logs names the nameless
  rollout status                        where every run stands
  rollout rollback production           take it back
"""


class Wrong(SystemExit):
    """A command line that cannot be read: exit 2, and why."""

    def __init__(self, error: UsageError) -> None:
        """Keep the sentence for other formats than text."""
        super().__init__(error.outcome.exit_code)
        self.error = error


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        """Argparse's own keeps still when the help cannot be written."""
        if message:
            (tell if file is sys.stdout else complain)(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What a command does not know is answered with that command's help, not with the whole tool's."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = " ".join(part for part in (_NAME, getattr(found, "command", "")) if part)
            self._refuse(f"`{command}` knows no {' '.join(unknown)}", f"{command} --help")
        return found

    def error(self, message: str) -> NoReturn:
        """One sentence and the next command, as for every other error; exit 2."""
        following = f"{self.prog} --help"
        wrong = re.search(r"argument (\S+): invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            import difflib

            choices = re.findall(r"[\w-]+", wrong[3])
            near = difflib.get_close_matches(wrong[2], choices, n=1)
            guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(choices)}"
            name = wrong[1].rpartition("/")[2]
            kind = name if name.startswith("-") else name.lower()
            message = f"there is no {kind} {wrong[2]!r}; {guess}"
            following = f"{self.prog} {near[0]} --help" if near and self.prog == _NAME else following
        self._refuse(message, following)

    def _refuse(self, message: str, following: str) -> NoReturn:
        self._print_message(f"rollout: {message}\n    next    {following}\n", sys.stderr)
        raise Wrong(UsageError(message, next=following))


def together(args: Any) -> None:
    """Flags that contradict each other.

    Raises:
        UsageError: one of them would be passed over without a word.
    """
    if getattr(args, "all_namespaces", False) and args.namespaces:
        named = " ".join(args.namespaces)
        raise UsageError(f"-A means every namespace, and {named} is named as well", where="--all-namespaces",
                         next=f"rollout {args.command} {named}")  # fmt: skip
    # A Job's --prometheus is what its pod will ask.
    given = [f"--{name}" for name in ("kubeconfig", "context", "prometheus") if getattr(args, name, "")]
    lab = getattr(args, "lab", None) or ""
    if lab and not lab.startswith("http://") and given and args.command != "job":
        others = " and ".join(given)
        raise UsageError(f"--lab brings a cluster and its Prometheus along, and {others} would not be used",
                         where="--lab", next=f"leave out --lab, or {others}")  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The whole tree of commands."""
    root: argparse.ArgumentParser = _Parser(
        prog=_NAME,
        description="Takes namespaces in an Istio mesh to STRICT mutual TLS, and back by itself when that did harm.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"rollout {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _runs(commands)
    _records(commands)
    _jobs(commands)
    _diagnosis(commands)
    _knowledge(commands)
    return root


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: str, function: str, text: str
) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text)
    made.set_defaults(module=module, function=function)
    return made


def _runs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    migrate = _command(commands, "migrate", "migrate", "migrate", "take namespaces to STRICT mutual TLS")
    plan = _command(commands, "plan", "migrate", "plan", "report what migrate would do, without writing anything")
    for made in (migrate, plan):
        _targets(made)
        _cluster(made)
        _assignment(made)
    migrate.add_argument("--dry-run", action="store_true", help="the same as plan")
    plan.add_argument("--suggest-exemptions", action="store_true", help="print only the block for a playbook's exempt:")
    migrate.add_argument("--yes", action="store_true", help="do not ask")
    migrate.add_argument("--confirm", metavar="NAMESPACE", help="the answer to the question, for a pipeline")
    _evidence(commands)
    demo = _command(commands, "demo", "demo", "demo", "watch three acts on the embedded lab")
    demo.add_argument("--state", metavar="DIR", help="where the record goes (default: the state folder)")


def _evidence(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "who calls the namespaces, and how: plaintext first, then unproven, then clean"
    made = _command(commands, "evidence", "evidence", "evidence", text)
    made.epilog = (
        "Exit status: 0 clean or idle, 3 plaintext, 4 no data. --access-logs needs the right to get pods/log in the "
        "namespaces, which no other command asks for: rollout rbac --for evidence --namespace NAMESPACE prints it."
    )
    _targets(made)
    _cluster(made, ("text", "json", "csv"))
    group = made.add_argument_group("evidence")
    group.add_argument("--look-back", default="8d", metavar="TIME", help="default: 8d")
    group.add_argument("--metrics-match", default="", metavar="MATCHERS", help="in every query, e.g. 'cluster=\"eu1\"'")
    logs = made.add_argument_group("access logs")
    logs.add_argument("--access-logs", action="store_true", help="look for nameless callers in the sidecars' logs")
    logs.add_argument("--since", default="1h", metavar="TIME", help="no older lines; default: 1h")
    logs.add_argument("--max-pods", type=int, default=20, metavar="N", help="of a namespace; default: 20")
    logs.add_argument("--max-bytes", default="10MB", metavar="SIZE", help="of a namespace; default: 10MB")


def _targets(made: argparse.ArgumentParser) -> None:
    made.add_argument("namespaces", nargs="*", metavar="NAMESPACE", help="names or globs")
    made.add_argument("-l", "--selector", default="", help="label selector of namespaces")
    made.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace with sidecar injection")


def _cluster(made: argparse.ArgumentParser, outputs: tuple[str, ...] = ("text", "json")) -> None:
    group = made.add_argument_group("cluster")
    group.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, ~/.kube/config, in-cluster")
    group.add_argument("--context", metavar="NAME")
    group.add_argument("--as", dest="impersonate", default="", metavar="USER", help="act as this user")
    named = "default: the run's; for a new one, Services that look like it are asked about"
    group.add_argument("--prometheus", metavar="URL|SERVICE.NAMESPACE:PORT", default="", help=named)
    group.add_argument("--prometheus-history", metavar="ADDRESS", default="", help="for the look-back, e.g. Thanos")
    group.add_argument("--prometheus-token", metavar="FILE", help="file with a bearer token")
    group.add_argument("--prometheus-ca", metavar="FILE", help="CA bundle")
    group.add_argument("--prometheus-header", action="append", default=[], metavar="NAME=VALUE", help="e.g. a tenant")
    group.add_argument("--istioctl", metavar="FILE", default="istioctl")
    group.add_argument("--state-namespace", default="", metavar="NS", help="where ConfigMap and Lease live")
    group.add_argument("--lab", metavar="SCENARIO|URL", help="an embedded mesh instead of a cluster (rollout lab list)")
    group.add_argument("-o", "--output", choices=outputs, default="text")


def _assignment(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("assignment")
    group.add_argument("--playbook", metavar="FILE", help="default: the shipped strict-mtls.yaml")
    group.add_argument("-e", "--extra-vars", action="append", default=[], metavar="NAME=VALUE|@FILE")
    group.add_argument("--waive", action="append", default=[], metavar="CHECK=OBJECT", help="this may be cut")
    group.add_argument(
        "--exempt",
        action="append",
        default=[],
        metavar="OBJECT|NS/WORKLOAD:PORT",
        help="this must go on working: accept a policy, or keep a port PERMISSIVE",
    )
    group.add_argument("--fixed", action="append", default=[], metavar="EDGE@TIME", help="a repaired caller")
    group.add_argument("--permissive-since", metavar="DATE", help="when plaintext began to be accepted")
    group.add_argument("--short-evidence", action="store_true", help="take what Prometheus knows, watch 4x as long")
    group.add_argument("--reason", default="", metavar="TEXT", help="goes with the five above")
    group.add_argument(
        "--max-rate",
        type=_rate,
        metavar="RATE",
        help="ceiling of a nameless caller's waiver, or of plaintext near an exempt port: 0.5/s, 3/h, 14/d",
    )
    group.add_argument("--allow-idle", action="store_true", help="without a terminal: no traffic passes")
    group.add_argument("--allow-system", action="store_true", help="take a system namespace")
    group.add_argument("--override-owner", action="store_true", help="write although another manager owns the object")
    group.add_argument("--repo", default="", metavar="DIR", help="strict: {via: commit}: edit the policy's file there")
    group.add_argument(
        "--accept-slow-rollback", action="store_true", help="flip by commit although a revert may be slow"
    )
    group.add_argument("--require-guard", action="store_true", help="no flip if nobody would pick the run up")
    group.add_argument("--until", choices=("permissive", "confirming", "checking"), default="")
    group.add_argument("--on-stop", choices=("roll_back", "leave"), default="roll_back")
    group.add_argument("--max-duration", metavar="TIME", help="refuse to flip unless all still fits, e.g. 55m")
    group.add_argument("--metrics-match", default="", metavar="MATCHERS", help="in every query, e.g. 'cluster=\"eu1\"'")


def _records(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = _command(commands, "status", "runs", "status", "where every run stands")
    resume = _command(commands, "resume", "runs", "resume", "go on with a run, from any machine")
    back = _command(commands, "rollback", "runs", "rollback", "take a namespace back to PERMISSIVE")
    for made in (status, resume, back):
        made.add_argument("run", nargs="?", default="", metavar="RUN|NAMESPACE")
        _cluster(made)
    resume.add_argument("--all", action="store_true", help="every run that a dead process left behind")
    resume.add_argument("--namespace", action="append", default=[], metavar="NS", help="with --all: of this one only")
    back.add_argument("--to-start", action="store_true", help="go on to what was there before the run")
    for name, text in (
        ("approve", "say yes to the task that a run waits for"),
        ("hold", "make a run wait before the flip"),
        ("stop", "ask a run to stop in order"),
    ):
        made = _command(commands, name, "runs", "request", text)
        made.add_argument("run", metavar="RUN|NAMESPACE")
        made.add_argument("--task", default="", help="the task that is approved")
        made.add_argument("--reason", default="", metavar="TEXT")
        _cluster(made)


def _jobs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    job = _command(commands, "job", "job", "job", "a migration as an in-cluster Job, with a CronJob that takes over")
    job.add_argument("namespaces", nargs="+", metavar="NAMESPACE", help="names; globs with --apply")
    deed = job.add_mutually_exclusive_group(required=True)
    deed.add_argument("--print", action="store_true", help="manifests on stdout, for kubectl or a repository")
    deed.add_argument("--apply", action="store_true", help="create them, after a server dry run of each")
    job.add_argument("--image", default=f"rollout:{__version__}", help="default: %(default)s, from the Dockerfile")
    job.add_argument("--schedule", default="*/5 * * * *", help="when to look for a dead run (default: %(default)s)")
    job.add_argument("--job-namespace", default="", metavar="NS", help="default: one of their own, named rollout")
    job.add_argument("--name", default="", help="of the Job (default: migrate-NAMESPACE)")
    job.add_argument("--prometheus-token-secret", default="", metavar="SECRET/KEY", help="instead of a file")
    job.add_argument("--prometheus-ca-secret", default="", metavar="SECRET/KEY", help="instead of a file")
    job.add_argument("--yes", action="store_true", help="do not ask before --apply")
    job.add_argument("--confirm", metavar="NAMESPACE", help="the answer to the question, for a pipeline")
    _cluster(job)
    _assignment(job)
    job.set_defaults(selector="", all_namespaces=False, require_guard=True, on_stop="leave")


def _diagnosis(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = _command(commands, "diagnose", "diagnose", "diagnose", "why mutual TLS does not work here")
    made.add_argument(
        "target", nargs="?", default="", metavar="NAMESPACE|POD.NAMESPACE|-", help="`-` reads a proxy's log from stdin"
    )
    made.add_argument("--from", dest="source", default="", metavar="POD.NAMESPACE", help="the client of a call")
    made.add_argument(
        "--to", default="", metavar="SERVICE.NAMESPACE:PORT", help="what it calls; a pod's name works too"
    )
    made.add_argument("--method", metavar="METHOD", help="of the request, for AuthorizationPolicies and --probe")
    made.add_argument("--path", metavar="PATH", help="of the request, for AuthorizationPolicies and --probe")
    made.add_argument(
        "--logs",
        metavar="TIME",
        default="",
        help="follow the proxies' logs for so long, e.g. 60s; raises their loggers to debug, and puts them back",
    )
    made.add_argument(
        "--probe", nargs="?", const="pod", default="", choices=("pod", "exec"), metavar="exec",
        help="try the call: from a pod like the caller, deleted afterwards, or (--probe=exec) by curl in the caller",
    )  # fmt: skip
    made.add_argument(
        "--probe-image", default="", metavar="IMAGE", help="has curl and sleep (default: curlimages/curl)"
    )
    made.add_argument(
        "--probe-container", default="", metavar="NAME", help="for exec: of the caller (default: its first; never "
        "istio-proxy, whose calls go past the proxy)",
    )  # fmt: skip
    made.add_argument("--yes", action="store_true", help="do not ask before a probe")
    _cluster(made)


def _knowledge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = _command(commands, "explain", "knowledge", "explain", "what a check or signal looks at, why, and the fix")
    explain.add_argument("id", metavar="ID")
    checks = _command(commands, "checks", "knowledge", "checks", "the checks")
    checks.add_argument("action", choices=("list",), nargs="?", default="list")
    playbook = _command(commands, "playbook", "knowledge", "playbook", "the playbooks")
    playbook.add_argument("action", choices=("list", "show", "lint"))
    playbook.add_argument("file", nargs="?", default="", metavar="FILE")
    playbook.add_argument("-e", "--extra-vars", action="append", default=[], metavar="NAME=VALUE")
    rbac = _command(commands, "rbac", "knowledge", "rbac", "the least rights, as manifests")
    rbac.add_argument(
        "--for", dest="purpose", choices=("plan", "migrate", "evidence", "diagnose", "probe"), default="migrate",
        help="evidence: get pods/log for its --access-logs; diagnose: pods/exec, too; probe: for diagnose --probe",
    )  # fmt: skip
    rbac.add_argument("--namespace", action="append", default=[], metavar="NS", help="to migrate; repeatable")
    rbac.add_argument("--state-namespace", default="", metavar="NS")
    rbac.add_argument("--user", default="", metavar="NAME", help="bind them to this user")
    _lab(commands)
    _command(commands, "version", "knowledge", "version", "versions")
    topic = _command(commands, "help", "knowledge", "topic", "help on a topic")
    topic.add_argument("topic", choices=("exit-codes",))


def _lab(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lab = _command(commands, "lab", "lab", "lab", "the scenarios of the embedded lab, and a server that plays one")
    lab.add_argument("action", choices=("list", "up"), nargs="?", default="list")
    lab.add_argument("scenario", nargs="?", default="", metavar="SCENARIO|FILE", help="up: which one to serve")
    lab.add_argument("--port", type=_port, default=0, metavar="N", help="up: on loopback (default: a free one)")
    lab.add_argument("--prometheus", default="", metavar="URL", help="up: an empty Prometheus that is to evaluate")
    lab.add_argument(
        "--api", default="", metavar="KUBECONFIG", help="up: of an empty kube-apiserver that is to hold the objects"
    )
    lab.add_argument("--kubeconfig-out", default="", metavar="FILE", help="up: a new file (default: a temporary one)")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port from 0 to 65535")
    return number


def _rate(text: str) -> float:
    from rollout.playbook.rates import per_second

    found = per_second(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; such as 0.5 (per s), 0.5/s, 30/m, 3/h or 14/d")
    return found
