"""Local accounts that Okta's app doesn't have: a sweep says so, names few and counts many, and changes none of them."""

from pathlib import Path

import pytest

from support.world import open_world


def test_few_are_named_with_the_command_to_run(tmp_path: Path) -> None:
    with open_world(tmp_path) as w:
        w.first_run()
        w.local("ann@example.org")
        w.local("known@example.org")
        w.org.set_app_user(w.people()[0]["okta_id"], credentials={"userName": "known@example.org"}, status="STAGED")
        before = w.accounts()
        report = w.reconcile(apply=False)
        found = [f for f in report.findings if f.code.value == "import_candidate"]
        assert [f.login for f in found] == ["ann@example.org"]
        assert "opshelm-agent import plan --user ann@example.org" in found[0].detail
        assert report.counts["import_candidate"] == 1
        assert w.accounts() == before


def test_nobody_is_told_to_bring_a_protected_account_in(tmp_path: Path) -> None:
    with open_world(tmp_path) as w:
        w.first_run()
        spare = w.local("spare@example.org")
        w.acts().protect(spare.id, protected=True)
        (found,) = [f for f in w.reconcile(apply=False).findings if f.code.value == "import_candidate"]
        assert found.login == "spare@example.org"
        assert "import plan" not in found.detail
        assert "protected" in found.detail


@pytest.mark.parametrize(("locals_", "findings"), [(20, 20), (21, 1)])
def test_many_are_counted_in_one_line(tmp_path: Path, locals_: int, findings: int) -> None:
    with open_world(tmp_path, users=2) as w:
        w.first_run()
        for n in range(locals_):
            w.local(f"local{n}@example.org")
        report = w.reconcile(apply=False)
        found = [f for f in report.findings if f.code.value == "import_candidate"]
        assert len(found) == findings
        assert report.counts["import_candidate"] == locals_
        if findings == 1:
            assert "21 local OpsHelm accounts" in found[0].detail
            assert "opshelm-agent import list" in found[0].detail
