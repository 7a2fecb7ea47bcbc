"""From finished runs to answers: records, metrics of the score matrix, tables and plots. Imports no torch."""
