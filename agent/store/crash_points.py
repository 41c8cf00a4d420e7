"""Places where a test may end the process as kill -9 does. Does nothing unless OPSHELM_CRASH_AT names the place.

``OPSHELM_CRASH_AT=import.created`` ends it at the first time that place is reached, ``import.created:40`` at the 40th.
"""

import os
import signal
from collections import Counter

VARIABLE = "OPSHELM_CRASH_AT"

#: Every place, and what is true there.
CRASH_POINTS = {
    "store.written": "a transaction has done all its work and is not committed",
    "store.committed": "a transaction is committed, nobody who waits for it has been told",
    "push.committed": "a push is committed, its answer is not sent",
    "sweep.page": "one page of the listing was read, its rows may be stored",
    "plan.stored": "the plan is stored, nobody has decided about it",
    "plan.decided": "a stored plan is approved and used up, nothing of it is carried out",
    "apply.planned": "the plan is stored, this batch is pending",
    "apply.sent": "this batch is marked as sent, nothing of it is written",
    "apply.written": "this batch is written in a transaction that is not committed",
    "apply.done": "this batch is committed, the run has no end",
    "call.intended": "the intent of a call to a remote directory is stored, nothing is sent",
    "call.answered": "the remote has answered a change with yes, nobody has read it back",
    "call.read": "a change at the remote was read back, its outcome is not stored",
    "wave.called": "the updates of a wave were made and read back, their outcomes are not stored",
    "plan.closed": "every action has its end, the run has not",
    "import.planned": "the plan is stored, nothing else has happened",
    "import.intended": "the wish to create is stored, Okta has not been asked",
    "import.create_answered": "Okta has created the user, the agent has not stored it",
    "import.created": "the new Okta user's id is stored",
    "import.assign_intended": "the wish to assign is stored, Okta has not been asked",
    "import.assign_answered": "Okta has assigned the user, the agent has not stored it",
    "import.assigned": "the assignment is stored",
    "import.done": "every action has its end, the run has not",
}

_reached: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """End this process here, without any clean-up, if a test asked for it."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    if name not in CRASH_POINTS:
        raise LookupError(f"{name} is no crash point")
    place, _, times = wanted.partition(":")
    if place == name:
        _reached[name] += 1
        if _reached[name] == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)
