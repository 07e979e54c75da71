"""How a network learns: crops, batches, the step and its schedules."""
