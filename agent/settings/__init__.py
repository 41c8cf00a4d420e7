"""Every setting, validated once; secrets are masked when shown.

``sections`` has the settings themselves, ``load`` finds and checks their sources, ``describe`` shows them. Opens no
database, reaches nobody.
"""

from agent.settings.load import Loaded, SettingSource, find_file, load
from agent.settings.sections import (
    DashboardSettings,
    DatabaseSettings,
    DirectorySettings,
    GuardSettings,
    ImportSettings,
    LogSettings,
    OktaSettings,
    PolicySettings,
    ReceiverSettings,
    RetentionSettings,
    RoleSettings,
    ScheduleSettings,
    ServerSettings,
    Settings,
)

__all__ = [
    "DashboardSettings",
    "DatabaseSettings",
    "DirectorySettings",
    "GuardSettings",
    "ImportSettings",
    "Loaded",
    "LogSettings",
    "OktaSettings",
    "PolicySettings",
    "ReceiverSettings",
    "RetentionSettings",
    "RoleSettings",
    "ScheduleSettings",
    "ServerSettings",
    "SettingSource",
    "Settings",
    "find_file",
    "load",
]
