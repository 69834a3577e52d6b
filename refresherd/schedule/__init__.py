"""The timeline: alarms that go off by boot time, however the wall clock is set."""

from refresherd.schedule.timeline import BootSchedule

__all__ = ["BootSchedule"]
