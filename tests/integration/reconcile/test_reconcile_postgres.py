"""The same reconciler on PostgreSQL: staging by COPY, the compare statement, batches with fences, a ring of renames."""

from pathlib import Path

from support.world import World, open_world


def rename(w: World, okta_id: str, name: str) -> None:
    w.org.set_app_user(okta_id, credentials={"userName": name}, profile={"email": name})


def test_drift_of_several_kinds_is_in_step_after_one_run(tmp_path: Path, postgres_url: str) -> None:
    with open_world(tmp_path, users=30, url=postgres_url, reconcile={"page_size": 7, "batch": 4}) as w:
        w.first_run()
        people = w.people()
        one, two, gone, off, changed = people[:5]
        rename(w, one["okta_id"], two["login"])
        rename(w, two["okta_id"], one["login"])
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{gone['okta_id']}")
        w.change(off["login"], active=False)
        w.change(changed["login"], title="Changed", nickName="Mine")
        report = w.reconcile()
        assert report.outcome == "applied"
        assert [a.kind.value for a in report.plan.plan.actions] == [
            "deactivate",
            "rename_cycle",
            "update",
            "reactivate",
        ]
        assert w.account(two["login"]).okta_id == one["okta_id"]
        assert not w.account(gone["login"]).active
        rows = w.journal_rows()
        assert w.reconcile().outcome == "in_step"
        assert w.journal_rows() == rows
