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
    NotifySettings,
    OktaSettings,
    PolicySettings,
    ReceiverSettings,
    ReconcileSettings,
    RetentionSettings,
    ScheduleSettings,
    Section,
    ServerSettings,
    Settings,
)
from agent.settings.values import Duration

__all__ = [
    "DashboardSettings",
    "DatabaseSettings",
    "DirectorySettings",
    "Duration",
    "GuardSettings",
    "ImportSettings",
    "Loaded",
    "LogSettings",
    "NotifySettings",
    "OktaSettings",
    "PolicySettings",
    "ReceiverSettings",
    "ReconcileSettings",
    "RetentionSettings",
    "ScheduleSettings",
    "Section",
    "ServerSettings",
    "SettingSource",
    "Settings",
    "find_file",
    "load",
]
