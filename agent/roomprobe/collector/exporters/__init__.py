"""What the collector tells other systems by itself: a webhook, OTLP, a file. All off unless asked for; docs/monitoring.md."""
