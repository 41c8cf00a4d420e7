"""What the guarded write needs of the settings, made once. Decides nothing."""

from msgspec import Struct

from agent.model.mapping import Mapping
from agent.settings import GuardSettings, PolicySettings, ReceiverSettings, Settings


class Policy(Struct, frozen=True, kw_only=True):
    guard: GuardSettings = GuardSettings()
    policy: PolicySettings = PolicySettings()
    receiver: ReceiverSettings = ReceiverSettings()
    mapping: Mapping

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        return cls(
            guard=settings.guard, policy=settings.policy, receiver=settings.receiver, mapping=Mapping(settings.mapping)
        )
