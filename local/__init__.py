"""Everything on one machine: finds or installs the parts Posthaste needs, and runs them together."""
