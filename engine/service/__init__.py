"""The resident engine: one process per user that every window, editor and tool on the machine shares.

`place` is where it lives on disk, `lifecycle` how it is started and stopped, `app` what it answers, and
`scheduler` who is served first. Its client is `engine.resident`.
"""
