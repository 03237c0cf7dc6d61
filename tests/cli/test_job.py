"""`rollout job`: what it prints is valid, least and safe, and what it applies was proven first."""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import job, main
from rollout.cli.parser import _assignment, parser
from rollout.cli.roles import binding, user
from rollout.lab.lab import Lab
from tests.real.kind.fields import mistakes

QUICK = Path(__file__).parents[1] / "lifecycle" / "quick.yaml"
SCENARIO = Path(__file__).parents[2] / "rollout" / "lab" / "scenarios" / "oldest-policy-wins.yaml"
PROMETHEUS = ("--prometheus", "http://prometheus.monitoring.svc:9090")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A ready namespace, with the real present, so that a plan without the lab's clock agrees."""
    with Lab.start("oldest-policy-wins", start=datetime.now(UTC)) as started:
        yield started


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    """The manifests."""
    assert main(["job", "production", "--print", *PROMETHEUS, *argv]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def of(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one of a kind."""
    (found,) = [d for d in documents if d["kind"] == kind]
    return found


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The two pod templates."""
    cron = of(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    return [of(documents, "Job")["spec"]["template"], cron]


def args_of(pod: dict[str, Any]) -> argparse.Namespace:
    """As the container's command line is read, after the kubelet's expansion."""
    return parser().parse_args([word.replace("$$", "$") for word in pod["spec"]["containers"][0]["args"]])


def test_the_arguments_are_valid_and_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """The Job leaves STRICT to the CronJob, and flips only where there is one; that looks where it has rights."""
    flip, watch = (args_of(pod) for pod in pods(printed(capsys, "--state-namespace", "records")))
    assert ("migrate", ["production"], True) == (flip.command, flip.namespaces, flip.yes)
    assert ("leave", True) == (flip.on_stop, flip.require_guard)
    assert ("records", "records") == (flip.state_namespace, watch.state_namespace)
    assert ("resume", True, ["production"]) == (watch.command, watch.all, watch.namespace)


def test_every_flag_of_an_assignment_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A new flag of `migrate` has to be placed."""
    probe = argparse.ArgumentParser(add_help=False)
    _assignment(probe)
    known = {*job.VALUES, *job.SWITCHES, *job.REPEATED, *job.SET, *job.FILES, *job.LOCAL}
    assert known == {action.dest for action in probe._actions}
    given = [
        *(
            "--waive",
            "probes=Pod production/*",
            "--exempt",
            "production/orders:8080",
            "--reason",
            "a $(WHY), $$ and $5",
        ),
        *(
            "--fixed",
            "a -> b@2026-03-02",
            "--permissive-since",
            "2026-03-01",
            "--max-rate",
            "0.5",
            "--until",
            "checking",
        ),
        *("--max-duration", "55m", "--metrics-match", 'cluster="eu1"', "--allow-idle", "--allow-system"),
        *("--short-evidence", "--accept-slow-rollback"),
        *("--override-owner", "--prometheus-header", "X-Scope-OrgID=team"),
    ]
    flip, watch = (args_of(pod) for pod in pods(printed(capsys, *given)))
    wanted = parser().parse_args(["migrate", "production", *PROMETHEUS, *given])
    for name in (*job.VALUES, *job.SWITCHES, *job.REPEATED, "prometheus", "prometheus_header"):
        assert getattr(wanted, name) == getattr(flip, name), name
    assert ["X-Scope-OrgID=team"] == watch.prometheus_header


def test_playbook_and_variables_go_into_a_config_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pod finds them where its arguments say."""
    variables = tmp_path / "more.yaml"
    variables.write_text("look_back: 2d\n", encoding="utf-8")
    documents = printed(capsys, "--playbook", str(QUICK), "-e", f"@{variables}")
    flip, watch = pods(documents)
    data = of(documents, "ConfigMap")["data"]
    assert {"quick.yaml": QUICK.read_text(encoding="utf-8"), "variables-0": "look_back: 2d\n"} == data
    assert "/etc/rollout/playbook/quick.yaml" == args_of(flip).playbook
    assert ["@/etc/rollout/playbook/variables-0"] == args_of(flip).extra_vars
    mounts = {mount["name"]: mount["mountPath"] for mount in flip["spec"]["containers"][0]["volumeMounts"]}
    assert "/etc/rollout/playbook" == mounts["playbook"]
    assert "playbook" not in {volume["name"] for volume in watch["spec"]["volumes"]}


def test_tokens_come_from_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Both processes are given them anew; the record holds none."""
    argv = ["--prometheus-token-secret", "thanos/token", "--prometheus-ca-secret", "thanos/ca.crt"]
    for pod in pods(printed(capsys, *argv)):
        volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "secrets")
        items = [source["secret"] for source in volume["projected"]["sources"]]
        assert [("thanos", "token"), ("thanos", "ca.crt")] == [(s["name"], s["items"][0]["key"]) for s in items]
        args = args_of(pod)
        paths = [f"/etc/rollout/secrets/{s['items'][0]['path']}" for s in items]
        assert paths == [args.prometheus_token, args.prometheus_ca]


def test_the_pods_fit_the_restricted_standard(capsys: pytest.CaptureFixture[str]) -> None:
    """No root, nothing to write but emptyDirs, no sidecar, no second try, no two at once."""
    documents = printed(capsys)
    for pod in pods(documents):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert (True, 65532) == (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"])
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
        assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert {item["value"] for item in container["env"]} <= writable
        assert "false" == pod["metadata"]["labels"]["sidecar.istio.io/inject"]
        assert ("Never", 60) == (spec["restartPolicy"], spec["terminationGracePeriodSeconds"])
    assert 0 == of(documents, "Job")["spec"]["backoffLimit"]
    assert 0 == of(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["backoffLimit"]
    assert "Forbid" == of(documents, "CronJob")["spec"]["concurrencyPolicy"]
    assert all(d["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "rollout" for d in documents)
    assert "Job" == documents[-1]["kind"]


def test_no_manifest_has_a_field_that_kubernetes_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """Field by field and type by type, with everything that can be mounted."""
    argv = ["--prometheus-token-secret", "thanos/token", "--playbook", str(QUICK), "--prometheus", "p.monitoring:9090"]
    documents = printed(capsys, *argv)
    assert {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap",
            "CronJob", "Job"} == {document["kind"] for document in documents}  # fmt: skip
    assert [] == [wrong for document in documents for wrong in mistakes(document)]
    documents[-1]["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    assert ["Job.spec.template.spec.containers[0].securityContext.readOnlyRootFileSystem: unknown field"] == mistakes(
        documents[-1]
    )


def test_the_rights_are_those_of_rollout_rbac(capsys: pytest.CaptureFixture[str]) -> None:
    """Rule by rule, bound to the ServiceAccount."""
    documents = printed(capsys)
    assert main(["rbac", "--namespace", "production"]) == 0
    wanted = {(d["kind"], d["metadata"]["name"]): d["rules"] for d in yaml.safe_load_all(capsys.readouterr().out)}
    assert wanted == {(d["kind"], d["metadata"]["name"]): d["rules"] for d in documents if "rules" in d}
    bound = [d for d in documents if d["kind"].endswith("Binding")]
    assert set(wanted) == {(d["roleRef"]["kind"], d["roleRef"]["name"]) for d in bound}
    subject = {"kind": "ServiceAccount", "namespace": "rollout", "name": "rollout"}
    assert all([subject] == d["subjects"] for d in bound)


def test_one_role_a_place_where_a_target_keeps_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Two roles of one name in one namespace would replace each other."""
    assert main(["rbac", "--namespace", "production", "--namespace", "web", "--state-namespace", "production"]) == 0
    found = [d for d in yaml.safe_load_all(capsys.readouterr().out) if d["kind"] == "Role"]
    rules = {d["metadata"]["namespace"]: {r["resources"][0] for r in d["rules"]} for d in found}
    assert {"production": {"peerauthentications", "configmaps", "leases"}, "web": {"peerauthentications"}} == rules
    assert 2 == len(found)


def test_json_is_a_list_for_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    """The same manifests."""
    documents = printed(capsys)
    assert main(["job", "production", "--print", *PROMETHEUS, "-o", "json"]) == 0
    assert {"apiVersion": "v1", "kind": "List", "items": documents} == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["prod*", *PROMETHEUS], "is no namespace's name"),
        (["production"], "no Prometheus is named"),
        (["production", "--prometheus", "http://ana:secret@p:9090"], "would stand in the Job"),
        (["production", *PROMETHEUS, "--prometheus-token", "token"], "--prometheus-token-secret SECRET/KEY"),
        (["production", *PROMETHEUS, "--prometheus-ca", "ca"], "--prometheus-ca-secret SECRET/KEY"),
        (["production", *PROMETHEUS, "--prometheus-token-secret", "thanos"], "SECRET/KEY"),
        (["production", *PROMETHEUS, "--on-stop", "roll_back"], "always leaves STRICT to its CronJob"),
        (["production", *PROMETHEUS, "--istioctl", "./istioctl"], "the image has no istioctl"),
        (["production", *PROMETHEUS, "--job-namespace", "production"], "its pod has no sidecar"),
        (["production", *PROMETHEUS, "--job-namespace", "Ops"], "is no name for it"),
        (["production", *PROMETHEUS, "--name", "n" * 46], "at most 45"),
        (["production", *PROMETHEUS, "--schedule", "5m"], "is no schedule"),
        (["production", *PROMETHEUS, "--waive", "nonsense=x", "--reason", "r"], "there is no check"),
        (["production", *PROMETHEUS, "--waive", "probes=x"], "needs --reason"),
        (["production", *PROMETHEUS, "--max-duration", "soon"], "is no duration"),
        (["production", *PROMETHEUS, "--playbook", str(SCENARIO)], "error"),
    ],
)
def test_a_mistake_is_told_here_and_not_at_night(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and nothing on stdout that somebody might pipe into kubectl."""
    assert main(["job", *argv, "--print"]) == 2
    shown = capsys.readouterr()
    assert "" == shown.out
    assert said in " ".join(shown.err.split())


def test_a_long_or_plural_name_stays_within_kubernetes_limits() -> None:
    """52 characters for a CronJob with its suffix; different targets get different names."""
    names = [job.job_name(["n" * 63]), job.job_name(["a", "b"]), job.job_name(["a", "c"]), job.job_name(["a"])]
    assert "migrate-a" == names[-1]
    assert len(set(names)) == len(names)
    assert all(len(f"{name}-resume") <= 52 for name in names)


def apply(lab: Lab, *more: str) -> int:
    """As the administrator."""
    return main(["job", "production", "--apply", "--yes", *PROMETHEUS, "--lab", lab.api_url, *more])


def real(lab: Lab) -> list[str]:
    """What was really written, in order."""
    return [write.resource for write in lab.store.writes if not write.dry_run]


def test_apply_creates_the_job_last_and_once(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Every write was proven by a dry run; a second time the Job is in the way, and nothing is written."""
    assert apply(lab) == 0
    written = real(lab)
    assert ["namespaces", "serviceaccounts"] == written[:2]
    assert ["cronjobs", "jobs"] == written[-2:]
    assert sorted(written) == sorted(write.resource for write in lab.store.writes if write.dry_run)
    assert apply(lab) == 3
    assert "Job rollout/migrate-production is there already" in capsys.readouterr().err
    assert written == real(lab)


def test_apply_brings_ours_up_to_date_and_leaves_theirs(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule changes; a ClusterRole without our label stays as it is, and that is said."""
    theirs = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "rollout-plan"}}
    lab.store.create(theirs)
    assert apply(lab) == 0
    lab.store.delete("batch/v1", "Job", "migrate-production", "rollout")
    assert apply(lab, "--schedule", "* * * * *") == 0
    out = capsys.readouterr().out
    assert 2 == out.count("ClusterRole rollout-plan: there already, left as it is")
    assert "CronJob rollout/migrate-production-resume: there already, brought up to date" in out
    cron = lab.store.get("batch/v1", "CronJob", "migrate-production-resume", "rollout")
    assert cron is not None
    assert "* * * * *" == cron["spec"]["schedule"]
    role = lab.store.get("rbac.authorization.k8s.io/v1", "ClusterRole", "rollout-plan")
    assert role is not None
    assert not role.get("rules")


def test_what_a_dry_run_refuses_is_not_half_done(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy engine that wants no such CronJob: nothing but the empty namespace was made."""
    lab.store.admission.append(
        lambda request: "images come from our registry only" if request.resource.plural == "cronjobs" else None
    )
    assert apply(lab) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "CronJob rollout/migrate-production-resume" in said
    assert "images come from our registry only" in said
    assert ["namespaces"] == real(lab)


def as_ana(folder: Path, roles: list[dict[str, Any]]) -> str:
    """A scenario whose user may write every kind that is applied, and holds these roles besides."""
    kinds = {
        "": ["namespaces", "serviceaccounts", "configmaps"],
        "rbac.authorization.k8s.io": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
        "batch": ["jobs", "cronjobs"],
    }
    rules = [{"apiGroups": [g], "resources": r, "verbs": ["get", "list", "create", "patch"]} for g, r in kinds.items()]
    writer = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "writer"}}
    bound = [{**writer, "rules": rules}, *roles]
    scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
    scenario["user"] = "ana"
    istiod = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]}
    bound[0]["rules"].append(istiod)
    scenario["manifests"] += bound + [binding(role, user("ana")) for role in bound]
    path = folder / "ana.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return str(path)


