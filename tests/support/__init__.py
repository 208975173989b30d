"""What several test modules share: ports, processes, waiting."""
