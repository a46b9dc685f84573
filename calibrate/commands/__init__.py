"""The commands of `calibrate`, one a file; nothing heavy is imported before a command runs."""
