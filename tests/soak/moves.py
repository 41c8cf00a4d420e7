"""What people do in a soak: an administrator in Okta, and an operator with commands. Each move is one step; any may be refused."""

import contextlib
from collections.abc import Callable
from typing import Any

import httpx

from agent.model.codes import HeldCode
from agent.model.holds import Decision, releasable
from soak.stage import Stage
from soak.truth import Blocked, Book
from support.processes import document

Move = Callable[[Stage, Book], None]


def okta(stage: Stage, method: str, path: str, body: Any = None) -> Any:
    """Okta may forbid it, such as suspending who is suspended, or be ill just now."""
    with contextlib.suppress(httpx.HTTPError):
        return stage.org.api(method, path, body)
    return None


def somebody(stage: Stage, *, assigned: bool | None = None) -> dict[str, Any]:
    people = stage.org.state("expected=false")
    fitting = [p for p in people if assigned is None or (p["app_user"] is not None) == assigned]
    return stage.draw.choice(fitting or people)


# In Okta


def title(stage: Stage, book: Book) -> None:
    person = somebody(stage, assigned=True)
    okta(stage, "POST", f"/users/{person['okta_id']}", {"profile": {"title": f"Title {book.next_number()}"}})


def leave(stage: Stage, _: Book) -> None:
    okta(stage, "DELETE", f"/apps/{stage.org.app_id}/users/{somebody(stage, assigned=True)['okta_id']}")


def come_back(stage: Stage, _: Book) -> None:
    okta(stage, "POST", f"/apps/{stage.org.app_id}/users", {"id": somebody(stage, assigned=False)["okta_id"]})


def join(stage: Stage, book: Book) -> None:
    login = f"joiner{book.next_number()}@example.com"
    profile = {"login": login, "email": login, "firstName": "Jo", "lastName": "Iner"}
    made = okta(stage, "POST", "/users?activate=true", {"profile": profile})
    if made is not None:
        okta(stage, "POST", f"/apps/{stage.org.app_id}/users", {"id": made["id"]})


def rename(stage: Stage, book: Book) -> None:
    login = f"renamed{book.next_number()}@example.com"
    okta(
        stage,
        "POST",
        f"/users/{somebody(stage, assigned=True)['okta_id']}",
        {"profile": {"login": login, "email": login}},
    )


def suspend(stage: Stage, _: Book) -> None:
    verb = stage.draw.choice(("suspend", "unsuspend"))
    okta(stage, "POST", f"/users/{somebody(stage, assigned=True)['okta_id']}/lifecycle/{verb}")


