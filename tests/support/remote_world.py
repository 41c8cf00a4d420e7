"""The reconciler's world with a remote OpsHelm: what people do there, they do at the remote, behind the agent's back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.directory.port import Acts
from agent.directory.remote.directory import RemoteDirectory
from agent.directory.remote.patience import Pace
from agent.model.users import DirectoryUser
from agent.okta_org.org import OktaOrg
from agent.reconcile import Reconciler
from agent.settings import DatabaseSettings, DirectorySettings, OktaSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store.engine import Store
from support.remotes import QUICK, Remote
from support.world import RAISED, World

OWNER = "boss@example.org"


class RemoteWorld(World):
    directory: RemoteDirectory  # type: ignore[assignment]

    def __init__(self, remote: Remote, *more: Any, **sections: Any) -> None:
        self.remote = remote
        self.pace = QUICK
        super().__init__(*more, **sections)

    def configure(self, **sections: Any) -> None:
        okta = OktaSettings(org_url=self.org.url, app_id=self.org.app_id, api_token=self.org.token)
        values = {
            "backend": "scim",
            "base_url": self.remote.url,
            "api_key": self.remote.key,
            "owners": (OWNER,),
            "max_per_second": 100_000.0,
        }
        directory = DirectorySettings(**(values | sections.pop("directory", {})))
        self.settings = Settings(okta=okta, directory=directory, **sections)
        self.directory = RemoteDirectory(self.store, self.settings, clock=self.now, pace=self.pace)
        self.reconciler = Reconciler(self.store, self.directory, self.okta, self.settings, self.now)

    def restart(self, pace: Pace = QUICK, **sections: Any) -> None:
        """The agent as a new process, which knows nothing of the remote yet."""
        self.directory.close()
        self.pace = pace
        self.configure(**{"guard": RAISED, **sections})

    def beside(self) -> RemoteDirectory:
        """Another process's directory. Close it."""
        return RemoteDirectory(self.store, self.settings, clock=self.now, pace=QUICK)

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now())

    def change(self, login: str, **values: Any) -> DirectoryUser:
        user = self.account(login)
        self.remote.patch(user.id, **values)
        found = self.directory.get(user.id)
        assert found is not None
        return found

    def local(self, login: str, **_: Any) -> DirectoryUser:
        made = self.remote.post(login)
        found = self.directory.get(made["id"])
        assert found is not None
        return found

    def vanish(self, login: str) -> None:
        """The account is deleted at the remote."""
        answer = self.remote.client.delete(f"/Users/{self.account(login).id}")
        assert answer.status_code == 204


@contextmanager
def remote_world(
    remote: Remote, folder: Path, users: int = 8, *, seed: int = 1, **sections: Any
) -> Iterator[RemoteWorld]:
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=users, seed=seed))
        org.provisioning(mode="off")
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token)
        okta = stack.enter_context(OktaOrg.connect(settings))
        store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/agent.db"))
        stack.callback(store.close)
        found = RemoteWorld(remote, org, okta, store, **{"guard": RAISED, **sections})
        stack.callback(found.directory.close)
        yield found
