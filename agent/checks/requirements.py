"""OpsHelm's requirements of the app in Okta, a line each. Pure: the app is given as it was read.

=================  ==================================================  =======================================
line               ok                                                  where it is set in Okta
=================  ==================================================  =======================================
app                status ACTIVE                                       Applications
username format    Email, or Email in lower case                       Sign On → Application username format
create users       PUSH_NEW_USERS                                      Provisioning → To App → Create Users
update users       PUSH_PROFILE_UPDATES                                … → Update User Attributes
username updates   no EXCLUDE_USERNAME_UPDATE_ON_PROFILE_PUSH          Sign On → Update application username on
deactivate users   PUSH_USER_DEACTIVATION                              … → Deactivate Users
group push         no GROUP_PUSH                                       Push Groups
group import       no other feature that has to do with groups         Integration → Import Groups
profile source     no PROFILE_MASTERING                                Provisioning → To Okta
=================  ==================================================  =======================================
"""

from collections.abc import Iterator

from agent.model.check import Check, fail, ok, warn
from agent.model.okta import App

_PUSHES = (
    ("create users", "PUSH_NEW_USERS", "Create Users", "people who are assigned get no account by push"),
    ("update users", "PUSH_PROFILE_UPDATES", "Update User Attributes", "changed profiles are not pushed"),
    (
        "deactivate users",
        "PUSH_USER_DEACTIVATION",
        "Deactivate Users",
        "who leaves keeps access until a sweep finds it",
    ),
)
_SOURCES = ("source", "user")
EMAIL_TEMPLATES = frozenset(
    form.format(source)
    for source in _SOURCES
    for form in ("${{{}.email}}", "{}.email", "${{fn:toLowerCase({}.email)}}", "${{toLowerCase({}.email)}}")
)


def checks(app: App) -> Iterator[Check]:
    yield _status(app)
    yield _user_name(app)
    for name, feature, box, effect in _PUSHES:
        if feature in app.features:
            yield ok(name, "on")
        else:
            yield fail(name, f"off: {effect}", f"Okta: the app > Provisioning > To App > Edit > {box}")
    yield _user_name_updates(app)
    yield from _groups(app)
    if "PROFILE_MASTERING" in app.features:
        yield fail(
            "profile source",
            "the app is a profile source: OpsHelm would change profiles in Okta, so runs change nothing",
            "Okta: the app > Provisioning > To Okta > turn profile sourcing off",
        )
    else:
        yield ok("profile source", "off")


def _status(app: App) -> Check:
    if app.status == "ACTIVE":
        return ok("app", f"{app.id} is active")
    return fail(
        "app",
        f"the app is {app.status or 'of unknown status'}: Okta pushes nothing and runs change nothing",
        "Okta: Applications > the app > Activate",
    )


def _user_name(app: App) -> Check:
    template = app.credentials.user_name_template if app.credentials else None
    text = (template.template if template else None) or ""
    if text in EMAIL_TEMPLATES:
        return ok("username format", "Email")
    return fail(
        "username format",
        f"is {text or 'not said'}; OpsHelm needs Email",
        "Okta: the app > Sign On > Edit > Application username format > Email",
    )


def _user_name_updates(app: App) -> Check:
    if "EXCLUDE_USERNAME_UPDATE_ON_PROFILE_PUSH" in app.features:
        return warn(
            "username updates",
            "Create only: Okta doesn't push a changed username; the next sweep renames the account",
            "Okta: the app > Sign On > Edit > Update application username on > Create and update",
        )
    return ok("username updates", "pushed")


def _groups(app: App) -> Iterator[Check]:
    if "GROUP_PUSH" in app.features:
        yield fail(
            "group push", "on, but OpsHelm has no groups", "Okta: the app > Push Groups > remove every rule and group"
        )
    else:
        yield ok("group push", "off")
    others = sorted(feature for feature in app.features if "GROUP" in feature and feature != "GROUP_PUSH")
    if others:
        fix = "Okta: the app > Provisioning > Integration > Edit > uncheck Import Groups"
        yield fail("group import", f"on ({', '.join(others)}), but OpsHelm has no groups", fix)
    else:
        yield ok("group import", "off")
