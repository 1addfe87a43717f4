"""What may go wrong with a run, done to real ones: `python -m tests.faults`."""
