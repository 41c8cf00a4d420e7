"""Local accounts that Okta's app doesn't have, as a run says them: named while they are few, counted when they are many.

Only says so. Bringing them into Okta is ``import``'s, and a person's to ask for.
"""

from collections.abc import Sequence

from agent.model.codes import FindingCode
from agent.model.plan import Finding
from agent.store.imports import LocalAccount

#: More than these are counted in one finding.
NAMED = 20


def import_candidates(total: int, first: Sequence[LocalAccount]) -> tuple[Finding, ...]:
    if total > NAMED:
        detail = f"{total:,} local OpsHelm accounts are unknown to Okta's app. Look at them: opshelm-agent import list"
        return (Finding(code=FindingCode.IMPORT_CANDIDATE, login="", detail=detail),)
    return tuple(
        Finding(
            code=FindingCode.IMPORT_CANDIDATE,
            login=account.user_name,
            directory_id=account.id,
            detail=f"Okta's app doesn't know this local account. Bring it in: opshelm-agent import plan --user {account.user_name}",
        )
        for account in first
    )
