"""Real processes for the acceptance suites: ledger, engines, agents and gateway, started and ended together."""
