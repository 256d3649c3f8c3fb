"""`roomprobe run`: the same line as `--once`, on a schedule, for years (docs/daemon.md).

schedule and steady are pure; run is the loop; notify, control and metrics tell systemd, `roomprobe status` and Prometheus.
"""
