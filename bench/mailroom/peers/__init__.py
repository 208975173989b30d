"""What people would pick instead, each a small program as its documentation writes one."""
