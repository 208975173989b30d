"""What both services agree on: contracts, topology, settings, the field language. Imports neither service."""
