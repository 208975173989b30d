"""Breaks the running product on purpose, one fault at a time, and checks that nothing was lost or doubled unseen."""
