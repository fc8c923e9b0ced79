"""What this machine does: the engine against a tight loop and against the script that everybody writes."""
