"""What a process that died has left: actions whose outcome nobody recorded. (Its run is ended by agent.runs.frame.)

Read back, never sent again blindly: an action whose account is as it wanted is done, any other is stale and the next plan
sees what is true now. Called with the lease held, before anything else is done.
"""

from datetime import datetime

from agent.directory.port import Directory
from agent.model.codes import ActionKind, ActionState
from agent.model.fulfilment import fulfilled
from agent.model.plan import Action
from agent.model.users import DirectoryUser, identity_key
from agent.reconcile.approvals import DIED
from agent.store import plans
from agent.store.engine import Connection, Store
from agent.store.plans import SentAction


def recover(store: Store, directory: Directory, now: datetime) -> int:
    """Settle what was left; answers how many actions that were."""
    with store.read() as conn:
        left = [sent for sent in plans.sent_actions(conn) if _reconciles(sent.action)]
    if left:
        ended = [(sent, _happened(directory, sent.action)) for sent in left]
        store.write(lambda conn: _settle(conn, ended, now))
    return len(left)


def _reconciles(action: Action) -> bool:
    return action.kind not in (ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)


def _happened(directory: Directory, action: Action) -> bool:
    if action.kind is ActionKind.RENAME_CYCLE:
        members = [(directory.get(account), name) for account, _, name in action.cycle]
        return all(user is not None and user.user_name_key == identity_key(name) for user, name in members)
    return fulfilled(action, _account(directory, action))


def _account(directory: Directory, action: Action) -> DirectoryUser | None:
    if action.directory_id is not None:
        return directory.get(action.directory_id)
    return directory.find(okta_id=action.okta_id) if action.okta_id else None


def _settle(conn: Connection, ended: list[tuple[SentAction, bool]], now: datetime) -> None:
    for sent, happened in ended:
        state = ActionState.DONE if happened else ActionState.STALE
        error = "" if happened else DIED
        plans.mark(conn, sent.plan_id, [sent.action.n], state, now, error=error)
