"""Every Prometheus metric of a device, declared once; the registry is a parameter, so a test brings its own.

No label names a device or a stream: whoever scrapes it knows which device it is. This module knows nothing of what
it counts.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from broker.errors import ConfigError

_ENCODE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
_ROUND_TRIP_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Metrics:
    """The instruments of one device."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        self.windows = counter("iotlm_edge_windows_total", "Windows stored to be sent")
        self.dropped = counter("iotlm_edge_dropped_windows_total", "Windows that could not be stored")
        self.sent = counter("iotlm_edge_sent_frames_total", "Frames handed to the broker, repetitions included")
        self.resent = counter("iotlm_edge_resent_frames_total", "Frames handed to the broker again")
        self.acked = counter("iotlm_edge_acked_frames_total", "Frames that the backend has committed")
        self.evicted = counter("iotlm_edge_evicted_frames_total", "Frames given up because the spool was full")
        self.bad_acks = counter("iotlm_edge_bad_acks_total", "Acknowledgements that could not be read")
        self.sensor_failures = counter(
            "iotlm_edge_sensor_failures_total", "Failures of live sensors, attempts to open them again included"
        )
        self.sessions = counter("iotlm_edge_sessions_total", "Connections made to the broker")
        self.waiting = gauge("iotlm_edge_waiting_frames", "Frames that wait for their acknowledgement")
        self.spool_bytes = gauge("iotlm_edge_spool_bytes", "Size of the frames that wait")
        self.encode_s = Histogram(
            "iotlm_edge_encode_seconds", "Encoder, per window", registry=registry, buckets=_ENCODE_BUCKETS
        )
        self.round_trip_s = Histogram(
            "iotlm_edge_round_trip_seconds", "From sending to ack", registry=registry, buckets=_ROUND_TRIP_BUCKETS
        )

    def serve(self, host: str, port: int) -> int:
        """Answer `GET /metrics` from a thread of its own, until the process ends; the port (`port` 0: a free one).

        Raises:
            ConfigError: the port is taken.
        """
        try:
            server, _ = start_http_server(port, host, registry=self.registry)
        except OSError as error:
            raise ConfigError(f"metrics.port {port} on {host}: {error.strerror}; choose another one") from None
        return int(server.server_port)
