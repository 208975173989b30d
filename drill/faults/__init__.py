"""Every fault of the drill, by subject. Importing a module puts its faults into `drill.fault.FAULTS`."""

from drill.faults import processes

__all__ = ["processes"]