def test_rights_that_the_caller_lacks_are_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RBAC lets nobody give what he does not have: said before anything but the empty namespace is written."""
    with Lab.start(as_ana(tmp_path, [])) as lab:
        assert apply(lab) == 3
        said = " ".join(capsys.readouterr().err.split())
        assert "ClusterRole rollout-plan: you may not give rights that you do not have yourself" in said
        assert 'Resources:["peerauthentications"], Verbs:["list"]' in said
        assert "let an administrator apply what rollout job … --print prints" in said
        assert ["namespaces"] == real(lab)


def test_whoever_has_the_rights_may_give_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without being an administrator; a binding is proven when its role is there."""
    given = [role for role in printed(capsys) if "rules" in role]
    for role in given:
        role["metadata"] = {**role["metadata"], "name": "anas-" + role["metadata"]["name"]}
    with Lab.start(as_ana(tmp_path, given)) as lab:
        assert apply(lab) == 0, capsys.readouterr().err
        assert ["cronjobs", "jobs"] == real(lab)[-2:]
        assert {"ana"} == {write.user for write in lab.store.writes}


def test_apply_knows_globs_and_asks(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal it wants --yes, before anything is written."""
    assert main(["job", "prod*", "--apply", *PROMETHEUS, "--lab", lab.api_url]) == 2
    assert "nobody is there to be asked" in capsys.readouterr().err
    assert [] == real(lab)
    assert main(["job", "prod*", "--apply", "--confirm", "production", *PROMETHEUS, "--lab", lab.api_url]) == 0
    assert main(["job", "nowhere", "--apply", "--yes", *PROMETHEUS, "--lab", lab.api_url]) == 2


def test_prometheus_through_the_api_server_with_the_accounts_own_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`get services/proxy` on that one Service is in the manifests, and enough; without it the plan cannot see."""
    argv = ["job", "production", "--print", "--prometheus", "prometheus.monitoring:9090"]
    assert main(argv) == 0
    documents = [d for d in yaml.safe_load_all(capsys.readouterr().out) if "rbac" in d["apiVersion"]]
    ends = []
    for given in (documents, [d for d in documents if d["metadata"].get("namespace") != "monitoring"]):
        scenario = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))
        scenario["user"] = "system:serviceaccount:rollout:rollout"
        scenario["manifests"] += given
        path = tmp_path / "scenario.yaml"
        path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
        with Lab.start(path, start=datetime.now(UTC)) as lab:
            config = tmp_path / "config"
            config.write_text(lab.kubeconfig, encoding="utf-8")
            plan = ["plan", "production", "--kubeconfig", str(config), "--playbook", str(QUICK)]
            ends.append(main([*plan, "--prometheus", "prometheus.monitoring:9090"]))
    assert [0, 4] == ends


