"""How something is drawn: functions from results to a figure."""
