"""What every engine and every store has to do alike: the named cases, the stores' contract, their faults."""
