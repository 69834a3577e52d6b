"""The timeline: alarms that go off by boot time, however the wall clock is set."""

from refresherd.adapters.scheduling.timeline import BootSchedule

__all__ = ["BootSchedule"]
