"""Alerts: nobody has to look whether the night was well.

Flow: what went wrong → its cause, told once → outbox → e-mail and webhook
"""

from cradle.alerts.alarm import Alarm
from cradle.alerts.events import broken_file, deadline_missed, rejects_above_limit, run_failed, run_well
from cradle.alerts.tell import Told, nights_well, raise_alarms

__all__ = [
    "Alarm",
    "Told",
    "broken_file",
    "deadline_missed",
    "nights_well",
    "raise_alarms",
    "rejects_above_limit",
    "run_failed",
    "run_well",
]
