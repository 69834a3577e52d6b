"""The Schedule: alarms by boot time, however the wall clock is set."""
