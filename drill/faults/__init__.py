"""Every fault of the drill, by subject. Importing a module puts its faults into `drill.fault.FAULTS`."""

from drill.faults import broker, clock, cluster, database, poison, processes, smtp, workers

__all__ = ["broker", "clock", "cluster", "database", "poison", "processes", "smtp", "workers"]
