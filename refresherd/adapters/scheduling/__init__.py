"""The Schedule: alarms by boot time, however the wall clock is set."""

from refresherd.adapters.scheduling.schedule import BootSchedule

__all__ = ["BootSchedule"]
