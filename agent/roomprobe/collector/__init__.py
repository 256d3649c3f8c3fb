"""The embedded collector (the extra roomprobe[collector]): takes the runs of many agents, keeps what changed, answers questions.

Nothing outside this package imports it. docs/collector.md is the page for people, docs/decisions/0004-collector.md says why it
stores what it stores.
"""
