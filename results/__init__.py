"""From run records to answers: records, metrics of the score matrix, tables and plots. Imports no torch."""
