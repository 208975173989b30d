"""Ways out: each takes a composed letter and says what came of it."""
