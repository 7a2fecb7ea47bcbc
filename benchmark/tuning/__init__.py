"""``retain tune``: settings of strategies are searched on validation splits of a stream's first tasks.

spaces     which settings are searched, and where
proposals  which values are tried: Optuna's samplers, seeded
drafts     the suites of a search: its trials, what it found, and the file that says so
search     trials are run and compared
tune       the whole command
"""
