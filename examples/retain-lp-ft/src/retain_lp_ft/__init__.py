"""A strategy and two tasks for retain. Imports nothing, so that the tasks can be listed without torch."""