def wrong_group(stage: Stage, _: Book) -> None:
    """A quarter of the company loses the app at once, pushes lost or not."""
    people = [p for p in stage.org.state("expected=false") if p["app_user"] is not None]
    for person in stage.draw.sample(people, len(people) // 4):
        okta(stage, "DELETE", f"/apps/{stage.org.app_id}/users/{person['okta_id']}")


def right_group(stage: Stage, _: Book) -> None:
    for person in stage.org.state("expected=false"):
        if person["app_user"] is None and stage.draw.random() < 0.7:
            okta(stage, "POST", f"/apps/{stage.org.app_id}/users", {"id": person["okta_id"]})


def pushes_elsewhere(stage: Stage, _: Book) -> None:
    """To the other daemon, or some of them get lost, or all."""
    name, mode = (
        stage.draw.choice(list(stage.agents.alive()) or ["steady"]),
        stage.draw.choice(("on", "on", "on", "lossy", "off")),
    )
    stage.push_to(name, mode)


IN_OKTA: dict[Move, int] = {
    title: 30,
    leave: 6,
    come_back: 10,
    join: 6,
    rename: 3,
    suspend: 5,
    wrong_group: 1,
    right_group: 2,
    pushes_elsewhere: 4,
}


# The operator


def deactivate(stage: Stage, book: Book) -> None:
    login = somebody(stage, assigned=True)["login"]
    if stage.command("users", "deactivate", login, "--reason", "laptop stolen").returncode == 0:
        book.blocked(stage, login)


def reactivate(stage: Stage, book: Book) -> None:
    if book.blocks:
        unblock(stage, book, stage.draw.choice(list(book.blocks.values())))


def unblock(stage: Stage, book: Book, block: Blocked) -> None:
    book.not_since(stage, block)
    if stage.command("users", "reactivate", "--id", block.directory_id, "--reason", "laptop found").returncode == 0:
        del book.blocks[block.directory_id]


def approve_holds(stage: Stage, _: Book) -> None:
    code = stage.draw.choice(("deactivations_per_run", "deactivations_24h", "push_burst", "identity_changes"))
    stage.command("holds", "approve", "--code", code)


def reject_holds(stage: Stage, _: Book) -> None:
    with_login = stage.command("holds", "list", "--csv").stdout.splitlines()[1:]
    if with_login:
        login = stage.draw.choice(with_login).split(",")[0]
        stage.command("holds", "reject", login, "--reason", "a wrong group")


def lift_holds(stage: Stage, _: Book) -> None:
    logins = [row.split(",")[0] for row in stage.command("holds", "list", "--csv").stdout.splitlines()[1:]]
    chosen = [login for login in logins if stage.draw.random() < 0.5]
    if chosen:
        stage.command("holds", "lift", *dict.fromkeys(chosen), "--reason", "asked again")


def release_all(stage: Stage) -> None:
    """Rejections are taken back, and whom approving lets go is let go.

    One by one: what Okta's own push ends meanwhile would refuse the rest with it.
    """
    listed = document(stage.command("--output", "json", "holds", "list"))["holds"]
    for login in dict.fromkeys(hold["login"] for hold in listed if hold["decision"] == Decision.REJECTED):
        stage.command("holds", "lift", login, "--reason", "asked again")
    for code in sorted({hold["code"] for hold in listed if releasable(HeldCode(hold["code"]))}):
        stage.command("holds", "approve", "--code", code)


def approve_a_plan(stage: Stage) -> None:
    """The newest one that waits: a run that is held as a whole names no person's hold where nobody is to go."""
    held = [
        one for one in document(stage.command("--output", "json", "plans", "list"))["plans"] if one["status"] == "held"
    ]
    if held:
        stage.command("plans", "approve", str(held[0]["id"]), "--checksum", held[0]["checksum"])


def decide_a_plan(stage: Stage, _: Book) -> None:
    """The newest held one is rejected, or approved as it was shown."""
    listed = stage.command("--output", "json", "plans", "list")
    plans = document(listed)["plans"] if listed.returncode == 0 else []
    held = [plan for plan in plans if plan["status"] == "held"]
    if not held:
        return
    plan = held[0]
    if stage.draw.random() < 0.5:
        stage.command("plans", "reject", str(plan["id"]), "--reason", "a wrong group")
    else:
        stage.command("plans", "approve", str(plan["id"]), "--checksum", plan["checksum"])


def allow(stage: Stage, _: Book) -> None:
    stage.command("guard", "allow", "--count", str(stage.draw.randrange(1, 10)), "--for", "1h", "--reason", "announced")


def pause(stage: Stage, book: Book) -> None:
    if book.paused_at is None and stage.command("pause", "--reason", "a look").returncode == 0:
        book.paused(stage)


def resume(stage: Stage, book: Book) -> None:
    if book.paused_at is not None:
        book.nothing_applied(stage)
        if stage.command("resume").returncode == 0:
            book.paused_at = None


def look(stage: Stage, _: Book) -> None:
    person = somebody(stage)["login"]
    for words in (("explain", person), ("reconcile",), ("check",), ("journal", "verify")):
        if stage.draw.random() < 0.4:
            stage.command(*words)


BY_OPERATOR: dict[Move, int] = {
    deactivate: 3,
    reactivate: 3,
    approve_holds: 6,
    reject_holds: 3,
    lift_holds: 3,
    decide_a_plan: 5,
    allow: 3,
    pause: 1,
    resume: 3,
    look: 4,
}
