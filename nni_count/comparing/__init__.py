"""Results of many runs, beside one another and beside published figures."""