def test_a_forged_journal_does_not_disarm_the_dead_mans_switch(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """`resume --all` says it, takes up the others, and ends with its code; `--namespace` does not even look there."""
    argv = ["migrate", "production", "--yes", "--playbook", str(QUICK), "--lab", lab.api_url]
    assert main([*argv, "--until", "checking"]) == 7
    labels = {"app.kubernetes.io/managed-by": "rollout", "rollout.dev/run-id": "web-20260302-1012-aaaa"}
    metadata = {"name": "rollout-web-20260302-1012-aaaa", "namespace": "default", "labels": labels}
    lab.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"e00000001": "{}"}})
    capsys.readouterr()
    assert main(["resume", "--all", "--lab", lab.api_url]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "rollout-web-20260302-1012-aaaa" in out
    assert "is left alone: --until checking" in out
    assert main(["resume", "--all", "--namespace", "production", "--lab", lab.api_url]) == 0
    assert "rollout-web" not in capsys.readouterr().out


def test_all_and_a_name_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Which one was meant?"""
    assert main(["resume", "production", "--all"]) == 2
    assert "rollout resume production, or" in " ".join(capsys.readouterr().err.split())


def test_a_job_has_no_working_copy(capsys: pytest.CaptureFixture[str]) -> None:
    """Said at once, and not by a Job that does something else."""
    assert 2 == main(["job", "production", "--print", *PROMETHEUS, "--repo", "/mesh"])
    assert "a Job has no working copy to edit" in capsys.readouterr().err
