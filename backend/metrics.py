"""Every Prometheus metric of the backend, declared once; the registry is a parameter, so a test brings its own.

Names are `iotlm_*_total`, `_seconds` or `_bytes`. Labels have few values and never name a device, which would make
the number of series grow with the fleet. This module knows nothing of what it counts.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_DELAY_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 60.0)
_ANSWER_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The instruments of one backend."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, registry=registry, buckets=buckets)

        self.frames = counter("iotlm_frames_total", "Frames received, by what became of them", "outcome")
        self.frame_bytes = counter("iotlm_frame_received_bytes_total", "Payload bytes of frames received")
        self.bad_frames = counter("iotlm_bad_frames_total", "Frames that could not be used, by reason", "reason")
        self.lost_frames = counter("iotlm_lost_frames_total", "Frames that their device no longer holds")
        self.late_windows = counter("iotlm_late_windows_total", "Windows that came after their moment had closed")
        self.unplaced = counter(
            "iotlm_unplaced_windows_total",
            "Windows committed without a moment and not for being late, by reason",
            "reason",
        )
        self.moments = counter("iotlm_moments_total", "Moments closed, by what closed them", "closed_by")
        self.windows = counter("iotlm_windows_committed_total", "Windows committed to the store")
        self.events = counter("iotlm_events_total", "Events committed to the store", "task", "phase")
        self.published = counter("iotlm_events_published_total", "Events handed to the broker")
        self.estimates = counter("iotlm_estimates_published_total", "Estimates handed to the broker", "task")
        self.old_estimates = counter("iotlm_old_estimates_total", "Estimates not told, being no news any more")
        self.acks = counter("iotlm_acks_total", "Acknowledgements handed to the broker")
        self.failures = counter("iotlm_failures_total", "Work that failed and was worked around, by stage", "stage")
        self.batch = histogram("iotlm_batch_moments", "Moments in one batch", _BATCH_BUCKETS)
        self.engine_s = histogram("iotlm_engine_seconds", "Model and rules, per batch", _STAGE_BUCKETS)
        self.commit_s = histogram("iotlm_commit_seconds", "Store transaction, per batch", _STAGE_BUCKETS)
        self.delay_s = histogram(
            "iotlm_decision_delay_seconds", "From the end of a moment's windows to its commit", _DELAY_BUCKETS
        )
        self.questions = counter(
            "iotlm_questions_total", "Questions, by the way they came and what became of them", "way", "outcome"
        )
        self.first_part_s = histogram(
            "iotlm_answer_first_part_seconds", "From a question to the first words of its answer", _STAGE_BUCKETS
        )
        self.answer_s = histogram("iotlm_answer_seconds", "From a question to the end of its answer", _ANSWER_BUCKETS)
        self.answer_tokens = counter("iotlm_answer_tokens_total", "Tokens that the language model has said")
        self.claims = counter("iotlm_answer_claims_total", "Claims of answers, by whether they held", "status")
        self.conversations = gauge("iotlm_dialogue_sessions", "Conversations that are remembered")
        self.connected = gauge("iotlm_broker_connected", "1 while the broker can be reached")
        self.sessions = counter("iotlm_broker_sessions_total", "Connections made to the broker")
        self.pending = gauge("iotlm_pending_windows", "Windows accepted and not yet committed")
        self.open_moments = gauge("iotlm_open_moments", "Moments that wait for more windows")
        self.queued = gauge("iotlm_queued_moments", "Closed moments that wait for the engine")
        self.waiting_events = gauge("iotlm_waiting_events", "Committed events that wait for the broker")
        self.devices = gauge("iotlm_devices_online", "Devices whose last word was online")
