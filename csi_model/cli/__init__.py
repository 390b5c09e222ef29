"""What people type, and the composition root: parse, build, wire, supervise."""
