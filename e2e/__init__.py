"""The driver in a real cluster on this machine, scenario by scenario; see README.md."""
